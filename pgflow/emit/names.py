"""Names of constraints and indexes: explicit, in PostgreSQL's own pattern, and free.

Tables and indexes of a schema share one set of names; other constraints are named per table.
A user's MetaData with a `naming_convention` of its own keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import MetaData, Table
from sqlalchemy.sql.elements import conv

from pgflow import idents
from pgflow.declare.registry import Registry
from pgflow.errors import NameTaken

_INFO = "pgflow_names"

#: PostgreSQL's suffixes, by SQLAlchemy's names for the kinds.
SUFFIXES = {
    "pk": "pkey",
    "uq": "key",
    "ix": "idx",
    "fk": "fkey",
    "ck": "check",
    "ex": "excl",
}


def label(table: Table) -> str:
    """Return the table's qualified name, for messages."""
    return idents.qualify(table.schema, table.name)


def relation_names(metadata: MetaData, schema: str | None) -> Registry[str, str]:
    """Return the names that tables and indexes of a schema bear, and who bears them."""
    schemas: dict[str | None, Registry[str, str]] = metadata.info.setdefault(_INFO, {})
    found = schemas.get(schema)
    if found is None:
        found = schemas[schema] = Registry()
    return found


def holder(metadata: MetaData, schema: str | None, name: str) -> str | None:
    """Say which table bears a relation name of a schema itself or by an index; None if it is free.

    Tables that were declared without pgflow are known by their own names only.
    """
    key = name if schema is None else f"{schema}.{name}"
    if key in metadata.tables:
        return f"table {label(metadata.tables[key])}"
    return relation_names(metadata, schema).get(name)


def take_relation_name(table: Table, name: str | None, kind: str, parts: Iterable[str]) -> str:
    """Name an index, or a constraint that has one, and keep the name.

    Args:
        table: The table that it is on.
        name: The name that the user gave; None for PostgreSQL's pattern.
        kind: `pk`, `uq`, `ix` or `ex`.
        parts: What stands between the table's name and the suffix.

    Returns:
        A name of at most 63 bytes that the schema does not have yet.

    Raises:
        NameTaken: The user's name is taken.
    """
    metadata, schema = table.metadata, table.schema
    if name is None:
        chosen = _free(table, kind, parts, lambda n: holder(metadata, schema, n) is not None)
    else:
        chosen = idents.truncate(name)
        owner = holder(metadata, schema, chosen)
        if owner is not None:
            raise NameTaken(
                f"table {label(table)} names an index {chosen!r}, and that name belongs to "
                f"{owner}: tables and indexes of a schema share their names. Choose another, or "
                "None for a name made from table and columns.",
                name=chosen,
                owner=owner,
                table=label(table),
            )
    relation_names(metadata, schema)[chosen] = f"an index of table {label(table)}"
    return chosen


def take_constraint_name(table: Table, name: str | None, kind: str, parts: Iterable[str]) -> str:
    """Name a check or a foreign key.

    Args:
        table: The table that it is on.
        name: The name that the user gave; None for PostgreSQL's pattern.
        kind: `ck` or `fk`.
        parts: What stands between the table's name and the suffix.

    Returns:
        A name of at most 63 bytes that the table does not have yet.

    Raises:
        NameTaken: The user's name is taken.
    """
    taken = {c.name for c in table.constraints if isinstance(c.name, str)}
    if name is None:
        return _free(table, kind, parts, lambda n: n in taken)
    chosen = idents.truncate(name)
    if chosen in taken:
        raise NameTaken(
            f"table {label(table)} has two constraints {chosen!r}. Choose another name for one of "
            "them, or None for a name made from table and columns.",
            name=chosen,
            owner=f"table {label(table)}",
            table=label(table),
        )
    return chosen


def has_convention(metadata: MetaData, kind: str) -> bool:
    """Tell whether the user's MetaData names a kind of constraint by a convention of its own."""
    convention = metadata.naming_convention
    # SQLAlchemy's default has one entry, for the indexes of Column(index=True).
    return kind in convention and len(convention) > 1


def release(table: Table, name: object) -> None:
    """Give the name of a removed index back."""
    if isinstance(name, str):
        relation_names(table.metadata, table.schema).pop(name, None)


def _free(table: Table, kind: str, parts: Iterable[str], taken: Callable[[str], bool]) -> str:
    stem = "_".join([table.name, *parts, SUFFIXES[kind]])
    name, number = idents.fit(stem), 0
    while taken(name):
        number += 1
        name = idents.fit(f"{stem}{number}")
    # `conv` keeps SQLAlchemy from putting a naming convention on top of a finished name.
    return conv(name) if has_convention(table.metadata, kind) else name
