"""What identifies a row of a table, as far as the metadata says."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import sqlalchemy as sa
from sqlalchemy import Table


def whole_keys(table: Table) -> Iterator[frozenset[str]]:
    """Yield the sets of columns that no two rows of the whole table share.

    Partial indexes and indexes on expressions are left out: a foreign key cannot use them.
    """
    for constraint in table.constraints:
        if isinstance(constraint, (sa.PrimaryKeyConstraint, sa.UniqueConstraint)):
            yield frozenset(column.name for column in constraint.columns)
    for index in table.indexes:
        condition = index.dialect_options["postgresql"]["where"]
        if index.unique and condition is None and is_plain(index):
            yield frozenset(column.name for column in index.columns)


def is_plain(index: sa.Index) -> bool:
    """Tell whether an index is on columns alone, in their natural order."""
    return all(isinstance(expression, sa.Column) for expression in index.expressions)


def identifies(table: Table, columns: Collection[str]) -> bool:
    """Tell whether a foreign key may refer to these columns of a table."""
    return frozenset(columns) in set(whole_keys(table))
