"""PL/pgSQL bodies taken apart into the SQL that stands in them, without a database.

PostgreSQL's own PL/pgSQL parser does it, by pglast. It knows no types but the built-in ones, so
that it is given a stand-in: the same body in which parameters and variables of other types are
records. Which types and relations their declarations named is found out on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pglast.parser import ParseError, parse_plpgsql_json, scan

from pgflow import idents
from pgflow.alembic.literals import dollar

#: How libpg_query numbers what is an expression and no statement.
_EXPRESSION = 2

_DYNAMIC = ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors")
_MODES = {
    "FUNC_PARAM_OUT": "OUT ",
    "FUNC_PARAM_INOUT": "INOUT ",
}
#: Stand-ins that are records.
_RECORDS = ("record", "t")
_END_OF_TYPE = frozenset(
    ("ASCII_59", "COLON_EQUALS", "ASCII_61", "DEFAULT", "NOT", "COLLATE", "CURSOR", "ALIAS", "NO")
)


@dataclass(frozen=True, slots=True)
class Body:
    """What a PL/pgSQL body consists of.

    Attributes:
        statements: SQL statements and expressions, the latter as SELECT.
        dynamic: Expressions, as SELECT, whose value is run by EXECUTE.
        declared: What the declarations of variables name: each the words of a type, then "" for a
            type as such, "rowtype" or "type".
    """

    statements: tuple[str, ...]
    dynamic: tuple[str, ...]
    declared: tuple[tuple[tuple[str, ...], str], ...]


def read(routine: dict[str, Any], body: str) -> Body | None:
    """Take a body apart.

    Args:
        routine: The CREATE FUNCTION statement that it belongs to, as pglast's JSON has it.
        body: The text between the quotes.

    Returns:
        Its parts; None for what PostgreSQL's parser does not understand either.
    """
    try:
        text, declared, defaults = _declarations(body)
        tree = json.loads(parse_plpgsql_json(_stand_in(routine, text)))
    except (ParseError, ValueError, RecursionError):
        return None
    found = list(_expressions(tree))
    return Body(
        (*defaults, *(sql for sql, is_dynamic in found if not is_dynamic)),
        tuple(sql for sql, is_dynamic in found if is_dynamic),
        tuple(declared),
    )


def _stand_in(routine: dict[str, Any], body: str) -> str:
    """Write a routine that the parser can read, whatever types it is about."""
    items = [item["FunctionParameter"] for item in routine.get("parameters", [])]
    columns = [item for item in items if item.get("mode") == "FUNC_PARAM_TABLE"]
    others = [item for item in items if item.get("mode") != "FUNC_PARAM_TABLE"]
    listed = ", ".join(map(_parameter, others))
    if routine.get("is_procedure"):
        head = f"CREATE PROCEDURE f({listed})"
    elif columns:
        head = f"CREATE FUNCTION f({listed}) RETURNS TABLE ({', '.join(map(_parameter, columns))})"
    else:
        head = f"CREATE FUNCTION f({listed}) {_returns(routine, others)}"
    return f"{head} LANGUAGE plpgsql AS {dollar(body)}"


def _parameter(item: dict[str, Any]) -> str:
    name = idents.quote(item["name"]) + " " if item.get("name") else ""
    is_array = "arrayBounds" in item.get("argType", {})
    return f"{_MODES.get(item.get('mode', ''), '')}{name}{'int[]' if is_array else 't'}"


def _returns(routine: dict[str, Any], parameters: Sequence[dict[str, Any]]) -> str:
    type_ = routine.get("returnType", {})
    names = [item["String"].get("sval", "") for item in type_.get("names", [])]
    if names and names[-1] in ("trigger", "event_trigger", "void"):
        return f"RETURNS {names[-1]}"
    several = any(item.get("mode") in _MODES for item in parameters)
    if type_.get("setof"):
        return f"RETURNS SETOF {'record' if several else 't'}"
    return "" if several else "RETURNS t"


def _declarations(body: str) -> tuple[str, list[tuple[tuple[str, ...], str]], list[str]]:
    """Put stand-ins in the place of types that the parser cannot know.

    Returns:
        The body with them, the types that were there, and the first values of those variables,
        of which the parser does not speak for records.
    """
    tokens = [token for token in scan(body) if token.name not in ("SQL_COMMENT", "C_COMMENT")]
    pieces: list[str] = []
    declared: list[tuple[tuple[str, ...], str]] = []
    defaults: list[str] = []
    done = 0
    for start, end in _types(tokens):
        first, last = tokens[start].start, tokens[end - 1].end + 1
        stand_in, named = _replacement(body[first:last])
        if named is not None:
            declared.append(named)
        if stand_in in _RECORDS:
            defaults.extend(_default(body, tokens, end))
        pieces += (body[done:first], stand_in)
        done = last
    return "".join((*pieces, body[done:])), declared, defaults


def _default(body: str, tokens: Sequence[Any], start: int) -> Iterator[str]:
    """Give the first value of a variable, as SELECT; its type ends where `start` is."""
    given: int | None = None
    for token in tokens[start:]:
        if token.name == "ASCII_59":
            if given is not None:
                yield f"SELECT {body[given : token.start]}"
            return
        if given is None and token.name in ("COLON_EQUALS", "ASCII_61", "DEFAULT"):
            given = token.end + 1


def _types(tokens: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Find the types of declared variables: from which token, to which."""
    declaring = False
    for place, token in enumerate(tokens):
        if token.name in ("DECLARE", "BEGIN_P"):
            declaring = token.name == "DECLARE"
        if not declaring or token.name not in ("DECLARE", "ASCII_59"):
            continue
        start = place + 2
        if tokens[min(place + 1, len(tokens) - 1)].name == "BEGIN_P":
            continue
        if start < len(tokens) and tokens[start].name == "IDENT" and _is_constant(tokens, start):
            start += 1
        end = start
        while end < len(tokens) and tokens[end].name not in _END_OF_TYPE:
            end += 1
        if start < end < len(tokens):
            yield start, end


