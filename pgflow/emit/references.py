"""Foreign keys between tables that may be declared in any order.

Tables register under their name (their "dimension"); a reference to one that is not there yet
waits on the MetaData and is put in when the table comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import MetaData, Table, event
from sqlalchemy.exc import NoReferenceError

from pgflow import idents
from pgflow.declare.expressions import validate_column_references
from pgflow.declare.items import ForeignKey, split_reference
from pgflow.declare.registry import Registry
from pgflow.emit.names import label, take_constraint_name
from pgflow.emit.state import state_of
from pgflow.emit.uniqueness import identifies
from pgflow.errors import AmbiguousReference, InvalidItem, ReferenceToHistory, UnknownReference

# Keys of MetaData.info. The values are dictionaries of immutable values, so that whoever undoes
# a failed declaration needs to copy one level only.
_DIMENSIONS = "pgflow_dimensions"
_SHORT = "pgflow_short_references"
_PENDING = "pgflow_pending_references"


@dataclass(frozen=True)
class DimensionRef:
    """The table that foreign keys to a dimension refer to.

    Attributes:
        schema: The table's schema.
        table: The table's name.
    """

    schema: str
    table: str


@dataclass(frozen=True, eq=False)
class Pending:
    """A foreign key that waits for the table that it refers to.

    Attributes:
        table: The table that refers.
        item: What was declared.
    """

    table: Table
    item: ForeignKey


def dimensions(metadata: MetaData) -> Registry[str, tuple[DimensionRef, ...]]:
    """Return the registered tables by dimension name."""
    return _registry(metadata, _DIMENSIONS)


def pending(metadata: MetaData) -> Registry[str, tuple[Pending, ...]]:
    """Return the waiting foreign keys by dimension name."""
    return _registry(metadata, _PENDING)


def register_dimension(metadata: MetaData, name: str, ref: DimensionRef) -> None:
    """Make a table known to foreign keys, and put in those that wait for it.

    Args:
        metadata: Where the table is.
        name: The dimension's name, which is the table's name for simple tables.
        ref: The table.

    Raises:
        AmbiguousReference: Another schema has a dimension of that name, and somebody refers to
            it without a schema.
        UnknownReference: A waiting foreign key names a column that the table does not have.
    """
    known = dimensions(metadata).get(name, ())
    if ref in known:
        return
    refs = (*known, ref)
    user = _short(metadata).get(name)
    waiting = pending(metadata).get(name, ())
    if user is not None and len(refs) > 1:
        raise _ambiguous(user, name, refs)
    ready = [(p, _targets(p.table, p.item, {name: refs})) for p in waiting]
    dimensions(metadata)[name] = refs
    arrived = []
    for waiter, targets in ready:
        if targets is not None:
            _attach(waiter.table, waiter.item, targets)
            arrived.append(waiter)
    if arrived:
        pending(metadata)[name] = tuple(p for p in waiting if p not in arrived)


def resolve_fk_reference(metadata: MetaData, reference: str) -> str:
    """Expand `dimension.column` (or `schema.dimension.column`) to `schema.table.column`.

    Args:
        metadata: Where the dimension is registered.
        reference: The reference.

    Returns:
        The three names, joined by dots.

    Raises:
        InvalidItem: The reference has another form.
        UnknownReference: No dimension of that name is registered.
        AmbiguousReference: Two schemas have one.
    """
    parts = split_reference(reference, (2, 3))
    ref = _find(parts, dimensions(metadata), reference, reference)
    if ref is None:
        raise UnknownReference(
            f"foreign key to {reference!r}: no table {parts[-2]!r} is declared."
            f"{_nearest(parts[-2], dimensions(metadata))}",
            reference=reference,
        )
    return f"{ref.schema}.{ref.table}.{parts[-1]}"


def add_foreign_key(table: Table, item: ForeignKey, *, dimension: str | None = None) -> bool:
    """Put a `ForeignKey` on a table if the table that it refers to is known.

    Args:
        table: The table that refers.
        item: The foreign key.
        dimension: The name under which the table itself is going to be registered, so that it
            can refer to itself.

    Returns:
        Whether the foreign key is in place; if not, `wait` keeps it until the other table comes.

    Raises:
        UnknownColumn: A referring column is none of the table's.
        UnknownReference: The other table does not have the column.
        AmbiguousReference: Two schemas have a table of that name.
        ReferenceToHistory: The referred columns are the merge key of an scd2 table.
        NameTaken: The table has a constraint of that name.
    """
    where = f"{item} of {label(table)}"
    validate_column_references(where, item.columns, table.columns.keys())
    known = dict(dimensions(table.metadata))
    if dimension is not None and table.schema is not None:
        own = DimensionRef(table.schema, table.name)
        if own not in known.get(dimension, ()):
            known[dimension] = (*known.get(dimension, ()), own)
    targets = _targets(table, item, known)
    if targets is None:
        return False
    _attach(table, item, targets)
    return True


def wait(table: Table, item: ForeignKey) -> None:
    """Keep a foreign key until the table that it refers to is declared."""
    name = split_reference(item.targets[0], (2, 3))[-2]
    waiting = pending(table.metadata).get(name, ())
    pending(table.metadata)[name] = (*waiting, Pending(table, item))


def remember_short(table: Table, item: ForeignKey) -> None:
    """Remember references without a schema, which a second table of that name would break."""
    for target in item.references.values():
        parts = split_reference(target, (2, 3))
        if len(parts) == 2:
            owner = f"{item} of {label(table)}"
            _short(table.metadata).setdefault(parts[0], owner)


#: The tables of a MetaData that have, or had, foreign keys, by their keys. Looking for them among
#: all tables each time costs more than the rest of a declaration, once there are a thousand.
_referring: WeakKeyDictionary[MetaData, dict[str, None]] = WeakKeyDictionary()


@event.listens_for(sa.ForeignKeyConstraint, "after_parent_attach")
def _note_referring(_: sa.ForeignKeyConstraint, table: Table) -> None:
    known = _referring.get(table.metadata)
    if known is not None:
        known[table.key] = None


def referrers(table: Table) -> Iterator[sa.ForeignKeyConstraint]:
    """Yield the foreign keys of the MetaData that refer to a table."""
    tables = table.metadata.tables
    known = _referring.get(table.metadata)
    if known is None:
        found = [key for key, each in tables.items() if each.foreign_keys]
        known = _referring[table.metadata] = dict.fromkeys(found)
    for other in [tables[key] for key in known if key in tables]:
        for constraint in other.foreign_key_constraints:
            if _refers_to(constraint, table):
                yield constraint


def check_reference(constraint: sa.ForeignKeyConstraint) -> None:
    """Refuse a foreign key to the merge key of an scd2 table.

    Args:
        constraint: A foreign key on a table; one whose target is not declared yet passes.

    Raises:
        ReferenceToHistory: The referred columns are not unique in the history.
    """
    try:
        target = constraint.referred_table
        columns = [element.column.name for element in constraint.elements]
    except NoReferenceError:
        return
    refuse_history(constraint.table, target, columns)


def check_references(metadata: MetaData) -> None:
    """Refuse a MetaData in which a foreign key points to nothing, or into a history.

    Args:
        metadata: A MetaData on which everything has been declared.

    Raises:
        UnknownReference: A table or column that somebody refers to was never declared.
        ReferenceToHistory: A foreign key refers to the merge key of an scd2 table.
    """
    for name, waiting in pending(metadata).items():
        for waiter in waiting:
            raise UnknownReference(
                f"{waiter.item} of {label(waiter.table)}: no table {name!r} is declared on this "
                f"MetaData.{_nearest(name, dimensions(metadata))} Import the module that "
                "declares it, or use raw_references= for a table that pgflow did not make.",
                reference=waiter.item.targets[0],
                table=label(waiter.table),
            )
    for table in metadata.tables.values():
        for constraint in table.foreign_key_constraints:
            for element in constraint.elements:
                _check_element(table, element)
            check_reference(constraint)


def refuse_history(table: Table, target: Table, columns: Sequence[str]) -> None:
    """Refuse a reference to columns that identify no single row of a history.

    Args:
        table: The table that refers.
        target: The table that is referred to.
        columns: The columns that are referred to.

    Raises:
        ReferenceToHistory: The target keeps history, and the columns are not unique in it.
    """
    if state_of(target).history is None or identifies(target, columns):
        return
    listed = ", ".join(columns)
    raise ReferenceToHistory(
        f"{label(table)} has a foreign key to {label(target)} ({listed}), which keeps history "
        f"(mode 'scd2'): ({listed}) has one row for each version there, so nothing can refer to "
        "it. Refer to a column that numbers the versions "
        "(system_columns={'version_id': 'version_id'} adds one), or drop the foreign key and "
        "join by key and instant.",
        reference=f"{label(target)} ({listed})",
        table=label(table),
    )


def _short(metadata: MetaData) -> Registry[str, str]:
    return _registry(metadata, _SHORT)


def _registry(metadata: MetaData, key: str) -> Registry[str, Any]:
    found: Registry[str, Any] | None = metadata.info.get(key)
    if found is None:
        found = metadata.info[key] = Registry()
    return found


def _targets(
    table: Table, item: ForeignKey, known: Mapping[str, tuple[DimensionRef, ...]]
) -> list[Any] | None:
    """Find what an item refers to: columns, or SQLAlchemy's strings; None while it must wait."""
    where = f"{item} of {label(table)}"
    found: list[tuple[str | None, str, str]] = []
    for target in item.targets:
        parts = split_reference(target, (2, 3))
        if item.raw_references:
            found.append((parts[0], parts[1], parts[2]))
            continue
        ref = _find(parts, known, target, where)
        if ref is None:
            return None
        found.append((ref.schema, ref.table, parts[-1]))
    if len({place[:2] for place in found}) > 1:
        raise InvalidItem(f"{where} refers to more than one table.", table=label(table))
    return [_column(table, where, *place) for place in found]


