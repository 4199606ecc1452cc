"""Constraints of the target that rows of the source break, told with the ways out."""

from __future__ import annotations

from collections.abc import Collection

from pgflow import idents

_NOT_NULL, _FOREIGN_KEY, _CHECK = "23502", "23503", "23514"


def explanation(error: BaseException, owner: str, defaulted: Collection[str] = ()) -> str:
    """Say which column or constraint of the target refused a row, and what can be done.

    Args:
        error: The driver's error.
        owner: Whose statement it was, as `pipeline -> schema.table`.
        defaulted: The target's columns that fill themselves where the source lacks them.

    Returns:
        Sentences that name no value of any row; an empty string where the error is about
        something else, such as another table, which a trigger writes to.
    """
    told = getattr(error, "diag", None)
    table = getattr(told, "table_name", None)
    if told is None or table is None:
        return ""
    target = idents.qualify(told.schema_name, table)
    if not owner.endswith(f" -> {target}"):
        return ""
    sqlstate = getattr(error, "sqlstate", None)
    constraint = told.constraint_name
    if sqlstate == _NOT_NULL and told.column_name:
        column = told.column_name
        return (
            f"column {column!r} of {target} takes no NULL, and a row has NULL there. "
            f"Nothing was written. {_default(column) if column in defaulted else ''}"
            "Leave such rows out in the source or give them a value, or "
            f"keep them aside by checks=[pgflow.checks.NotNull({column!r}, quarantine=True)]."
        )
    if sqlstate == _CHECK and constraint:
        return (
            f"a row breaks the check {constraint!r} of {target}. Nothing was written. Leave such "
            "rows out in the source, or keep them aside by "
            "checks=[pgflow.checks.SQLCheck(..., quarantine=True)] with the same condition."
        )
    if sqlstate == _FOREIGN_KEY and constraint:
        return (
            f"a row refers by {constraint!r} of {target} to a row that is not there. Nothing was "
            "written. Load the other table first, or keep such rows aside by "
            "checks=[pgflow.checks.Relationship(..., quarantine=True)]."
        )
    return ""


def _default(column: str) -> str:
    return (
        f"{column!r} has a default, which counts where the source does not deliver the column at "
        "all: a NULL that it delivers stays one. "
    )