def _is_constant(tokens: Sequence[Any], place: int) -> bool:
    # `constant` is no keyword of SQL; as a name it would be followed by a dot or the end.
    token = tokens[place]
    following = tokens[place + 1].name if place + 1 < len(tokens) else "ASCII_59"
    return token.end - token.start + 1 == len("constant") and following not in (
        "ASCII_46",
        *_END_OF_TYPE,
    )


_WORD = r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+")'
_TYPE = re.compile(
    rf"({_WORD}(?:\s*\.\s*{_WORD})*)\s*(?:%\s*(rowtype|type)\b)?\s*(.*)", re.IGNORECASE | re.DOTALL
)


def _replacement(type_: str) -> tuple[str, tuple[tuple[str, ...], str] | None]:
    found = _TYPE.fullmatch(type_)
    if found is None:
        return type_, None
    names, reference, rest = tuple(words(found[1])), (found[2] or "").lower(), found[3]
    if "[" in rest or rest.lower() == "array":
        return "int[]", (names, reference)
    if reference:
        return ("record" if reference == "rowtype" else "t"), (names, reference)
    if len(names) > 1:
        return "t", (names, "")
    return type_, (names, "")


def words(name: str) -> Iterator[str]:
    """Give the parts of a name that may be qualified and quoted: as the server would read them."""
    for word in re.findall(_WORD, name):
        yield word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()


def _expressions(tree: Any) -> Iterator[tuple[str, bool]]:
    """Give every expression of a parsed body, and whether its value is run by EXECUTE."""
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, is_dynamic = stack.pop()
        if isinstance(node, list):
            stack.extend((item, False) for item in node)
        elif isinstance(node, dict):
            if "PLpgSQL_expr" in node:
                yield _statement(node["PLpgSQL_expr"]), is_dynamic
                continue
            for key, value in node.items():
                if key in _DYNAMIC and "query" in value:
                    stack.append((value["query"], True))
                    value = {name: part for name, part in value.items() if name != "query"}
                stack.append((value, key == "dynquery"))


def _statement(expression: dict[str, Any]) -> str:
    query, mode = expression.get("query", ""), expression.get("parseMode", 0)
    if mode > _EXPRESSION:
        # An assignment: what stands before `:=` or `=` is a variable.
        query = re.split(r":=|=", query, maxsplit=1)[-1]
    return f"SELECT {query}" if mode else query
