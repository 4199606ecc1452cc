"""Default privileges: what others may do with the objects that a role makes from now on.

They have no comment that could hold a mark. The mark of the schema names their grantees, apart from
those of rights on the schema itself; that is how a migration knows which of them an earlier one
granted. What holds in the whole database (without IN SCHEMA) is granted and revoked as declared,
but never missed once its declaration is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_QUERY = """
    SELECT coalesce(n.nspname::text, '') AS schema, pg_get_userbyid(d.defaclrole)::text AS role,
           d.defaclobjtype::text AS objects, d.defaclacl::text[] AS acl, d.oid,
           obj_description(n.oid, 'pg_namespace') AS comment
      FROM pg_default_acl d
      LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
     WHERE d.defaclnamespace = 0 OR n.nspname = ANY(:schemas)
     ORDER BY 1, 2, 3
"""

#: What the catalogue's letters stand for, as identities name it.
_OBJECTS = {
    "r": "tables",
    "S": "sequences",
    "f": "functions",
    "T": "types",
    "n": "schemas",
    "L": "large objects",
}


class _DefaultPrivileges:
    """The kind "default_privileges"; its whole content is its privileges."""

    name: Final = "default_privileges"
    rank: Final = 95

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read the default privileges in some schemas, and those of the whole database."""
        for row in reader.rows(_QUERY, {"schemas": list(schemas)}):
            objects = _OBJECTS.get(row.objects, row.objects)
            rights = privileges.parse(row.acl, self.name, row.role)
            yield Entity(
                id=EntityIdentifier(row.schema, f"{row.role}/{objects}", kind=self.name),
                mark=_mark(row.comment, frozenset(right.grantee for right in rights)),
                privileges=rights,
                address=Address("pg_default_acl", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name default privileges as GRANT needs it; there is no COMMENT ON them."""
        role, _, objects = (identifier.name or "").rpartition("/")
        within = f" IN SCHEMA {idents.quote(identifier.schema)}" if identifier.schema else ""
        return f"{privileges.DEFAULT} FOR ROLE {idents.quote(role)}{within} ON {objects.upper()}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Do nothing: granting the privileges is all that there is to it."""
        return ()

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Revoke what migrations granted, and give back what PUBLIC has by default."""
        rights = entity.privileges or frozenset()
        if entity.mark is not None:
            rights = frozenset(right for right in rights if right.grantee in entity.mark.grantees)
        usual = privileges.defaults(entity.id)
        label = self.label(entity.id)
        lost = usual - (entity.privileges or frozenset())
        return (*privileges.revoke(label, rights - usual), *privileges.grant(label, lost))

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change:
        """Do nothing: there is nothing besides privileges."""
        return Change(())

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> None:
        """Refuse: they have no name."""


def _mark(schema_comment: str | None, grantees: frozenset[str]) -> Mark | None:
    mark = comments.split(schema_comment)[1]
    if mark is None or not mark.defaults & grantees:
        return None
    return Mark(mark.owner, mark.defaults & grantees)


DEFAULT_PRIVILEGES = _DefaultPrivileges()


def neutral(reader: Reader) -> Iterator[str]:
    """Give the statements that take back what the current role grants on all that it makes.

    Objects that are only tried out must get no rights but the declared ones.

    Args:
        reader: The database.
    """
    user: str = reader.scalar("SELECT current_user::text")
    for entity in DEFAULT_PRIVILEGES.read(reader, ()):
        if (entity.id.name or "").rpartition("/")[0] == user:
            for statement in DEFAULT_PRIVILEGES.drop(entity, Snapshot(reader.version, {})):
                yield statement.sql
