"""Alembic's version tables: which of those in a database belong to the declared objects.

The name of a table other than `alembic_version` is said in env.py, which nobody runs only to ask.
The marks of what migrations made say it too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pgflow.alembic.reader import Reader

#: The name of the table unless env.py says another one.
USUAL = "alembic_version"

_QUERY = """
    SELECT n.nspname::text AS schema, c.relname::text AS name,
           pg_get_userbyid(c.relowner)::text AS owner,
           pg_get_userbyid(n.nspowner)::text AS schema_owner,
           n.nspname || '.' || c.relname AS full_name,
           n.nspname = ANY(current_schemas(false)) AS on_path
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p')
       AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                      AND a.attname = 'version_num' AND NOT a.attisdropped)
     ORDER BY 1, 2
"""


@dataclass(frozen=True)
class VersionTable:
    """A version table and who owns it.

    Attributes:
        schema: The schema in which it is.
        name: Its name.
        owner: Its owner.
        schema_owner: The owner of its schema.
    """

    schema: str
    name: str
    owner: str
    schema_owner: str


def find(
    reader: Reader, histories: Collection[str], schemas: Collection[str]
) -> list[VersionTable]:
    """Find the version tables of migration histories.

    Args:
        reader: The database.
        histories: The histories' names as they stand in marks: "" for the usual table, else
            `table` or `schema.table`, unless the setting `owner` is another name.
        schemas: The declared schemas, in which a table may be that no mark names.

    Returns:
        The tables that marks name; the usual one, wherever it is expected, where they name none.
    """
    rows = reader.rows(_QUERY)
    named = [
        row for row in rows if row.full_name in histories or (row.on_path and row.name in histories)
    ]
    if "" in histories or not named:
        usual = [row for row in rows if row.name == USUAL]
        named += [
            row for row in usual if row not in named and (row.on_path or row.schema in schemas)
        ]
    return [VersionTable(row.schema, row.name, row.owner, row.schema_owner) for row in named]
