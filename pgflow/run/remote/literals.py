"""Bound values written into the text of a statement that takes no parameters, such as COPY."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.sql import Literal

from pgflow.plan.sql import Bound, Sql


def inline(fragment: Sql, driver: psycopg.Connection[Any]) -> str:
    """Write a fragment out with its values in place of `$1, $2, ...`.

    Args:
        fragment: The fragment.
        driver: The connection that it is meant for: how to quote depends on its settings.

    Returns:
        The text. Each value is quoted by libpq and stands in parentheses with the type that it
        would be bound as, so that no operator beside it can take it apart.
    """
    return "".join(
        _literal(part, driver) if isinstance(part, Bound) else part for part in fragment.parts
    )


def _literal(bound: Bound, driver: psycopg.Connection[Any]) -> str:
    value = bound.value
    # A number with a point is numeric to the server, where psycopg binds a float as float8.
    kind = "::float8" if isinstance(value, float) else ""
    return f"({Literal(value).as_string(driver).strip()}){kind}"
