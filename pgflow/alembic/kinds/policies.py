"""Row-level security policies: who may see and write which rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.renaming import renamed_on
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_POLICIES = """
    SELECT p.oid, n.nspname AS schema, c.relname AS relation, p.polname AS name,
           p.polpermissive AS permissive, p.polcmd::text AS command,
           ARRAY(SELECT CASE r WHEN 0 THEN '' ELSE pg_get_userbyid(r)::text END
                   FROM unnest(p.polroles) AS r) AS roles,
           pg_get_expr(p.polqual, p.polrelid) AS using,
           pg_get_expr(p.polwithcheck, p.polrelid) AS "check", d.description
      FROM pg_policy p
      JOIN pg_class c ON c.oid = p.polrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_description d ON d.objoid = p.oid AND d.classoid = 'pg_policy'::regclass
     WHERE n.nspname = ANY(:schemas)
       AND NOT EXISTS (SELECT FROM pg_depend e
                        WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                          AND e.objsubid = 0 AND e.deptype = 'e')
     ORDER BY n.nspname, c.relname, p.polname
"""

_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}


class _Policy:
    """The kind "policy"."""

    name: Final = "policy"
    rank: Final = 85

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all policies of some schemas."""
        for row in reader.rows(_POLICIES, {"schemas": list(schemas)}):
            comment, mark = comments.split(row.description)
            yield Entity(
                id=EntityIdentifier(row.schema, row.name, kind=self.name, table=row.relation),
                facts={
                    "permissive": row.permissive,
                    "command": _COMMANDS[row.command],
                    "roles": tuple(sorted(row.roles)),
                    "using": row.using and settled(row.using, "SELECT "),
                    "check": row.check and settled(row.check, "SELECT "),
                },
                comment=comment,
                mark=mark,
                address=Address("pg_policy", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a policy as COMMENT ON does."""
        relation = idents.qualify(identifier.schema, identifier.table or "")
        return f"POLICY {idents.quote(identifier.name or '')} ON {relation}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a policy."""
        words = [f"CREATE {self.label(entity.id)}"]
        if not entity.facts["permissive"]:
            words.append("AS RESTRICTIVE")
        if entity.facts["command"] != "ALL":
            words.append(f"FOR {entity.facts['command']}")
        if entity.facts["roles"] != ("",):
            words.append(_roles(entity))
        return (Statement(" ".join((*words, *_conditions(entity, ("using", "check"))))),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a policy."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Alter a policy; None if it changes its command or sort, or loses a condition."""
        differing = [fact for fact in new.facts if old.facts[fact] != new.facts[fact]]
        if "permissive" in differing or "command" in differing:
            return None
        if any(new.facts[fact] is None for fact in differing):
            return None
        roles = (_roles(new),) if "roles" in differing else ()
        words = (f"ALTER {self.label(new.id)}", *roles, *_conditions(new, differing))
        return Change((Statement(" ".join(words)),) if differing else ())

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a policy."""
        return renamed_on("POLICY", old, new)


def _roles(entity: Entity) -> str:
    roles = entity.facts["roles"]
    names = roles if isinstance(roles, tuple) else ()
    return f"TO {', '.join(privileges.role(str(name)) for name in names)}"


def _conditions(entity: Entity, facts: Iterable[str]) -> Iterable[str]:
    for fact, clause in (("using", "USING"), ("check", "WITH CHECK")):
        if fact in facts and entity.facts[fact] is not None:
            yield f"{clause} ({entity.facts[fact]})"


POLICY = _Policy()