def _find(
    parts: tuple[str, ...],
    known: Mapping[str, tuple[DimensionRef, ...]],
    reference: str,
    where: str,
) -> DimensionRef | None:
    refs = known.get(parts[-2], ())
    if len(parts) == 3:
        refs = tuple(ref for ref in refs if ref.schema == parts[0])
    if len(refs) > 1:
        raise _ambiguous(where, parts[0], refs, reference)
    return refs[0] if refs else None


def _ambiguous(
    where: str, name: str, refs: Sequence[DimensionRef], reference: str = ""
) -> AmbiguousReference:
    places = " and ".join(idents.qualify(ref.schema, ref.table) for ref in refs)
    forms = " or ".join(repr(f"{ref.schema}.{name}.column") for ref in refs)
    return AmbiguousReference(
        f"{where}: there are two tables {name!r}: {places}. Write the schema as well: {forms}.",
        reference=reference or name,
    )


def _column(table: Table, where: str, schema: str | None, name: str, column: str) -> Any:
    target = table.metadata.tables.get(name if schema is None else f"{schema}.{name}")
    if target is None:
        if any("." in part for part in (schema or "", name, column)):
            raise UnknownReference(
                f"{where}: table {idents.qualify(schema, name)} is not declared, and names with "
                "dots cannot wait. Declare it first.",
                reference=f"{schema}.{name}.{column}",
                table=label(table),
            )
        return f"{schema}.{name}.{column}"
    if column not in target.columns:
        raise UnknownReference(
            f"{where}: {label(target)} has no column {column!r}."
            f"{_nearest(column, target.columns.keys())}",
            reference=f"{schema}.{name}.{column}",
            table=label(table),
        )
    return target.columns[column]


def _attach(table: Table, item: ForeignKey, targets: Sequence[Any]) -> None:
    names = [idents.truncate(column) for column in item.columns]
    if isinstance(targets[0], sa.Column):
        refuse_history(table, targets[0].table, [c.name for c in targets])
    constraint = sa.ForeignKeyConstraint(
        [table.columns[name] for name in names],
        targets,
        name=take_constraint_name(table, item.name or None, "fk", names),
        ondelete=item.ondelete,
        onupdate=item.onupdate,
        deferrable=item.deferrable,
        initially=item.initially,
    )
    table.append_constraint(constraint)


def _refers_to(constraint: sa.ForeignKeyConstraint, table: Table) -> bool:
    try:
        return constraint.referred_table is table
    except NoReferenceError:
        return False


def _check_element(table: Table, element: sa.ForeignKey) -> None:
    try:
        _ = element.column
    except NoReferenceError as error:
        raise UnknownReference(
            f"{label(table)} has a foreign key to {element.target_fullname!r}, which is not on "
            "this MetaData. Declare or reflect that table on the same MetaData.",
            reference=element.target_fullname,
            table=label(table),
        ) from error


def _nearest(name: str, names: Any) -> str:
    close = get_close_matches(name, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
