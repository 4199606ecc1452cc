"""Functions of pipelines that ask databases by themselves, as far as their text tells."""

from __future__ import annotations

import ast
from collections.abc import Iterator

#: What opens a connection, or makes what does: of pgflow, of SQLAlchemy, of drivers.
_OPENING = frozenset({"begin", "connect", "create_engine", "engine", "raw_connection"})


def uses(body: Iterator[ast.AST], names: set[str]) -> bool:
    """Say whether a function uses one of its variables.

    Args:
        body: All that stands in the function, below its head.
        names: The variables.
    """
    return any(
        isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load) and each.id in names
        for each in body
    )


def opens(body: Iterator[ast.AST]) -> bool:
    """Say whether a function calls what opens a connection, such as `pgflow.connect()`.

    Args:
        body: All that stands in the function, below its head.
    """
    return any(isinstance(each, ast.Call) and _called(each) in _OPENING for each in body)


def _called(call: ast.Call) -> str | None:
    """The last name of what is called."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None
