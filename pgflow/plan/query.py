"""A user's query into a fragment: one statement, its end cut clean, its values bound."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from sqlalchemy.sql import ClauseElement

from pgflow.errors import InvalidSource
from pgflow.plan.sql import Bound, Sql, raw

_COLON = "ASCII_58"


def from_text(text: str, params: Mapping[str, object], owner: str) -> Sql:
    """Turn SQL text into a fragment that can stand in parentheses.

    Args:
        text: One SELECT, VALUES or TABLE statement; `;` and comments at its end are dropped.
        params: Values for its `:name` placeholders. Every one must be used.
        owner: Whose query it is, for messages.

    Returns:
        The query with its values bound.

    Raises:
        InvalidSource: The text is not exactly one query, or a value has no placeholder.
    """
    pieces, used = _split(text, frozenset(params), owner)
    unused = [name for name in params if name not in used]
    if unused:
        raise InvalidSource(
            f"{owner}: no placeholder :{unused[0]} stands in its SQL; remove it "
            "from params, or write it into the query."
        )
    bound = {name: Bound(params[name], name) for name in used}
    return Sql(tuple(bound[piece.name] if isinstance(piece, Bound) else piece for piece in pieces))


def from_text_and_parameters(text: str, values: Mapping[str, object], owner: str) -> Sql:
    """Like `from_text`, for a body's own text: run parameters that it does not use are fine."""
    pieces, used = _split(text, frozenset(values), owner)
    bound = {name: Bound(values[name], name) for name in used}
    return Sql(tuple(bound[piece.name] if isinstance(piece, Bound) else piece for piece in pieces))


def from_clause(clause: ClauseElement, owner: str) -> Sql:
    """Turn a SQLAlchemy construct into a fragment, its values bound as its types say.

    Args:
        clause: A `select()`, an expression or a `text()`.
        owner: Whose it is, for messages.

    Returns:
        The compiled fragment.

    Raises:
        InvalidSource: The construct cannot be compiled, or misses a value.
    """
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.exc import SQLAlchemyError

    dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # untyped upstream
    # SQLAlchemy 2.0 doubles backslashes until it has asked a server, which has no need of it.
    dialect._backslash_escapes = False
    try:
        compiled: Any = clause.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        values = compiled.construct_params(escape_names=False)
    except SQLAlchemyError as error:
        raise InvalidSource(
            f"{owner}: the SQLAlchemy construct cannot be compiled: {error}"
        ) from error
    processors = compiled._bind_processors
    bound = {}
    for name in compiled.positiontup or ():
        value = values[name]
        process = processors.get(name)
        bound[name] = Bound(process(value) if callable(process) else value, name)
    return _substitute(str(compiled), [bound[name] for name in compiled.positiontup or ()])


def expression(text: str, values: Mapping[str, object], owner: str) -> Sql:
    """Turn the text of a condition into a fragment in parentheses.

    Args:
        text: An SQL expression; `:name` placeholders take run parameters.
        values: The run parameters.
        owner: Whose condition it is, for messages.

    Returns:
        The bound expression.

    Raises:
        InvalidSource: The text is no single expression.
    """
    # Parsed without the parentheses first, so that none in the text can close ours.
    _split(f"SELECT 1 WHERE {text}", frozenset(values), owner)
    pieces, used = _split(f"SELECT 1 WHERE (\n{text}\n)", frozenset(values), owner)
    bound = {name: Bound(values[name], name) for name in used}
    whole = [bound[p.name] if isinstance(p, Bound) else p for p in pieces]
    if isinstance(whole[0], str):
        whole[0] = whole[0].removeprefix("SELECT 1 WHERE ")
    return Sql(tuple(whole))


def columns_of(condition: Sql, owner: str) -> set[str]:
    """Return the names of the columns that a condition uses.

    Args:
        condition: An SQL expression.
        owner: Whose condition it is, for messages.
    """
    from pglast.ast import ColumnRef, String
    from pglast.visitors import Visitor

    found: set[str] = set()

    class Collect(Visitor):
        def visit_ColumnRef(self, _ancestors: Any, node: ColumnRef) -> None:  # noqa: N802  # pglast's name
            last = node.fields[-1] if node.fields else None
            if isinstance(last, String) and last.sval is not None:
                found.add(last.sval)

    Collect()(parse(f"SELECT 1 WHERE {condition}", owner).stmt)
    return found


