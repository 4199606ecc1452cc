"""What a pipeline's function returns, as far as its own text says so; it is not called."""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from sqlalchemy.sql import ClauseElement

from pgflow.declare.rows import FileSource
from pgflow.declare.sources import Query, SourceTable
from pgflow.errors import DeclarationError
from pgflow.project.literal_files import NO_FILES, Files, files_in, files_of
from pgflow.project.literal_rows import RowsFrom, rows_in, rows_of
from pgflow.project.own_connections import opens, uses

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
#: What stands for a value that the text does not tell.
_UNKNOWN = object()
#: What has returns of its own.
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True)
class Returned:
    """What the text of a function tells about what it returns.

    Attributes:
        sources: SQL, queries and tables that stand there literally or under a name.
        known: Whether it can return nothing else, None aside.
        may_be_none: Whether it can return None, so that the declared source counts.
        rows: Where the rows come from that it returns, if it returns rows; else None.
        files: The files that it returns.
    """

    sources: tuple[str | Query | SourceTable | ClauseElement, ...]
    known: bool
    may_be_none: bool
    rows: RowsFrom | None = None
    files: Files = NO_FILES


_NOT_KNOWN = Returned((), False, True)


def returned(function: Callable[..., Any]) -> Returned:
    """Read the `return` statements of a function.

    Known are string literals, also joined ones; `Query` and `SourceTable` called with them; and
    names of such values: of the module, of a function around this one, or of a variable that is
    assigned once. F-strings and whatever else is computed are not known, nor is what a function
    under another decorator returns, or one whose text cannot be found.

    Args:
        function: The function of a pipeline.

    Returns:
        What is known.
    """
    node = _node(function) if isinstance(function, FunctionType) else None
    if node is None:
        return _NOT_KNOWN
    if _yields(node):
        return replace(_NOT_KNOWN, rows=RowsFrom.code)
    names = _Names(cast(FunctionType, function), node)
    if isinstance(node, ast.Lambda):
        values, may_be_none = [names.value(node.body)], False
    else:
        ends = [each.value for each in _own(node) if isinstance(each, ast.Return)]
        values = [names.value(value) for value in ends if value is not None]
        may_be_none = None in ends or not _is_end(node.body)
    sources = tuple(v for v in values if isinstance(v, (str, Query, SourceTable, ClauseElement)))
    known = not any(value is _UNKNOWN or value is RowsFrom.code for value in values)
    files = [value for value in values if isinstance(value, Files)]
    rows = [value for value in values if isinstance(value, RowsFrom)]
    rows += [RowsFrom.literals for _ in files]
    return Returned(
        sources,
        known,
        may_be_none or any(value is None for value in values),
        None if not rows else RowsFrom.code if RowsFrom.code in rows else rows[0],
        Files.all(files),
    )


def asks(function: Callable[..., Any], connections: int) -> bool:
    """Say whether the text of a function does anything with its connections, or opens others.

    Args:
        function: The function of a pipeline.
        connections: How many of its arguments are connections; they come first.

    Returns:
        Whether it does; False where the text cannot be found.
    """
    node = _node(function) if isinstance(function, FunctionType) else None
    if node is None:
        return False
    names = {each.arg for each in (*node.args.posonlyargs, *node.args.args)[:connections]}
    return uses(_inside(node), names) or opens(_inside(node))


class _Names:
    """The values that names and expressions of a function have, where its text tells them."""

    def __init__(self, function: FunctionType, node: _Function) -> None:
        self._code: CodeType = function.__code__
        self._outside: Mapping[str, Any] = {**function.__globals__, **_closure(function)}
        self._variables = _variables(node)

    def value(self, node: ast.expr) -> Any:
        """The value of an expression: a source, None, where rows come from, or `_UNKNOWN`."""
        found = self._value(node)
        kinds = (str, Query, SourceTable, ClauseElement, RowsFrom, Files, type(None))
        if isinstance(found, FileSource):
            found = files_of(found)
        if not isinstance(found, (*kinds, type)):
            found = rows_of(found) or found
        return found if isinstance(found, kinds) else _UNKNOWN

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None):
                return None
            case ast.Constant() | ast.BinOp(op=ast.Add()):
                return self._running(_text(node))
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute(attr=name):
                return _member(self._value(node.value), name)
            case ast.Call():
                return self._made(node)
        return rows_in(node, self._value, self._code) or _UNKNOWN

    def _running(self, text: str | None) -> Any:
        """Take a text only if it is in the code that runs: the file may have changed since."""
        return text if text is not None and text in self._code.co_consts else _UNKNOWN

    def _named(self, name: str) -> Any:
        if name in (*self._code.co_varnames, *self._code.co_cellvars):
            assigned = self._variables.get(name, [])
            once = assigned[0] if len(assigned) == 1 else None
            found = _UNKNOWN if once is None or isinstance(once, ast.Name) else self._value(once)
            # What is put into a variable's list afterwards does not stand here.
            return RowsFrom.code if isinstance(found, RowsFrom) else found
        return self._outside.get(name, _UNKNOWN)

    def _made(self, node: ast.Call) -> Any:
        """A `Query` or `SourceTable` of literals; the values of parameters do not matter."""
        kind = self._value(node.func)
        if isinstance(kind, type) and issubclass(kind, FileSource):
            return files_in(node, self._value)
        if isinstance(kind, type) and (rows := rows_of(kind)) is not None:
            return rows
        if kind not in (Query, SourceTable) or any(k.arg is None for k in node.keywords):
            return _UNKNOWN
        fields = ("sql", "params") if kind is Query else ("name", "column_map")
        if len(node.args) > len(fields):
            return _UNKNOWN
        given = dict(zip(fields, node.args, strict=False))
        given.update((k.arg, k.value) for k in node.keywords if k.arg is not None)
        first: Any = self._value(given[fields[0]]) if fields[0] in given else _UNKNOWN
        connection = self._value(given["connection"]) if "connection" in given else None
        params = _keys(given.get("params"))
        if first is _UNKNOWN or connection is _UNKNOWN or params is None:
            return _UNKNOWN
        try:
            if kind is Query:
                return Query(first, params, connection=connection)
            return SourceTable(first, connection=connection)
        except (DeclarationError, TypeError):
            return _UNKNOWN


