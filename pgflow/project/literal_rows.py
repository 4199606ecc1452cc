"""Rows that a function returns, told from its text: all written there, or made when it runs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import CodeType
from typing import Any
from uuid import UUID

from pgflow.declare.rows import RowSource

#: Calls that make a value and read nothing.
_VALUES = (date, datetime, time, timedelta, Decimal, UUID)


class RowsFrom(Enum):
    """Where rows of Python come from."""

    #: All stand in the text, or in files: they are read from no table.
    literals = "literals"
    #: They are made when the function runs, perhaps from what it reads then.
    code = "code"


def rows_in(node: ast.expr, value: Callable[[ast.expr], Any], code: CodeType) -> RowsFrom | None:
    """Say what rows an expression gives; None if it surely is none, or cannot be told.

    Args:
        node: The expression.
        value: Tells what an expression inside is.
        code: What really runs: the file may have changed since.
    """
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        return RowsFrom.code
    if not isinstance(node, (ast.List, ast.Tuple)):
        return None
    texts = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    runs = set(_flat(code.co_consts))
    if all(text in runs for text in texts if isinstance(text, str)) and _is_literal(node, value):
        return RowsFrom.literals
    return RowsFrom.code


def rows_of(found: object) -> RowsFrom | None:
    """Say what rows a value gives that is there already: a list of a module, a class called."""
    if isinstance(found, type) and issubclass(found, RowSource):
        return RowsFrom.code
    if isinstance(found, (list, tuple)) and found:
        return RowsFrom.literals
    return RowsFrom.code if isinstance(found, RowSource) else None


def _is_literal(node: ast.expr, value: Callable[[ast.expr], Any]) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _is_literal(operand, value)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return all(_is_literal(part, value) for part in parts)
        case ast.Dict(keys=keys, values=values):
            return all(each is not None and _is_literal(each, value) for each in [*keys, *values])
        case ast.Call(func=function, args=arguments, keywords=keywords):
            given = [*arguments, *(keyword.value for keyword in keywords)]
            return value(function) in _VALUES and all(_is_literal(each, value) for each in given)
    return False


def _flat(values: tuple[Any, ...]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, frozenset)):
            yield from _flat(tuple(value))
        elif isinstance(value, str):
            yield value
