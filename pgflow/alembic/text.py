"""SQL as it stands in a migration file: formatted for readers, and the same SQL to the byte.

Three things happen to a statement between the planner and the server: it is laid out on lines,
it becomes a Python literal, and SQLAlchemy's `text()` looks for `:name` in it. Each of them is
done here and proved right here, for every statement, before it is written anywhere.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from typing import Any

from pglast.parser import (
    DeparseError,
    ParseError,
    deparse_protobuf,
    parse_sql_json,
    parse_sql_protobuf,
    scan,
)
from sqlalchemy import DDL, Executable, text
from sqlalchemy.dialects import postgresql

from pgflow.errors import UnwritableStatement

#: Statements up to this length that the server prints on one line stay there.
LINE = 78

#: How SQLAlchemy finds a bound parameter in text, and how it takes an escape away, in its current
#: versions and in earlier ones: a file that is written under one may run under the other.
_DIALECTS_OF_TEXT = (
    (re.compile(r":\w+(?![:\w])"), re.compile(r":\w*(?![:\w])")),
    (re.compile(r":[\w$]+(?![:\w$])"), re.compile(r":[\w$]*(?![:\w$])")),
)

#: A dialect that does not double `%`, and constructors without type information.
_make_dialect: Any = postgresql.dialect
_PLAIN = _make_dialect(paramstyle="named")
_ddl: Any = DDL

_LOCATIONS = frozenset({"location", "stmt_location", "stmt_len", "list_start", "list_end"})
_UNSAFE = re.compile(r"[ \t]+(?=\n|\Z)")


def formatted(sql: str) -> str:
    """Lay a statement out on lines, if that leaves it the same statement.

    Args:
        sql: One statement.

    Returns:
        The statement formatted by PostgreSQL's own deparser if what it gives parses to the same
        tree, string constants and bodies included; else the text itself.
    """
    if "\n" not in sql and len(sql) <= LINE:
        return sql
    try:
        result: str = deparse_protobuf(
            parse_sql_protobuf(sql), pretty_print=True, trailing_newline=False
        )
        return result if _tree(result) == _tree(sql) else sql
    except (ParseError, DeparseError, UnicodeError, ValueError):
        return sql


def escaped(sql: str) -> str | None:
    r"""Write a statement so that SQLAlchemy's `text()` sends exactly the statement.

    Args:
        sql: One statement.

    Returns:
        The text with a backslash before each `:name` and each `\:` that `text()` would take for
        its own; None if no text does, whatever SQLAlchemy's version.
    """
    done = ""
    for position in range(len(sql) - 1, -1, -1):
        if sql[position] == ":":
            before = sql[position - 1] if position else ""
            if _misread(before, ":" + done):
                done = "\\:" + done
                continue
        done = sql[position] + done
    right = (_unescaped(done, bind, escape) == sql for bind, escape in _PATTERNS)
    return done if all(right) else None


def literal(text_: str) -> str:
    r'''Write a text as the Python literal that reads best.

    Args:
        text_: Any text.

    Returns:
        `"..."` on one line, `"""..."""` on several, raw where there are backslashes; escapes stand
        for what an editor, a checkout or Python would change: CR, white space at the end of a
        line, invisible characters, closing quotes.
    '''
    many = "\n" in text_
    if "\\" in text_ and _fits_raw(text_, many=many):
        source = f'r"""{text_}"""' if many else f'r"{text_}"'
    elif many:
        source = f'"""{_escape(text_, many=True)}"""'
    else:
        source = f'"{_escape(text_, many=False)}"'
    if ast.literal_eval(source) != text_:
        raise UnwritableStatement(
            f"The text {text_!r} cannot be written as a Python literal.", sql=text_
        )
    return source


def call(sql: str, indentation: int = 4) -> str:
    """Write the lines of a migration file that run a statement.

    Args:
        sql: One statement, as it shall reach the server; where no constant, body or comment in
            it spans lines, its lines may be indented.
        indentation: Columns that will be put before the call, but not into its literal.

    Returns:
        `op.execute("...")`.

    Raises:
        UnwritableStatement: The statement holds a NUL character or half of a surrogate pair.
    """
    if "\0" in sql or any("\ud800" <= character <= "\udfff" for character in sql):
        raise UnwritableStatement(
            f"The statement {sql[:200]!r} holds a character that PostgreSQL cannot store: NUL, or "
            "half of a surrogate pair. Remove it from the declaration.",
            sql=sql,
        )
    written = escaped(sql)
    if written is None or sent(written) != sql:
        # DDL() knows no parameters, but takes % for a format.
        return f"op.execute(sa.DDL({literal(sql.replace('%', '%%'))}))"
    if "\n" in sql and "\r" not in sql and _is_free(sql):
        return _block(written, indentation)
    return f"op.execute({literal(written)})"


def unindented(sql: str) -> str:
    """Take away the margin that a statement has in a migration file.

    Args:
        sql: One statement; where a constant, a body or a comment in it spans lines it has none.
    """
    if "\n" not in sql or "\r" in sql or not _is_free(sql):
        return sql
    return textwrap.dedent(sql).strip()


def executable(sql: str) -> Executable:
    """Make a statement something that SQLAlchemy sends exactly as it is.

    Args:
        sql: One statement.
    """
    written = escaped(sql)
    if written is None or sent(written) != sql:
        element: Executable = _ddl(sql.replace("%", "%%"))
        return element
    return text(written)


def sent(written: str) -> str:
    """Tell what `op.execute()` sends to the server for a text.

    Args:
        written: The argument of `op.execute()`.
    """
    return str(text(written).compile(dialect=_PLAIN))


def _tree(sql: str) -> Any:
    return _without_locations(json.loads(parse_sql_json(sql)))


def _is_free(sql: str) -> bool:
    """Tell whether white space at the beginning of lines means nothing in a statement."""
    try:
        tokens = scan(sql)
    except ParseError:
        return False
    # Offsets of tokens count characters, both ends belonging to the token.
    return not any("\n" in sql[token.start : token.end + 1] for token in tokens)


def _block(written: str, indentation: int) -> str:
    margin = " " * (indentation + 4)
    lines = [(margin + line).rstrip() for line in written.split("\n")]
    source = literal("\n" + "\n".join(lines) + "\n")
    # The closing quotes stand below the opening ones; what they add is white space.
    return f'op.execute(\n{" " * 4}{source[:-3]}{margin}"""\n)'


