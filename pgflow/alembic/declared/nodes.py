"""Walking through a parsed statement, and the names that stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pglast import ast

#: What a name in SQL can stand for.
Class = Literal["relation", "function", "type"]

#: Functions whose first argument is the name of an object, in a string.
_NAMED_IN_STRINGS = frozenset(
    {
        "nextval",
        "currval",
        "setval",
        "pg_get_serial_sequence",
        "to_regclass",
        "to_regproc",
        "to_regprocedure",
        "to_regtype",
    }
)
_REG_TYPES = frozenset({"regclass", "regproc", "regprocedure", "regtype"})


class Name(NamedTuple):
    """A name in a statement, in the role in which it stands there."""

    role: Class
    schema: str | None
    name: str
    #: Where it starts in the text, in characters; -1 if the parser does not say.
    location: int


class Occurrences(NamedTuple):
    """What the parser knows about places in a text, which its tokens do not show.

    Attributes:
        names: Relations, functions and types that are named.
        columns: Where `alias.column` stands, which only looks like `schema.object`.
        strings: Where calls and casts stand whose string holds the name of an object.
        local: Names of common table expressions, which are no relations.
        loose: Where a name stands that the parser takes for a type, and that may be a function.
    """

    names: list[Name]
    columns: set[int]
    strings: set[int]
    local: set[str]
    loose: set[int]


def walk(node: Any) -> Iterator[Any]:
    """Give a node and all below it, outer ones first."""
    stack = [node]
    while stack:
        found = stack.pop()
        if isinstance(found, tuple):
            stack.extend(reversed(found))
        elif isinstance(found, ast.Node):
            yield found
            children = [getattr(found, attribute) for attribute in found]
            stack.extend(c for c in reversed(children) if isinstance(c, (ast.Node, tuple)))


def occurrences(node: Any) -> Occurrences:
    """Collect what a parsed statement names, and where."""
    found = Occurrences([], set(), set(), set(), set())
    for each in walk(node):
        reading = _READINGS.get(type(each))
        if reading is not None:
            reading(each, found)
    return found


def _texts(parts: Any) -> list[str]:
    return [part.sval or "" for part in parts or () if isinstance(part, ast.String)]


def _pair(role: Class, parts: list[str], location: int | None) -> Name:
    schema = parts[-2] if len(parts) > 1 else None
    return Name(role, schema, parts[-1], -1 if location is None else location)


def _relation(node: Any, found: Occurrences) -> None:
    found.names.append(Name("relation", node.schemaname, node.relname, _place(node)))


def _place(node: Any) -> int:
    location = node.location
    return -1 if location is None else location


def _call(node: Any, found: Occurrences) -> None:
    parts = _texts(node.funcname)
    found.names.append(_pair("function", parts, _place(node)))
    if parts[-1] in _NAMED_IN_STRINGS and node.args:
        _string(node.args[0], node, found)


def _type(node: Any, found: Occurrences) -> None:
    parts = _texts(node.names)
    if node.pct_type:
        parts = parts[:-1]
    if parts:
        found.names.append(_pair("type", parts, _place(node)))


def _cast(node: Any, found: Occurrences) -> None:
    if _texts(node.typeName.names)[-1] in _REG_TYPES:
        _string(node.arg, node, found)


def _string(node: Any, around: Any, found: Occurrences) -> None:
    # The parser does not say where a constant stands, only what is around it.
    if isinstance(node, ast.A_Const) and isinstance(node.val, ast.String):
        found.strings.add(_place(around))


def _column(node: Any, found: Occurrences) -> None:
    if len(node.fields) == 2 and all(isinstance(f, ast.String) for f in node.fields):
        found.columns.add(_place(node))


def _target(node: Any, found: Occurrences) -> None:
    # SET composite.field: the name of the column and one indirection look like a pair.
    if node.indirection:
        found.columns.add(_place(node))


def _trigger(node: Any, found: Occurrences) -> None:
    found.names.append(_pair("function", _texts(node.funcname), None))


def _common_table(node: Any, found: Occurrences) -> None:
    found.local.add(node.ctename)


def _reference(node: Any, found: Occurrences) -> None:
    found.names.append(_pair("function", _texts(node.objname), None))


def _definition(node: Any, found: Occurrences) -> None:
    # sfunc = app.f and subtype_diff = app.f are parsed as if app.f were a type.
    for option in (node.definition if isinstance(node, ast.DefineStmt) else node.params) or ():
        if isinstance(option.arg, ast.TypeName):
            found.names.append(_pair("function", _texts(option.arg.names), None))
            found.loose.add(_place(option.arg))


_READINGS: dict[type, Any] = {
    ast.RangeVar: _relation,
    ast.FuncCall: _call,
    ast.TypeName: _type,
    ast.TypeCast: _cast,
    ast.ColumnRef: _column,
    ast.ResTarget: _target,
    ast.CreateTrigStmt: _trigger,
    ast.CommonTableExpr: _common_table,
    ast.ObjectWithArgs: _reference,
    ast.DefineStmt: _definition,
    ast.CreateRangeStmt: _definition,
}