def _text(node: ast.expr) -> str | None:
    """A literal text, or several with `+` between them."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
        return None
    left, right = _text(node.left), _text(node.right)
    return None if left is None or right is None else left + right


def _keys(node: ast.expr | None) -> dict[str, object] | None:
    """The names of parameters in a literal dict, without values; None if they are not known."""
    if node is None:
        return {}
    if not isinstance(node, ast.Dict):
        return None
    keys = [k.value if isinstance(k, ast.Constant) else None for k in node.keys]
    return {k: None for k in keys if isinstance(k, str)} if None not in keys else None


def _member(module: Any, name: str) -> Any:
    """A name of a module; what modules make when they are asked is left alone, but pgflow's."""
    if not isinstance(module, ModuleType):
        return _UNKNOWN
    if module.__name__ == "pgflow":
        return getattr(module, name, _UNKNOWN)
    return vars(module).get(name, _UNKNOWN)


def _closure(function: FunctionType) -> dict[str, Any]:
    """What functions around this one have bound; a cell that is empty yet is left out."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            found[name] = _UNKNOWN
    return found


def _variables(node: _Function) -> dict[str, list[ast.expr | None]]:
    """What is assigned to each variable; None for whatever is no plain assignment."""
    found: dict[str, list[ast.expr | None]] = {}
    plain: dict[int, ast.expr] = {}
    for each in _own(node):
        match each:
            case ast.Assign(targets=[ast.Name() as target], value=value):
                plain[id(target)] = value
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                plain[id(target)] = value
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.setdefault(name, []).append(plain.get(id(each)))
            case ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name):
                found.setdefault(name, []).append(None)
            case ast.alias(name=name, asname=asname):
                found.setdefault(asname or name.partition(".")[0], []).append(None)
            case ast.MatchStar(name=str() as name) | ast.MatchMapping(rest=str() as name):
                found.setdefault(name, []).append(None)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.setdefault(name, []).append(None)
    arguments = node.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    for argument in (*every, arguments.vararg, arguments.kwarg):
        if argument is not None:
            found.setdefault(argument.arg, []).append(None)
    return found


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Everything in a function, outer things first, but nothing of functions inside it."""
    inside: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*_body(node)]
    while inside:
        each = inside.pop(0)
        yield each
        if not isinstance(each, _SCOPES):
            inside = [*ast.iter_child_nodes(each), *inside]


def _inside(node: _Function) -> Iterator[ast.AST]:
    """Everything in a function, also of functions inside it, but nothing of its decorators."""
    for each in [node.body] if isinstance(node, ast.Lambda) else node.body:
        yield from ast.walk(each)


def _body(node: ast.AST) -> list[ast.stmt]:
    found: list[ast.stmt] = getattr(node, "body", [])
    return found


def _yields(node: _Function) -> bool:
    """Whether calling it makes a generator: then it delivers rows."""
    return any(isinstance(each, (ast.Yield, ast.YieldFrom)) for each in _own(node))


def _is_end(body: list[ast.stmt]) -> bool:
    """Whether a block never goes on after its last statement."""
    last = body[-1]
    if isinstance(last, ast.If):
        return bool(last.orelse) and _is_end(last.body) and _is_end(last.orelse)
    return isinstance(last, (ast.Return, ast.Raise))


def _node(function: FunctionType) -> _Function | None:
    """Find a function's own text, by its line and name, in the file that it comes from."""
    code = function.__code__
    file = inspect.getsourcefile(code) or code.co_filename
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file, function.__globals__))
    found = [
        each
        for each in _functions(text).get(code.co_firstlineno, ())
        if getattr(each, "name", "<lambda>") == code.co_name
    ]
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=64)
def _functions(text: str) -> Mapping[int, tuple[_Function, ...]]:
    """The functions of a file by the line in which each begins, decorators included."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[int, tuple[_Function, ...]] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            decorators: list[ast.expr] = getattr(node, "decorator_list", [])
            line = min([node.lineno, *(each.lineno for each in decorators)])
            found[line] = (*found.get(line, ()), node)
    return found