def parse(text: str, owner: str) -> Any:
    """Parse one query with PostgreSQL's own grammar.

    Args:
        text: SQL in which placeholders are `$1, $2, ...`.
        owner: Whose query it is, for messages.

    Returns:
        pglast's statement node.

    Raises:
        InvalidSource: The text is no valid SQL, or not exactly one query.
    """
    from pglast import parse_sql
    from pglast.ast import SelectStmt
    from pglast.parser import ParseError

    try:
        statements = parse_sql(text)
    except ParseError as error:
        raise InvalidSource(f"{owner}: its SQL cannot be parsed: {error.args[0]}.") from error
    if len(statements) != 1 or not isinstance(statements[0].stmt, SelectStmt):
        found = ", ".join(type(s.stmt).__name__.removesuffix("Stmt").upper() for s in statements)
        raise InvalidSource(
            f"{owner}: a source is exactly one SELECT (or VALUES, or TABLE) statement, "
            f"not {found or 'empty text'}."
        )
    if statements[0].stmt.intoClause is not None:
        raise InvalidSource(f"{owner}: SELECT INTO cannot be a source; leave INTO out.")
    return statements[0]


@lru_cache(maxsize=512)
def _split(
    text: str, names: frozenset[str], owner: str
) -> tuple[tuple[str | Bound, ...], tuple[str, ...]]:
    """Cut the text at the placeholders named; each becomes an empty `Bound` of that name."""
    tokens = _tokens(text, owner)
    pieces: list[str | Bound] = []
    numbered: list[str] = []
    used: dict[str, int] = {}
    at = 0
    end = _end(tokens, len(text))
    for colon, word in pairwise(tokens):
        name = text[word.start : word.end + 1]
        if colon.name != _COLON or word.start != colon.end + 1 or name not in names:
            continue
        pieces += [text[at : colon.start], Bound(None, name)]
        used.setdefault(name, len(used) + 1)
        numbered += [text[at : colon.start], f"${used[name]}"]
        at = word.end + 1
    pieces.append(text[at:end])
    numbered.append(text[at:end])
    try:
        parse("".join(numbered), owner)
    except InvalidSource as error:
        raise _with_hint(error, tokens, text, names) from error
    return tuple(pieces), tuple(used)


def _with_hint(
    error: InvalidSource, tokens: list[Any], text: str, names: frozenset[str]
) -> InvalidSource:
    """Name a `:name` that nobody gives a value, which is what the parser stumbled over."""
    for colon, word in pairwise(tokens):
        name = text[word.start : word.end + 1]
        placeholder = colon.name == _COLON and word.start == colon.end + 1
        if placeholder and name.isidentifier() and name not in names:
            return InvalidSource(
                f"{error} :{name} has no value: a function that takes it as a run parameter "
                f"(*, {name}) or Query(sql, {{{name!r}: ...}}) gives it one."
            )
    return error


def _tokens(text: str, owner: str) -> list[Any]:
    from pglast.parser import ParseError, scan

    if "\0" in text:
        raise InvalidSource(f"{owner}: its SQL holds a NUL character, which SQL cannot.")
    try:
        tokens = [t for t in scan(text) if t.name not in ("SQL_COMMENT", "C_COMMENT")]
    except ParseError as error:
        raise InvalidSource(f"{owner}: its SQL cannot be read: {error.args[0]}.") from error
    return tokens


def _end(tokens: list[Any], length: int) -> int:
    """Where the statement's last real token ends, semicolons dropped."""
    while tokens and tokens[-1].name == "ASCII_59":
        tokens = tokens[:-1]
    return int(tokens[-1].end) + 1 if tokens else length


def _substitute(text: str, values: list[Bound]) -> Sql:
    """Put bound values in place of `$n` in text that SQLAlchemy has compiled."""
    if not values:
        return raw(text)
    parts: list[str | Bound] = []
    at = 0
    for token in _tokens(text, "the compiled query"):
        if token.name != "PARAM":
            continue
        parts += [text[at : token.start], values[int(text[token.start + 1 : token.end + 1]) - 1]]
        at = token.end + 1
    return Sql((*parts, text[at:]))