def _without_locations(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_locations(v) for k, v in node.items() if k not in _LOCATIONS}
    if isinstance(node, list):
        return [_without_locations(each) for each in node]
    return node


def _misread(before: str, rest: str) -> bool:
    """Tell whether `text()` would change a colon, given what stands around it."""
    if before == "\\":
        return any(escape.match(rest) for _, escape in _DIALECTS_OF_TEXT)
    if before == ":" or before == "_" or before.isalnum():
        return False
    return any(bind.match(rest) for bind, _ in _DIALECTS_OF_TEXT)


_PATTERNS = tuple(
    (re.compile(rf"(?<![:\w\\]){bind.pattern}"), re.compile(rf"\\({escape.pattern})"))
    for bind, escape in _DIALECTS_OF_TEXT
)


def _unescaped(written: str, bind: re.Pattern[str], escape: re.Pattern[str]) -> str | None:
    return None if bind.search(written) else escape.sub(lambda match: match[1], written)


def _fits_raw(text_: str, *, many: bool) -> bool:
    if text_.endswith(("\\", '"')) or ('"""' if many else '"') in text_:
        return False
    return not _UNSAFE.search(text_) and all(c == "\n" or c.isprintable() for c in text_)


def _escape(text_: str, *, many: bool) -> str:
    parts = [_character(character, many=many) for character in text_]
    if many:
        for match in _UNSAFE.finditer(text_):
            for position in range(*match.span()):
                parts[position] = "\\x20" if text_[position] == " " else "\\t"
        if text_.endswith('"'):
            parts[-1] = '\\"'
        return "".join(parts).replace('"""', '\\"\\"\\"')
    return "".join(parts)


def _character(character: str, *, many: bool) -> str:
    if character == "\\":
        return "\\\\"
    if many and character in '\n"\t':
        return character
    if character == '"':
        return '\\"'
    # repr() escapes what is not printable; the quotes around it are not wanted.
    return character if character.isprintable() else repr(character)[1:-1]
