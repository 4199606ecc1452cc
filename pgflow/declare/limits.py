"""What limits a run: to a part of the target, and to deleting so much of it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.elements import TextClause

from pgflow.errors import InvalidOption


def check_scope(scope: object) -> None:
    """Refuse a scope that is no condition.

    Args:
        scope: What `scope=` says, or None.

    Raises:
        InvalidOption: It is neither text nor an SQL expression.
    """
    if scope is None or isinstance(scope, (str, TextClause, ColumnElement)):
        return
    if not hasattr(scope, "__clause_element__"):
        raise InvalidOption(
            f"scope={scope!r} is no condition: give SQL text such as 'tenant = 7', or a "
            "SQLAlchemy expression."
        )


def check_lookback(lookback: object) -> None:
    """Refuse a `lookback` that is no distance.

    Args:
        lookback: What it says, or None.

    Raises:
        InvalidOption: It is neither a timedelta nor a whole number, or negative.
    """
    if lookback is None:
        return
    number = isinstance(lookback, int) and not isinstance(lookback, bool) and lookback >= 0
    if not number and not (isinstance(lookback, timedelta) and lookback >= timedelta(0)):
        raise InvalidOption(
            f"lookback={lookback!r} is no distance to go back: give a timedelta for instants, or a "
            "whole number for numbers, from 0 on."
        )


def check_ratio(ratio: object) -> None:
    """Refuse a `max_delete_ratio` that is no share.

    Args:
        ratio: What it says, or None.

    Raises:
        InvalidOption: It is no number from 0 to 1.
    """
    if ratio is None:
        return
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
        raise InvalidOption(
            f"max_delete_ratio={ratio!r} is no share of the target's rows: give a number "
            "from 0 to 1."
        )
