"""Schemas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_QUERY = """
    SELECT n.nspname::text AS name, n.oid, pg_get_userbyid(n.nspowner)::text AS owner,
           n.nspacl::text[] AS acl, obj_description(n.oid, 'pg_namespace') AS comment
      FROM pg_namespace n
     WHERE n.nspname = ANY(:schemas)
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
                          AND d.deptype = 'e')
     ORDER BY 1
"""


class _Schema:
    """The kind "schema"."""

    name: Final = "schema"
    rank: Final = 10

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read the schemas themselves."""
        for row in reader.rows(_QUERY, {"schemas": list(schemas)}):
            comment, mark = comments.split(row.comment)
            yield Entity(
                id=EntityIdentifier(row.name, kind=self.name),
                comment=comment,
                mark=mark,
                owner=row.owner,
                privileges=privileges.parse(row.acl, self.name, row.owner),
                address=Address("pg_namespace", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a schema as COMMENT ON does."""
        return f"SCHEMA {idents.quote(identifier.schema)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a schema."""
        return (Statement(f"CREATE {self.label(entity.id)}"),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop an empty schema."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Do nothing: a schema has no facts of its own."""
        return Change(())

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a schema."""
        return (Statement(f"ALTER {self.label(old)} RENAME TO {idents.quote(new.schema)}"),)


SCHEMA = _Schema()
