"""Empty copies of other people's relations, to lock in their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pgflow import idents
from pgflow.alembic.concealment import concealed
from pgflow.alembic.declared.world import DeclaredWorld
from pgflow.alembic.errands import Errand
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.naming import Naming
from pgflow.alembic.reader import Reader
from pgflow.errors import DeclarationRefused

_RELATIONS = """
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partitioning,
       ARRAY(SELECT ARRAY[k.conname::text, pg_get_constraintdef(k.oid)] FROM pg_constraint k
              WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u') ORDER BY k.oid) AS keys,
       ARRAY(SELECT ARRAY[x.relname::text, substring(pg_get_indexdef(x.oid) FROM ' USING .*')]
               FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
              WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
                AND i.indpred IS NULL AND i.indexprs IS NULL
                AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.oid)
              ORDER BY x.oid) AS indexes
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
   AND (n.nspname::text, c.relname::text) IN (
         SELECT * FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[])))
"""


_INCLUDING = "INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS INCLUDING STORAGE"


def errands(reader: Reader, world: DeclaredWorld, naming: Naming) -> Iterator[Errand]:
    """Give the statements that copy the structure of what declared objects are attached to.

    All of them only read the original: `LIKE` and a view take ACCESS SHARE.

    Args:
        reader: The database.
        world: What is declared.
        naming: The scratch schemas.

    Yields:
        The statements.

    Raises:
        DeclarationRefused: There is no such relation.
    """
    if not world.stand_ins:
        return
    schemas, names = zip(*world.stand_ins, strict=True)
    rows = reader.rows(_RELATIONS, {"schemas": list(schemas), "names": list(names)})
    found = {(row.schema, row.name): row for row in rows}
    for (schema, name), declaration in world.stand_ins.items():
        row = found.get((schema, name))
        original = idents.qualify(schema, name)
        if row is None:
            raise DeclarationRefused(
                f"{declaration.origin} needs {original}, which is neither declared nor in the "
                f"database. The statement begins with {declaration.first_line!r}.",
                sql=concealed(declaration.sql),
                origin=declaration.origin,
            )
        copy = idents.qualify(naming.scratch[schema], name)
        for sql in (_copy(row, copy, original), *_keys(row, copy, world)):
            yield Errand(sql, declaration)


def _copy(row: Any, copy: str, original: str) -> str:
    # Every part of these texts is a quoted name, or comes from the server.
    if row.kind == "v":
        return f"CREATE VIEW {copy} AS SELECT * FROM {original}"  # noqa: S608
    if row.kind == "m":
        return f"CREATE MATERIALIZED VIEW {copy} AS SELECT * FROM {original} WITH NO DATA"  # noqa: S608
    by = f" PARTITION BY {row.partitioning}" if row.partitioning else ""
    return f"CREATE TABLE {copy} (LIKE {original} {_INCLUDING}){by}"


def _keys(row: Any, copy: str, world: DeclaredWorld) -> Iterator[str]:
    """Give what foreign keys may point to; other indexes might have names that are declared."""
    for name, definition in row.keys:
        yield f"ALTER TABLE {copy} ADD CONSTRAINT {idents.quote(name)} {definition}"
    for name, definition in row.indexes:
        if not world.makes(EntityIdentifier(row.schema, name, None, "index", None, row.name)):
            yield f"CREATE UNIQUE INDEX {idents.quote(name)} ON {copy}{definition}"
