"""Extended statistics of tables and materialized views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic import comments
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import relations
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement
from pgflow.errors import MigrationRefused

_QUERY = """
SELECT e.oid, n.nspname, e.stxname, c.relname, m.description, pg_get_userbyid(e.stxowner) AS owner,
       CASE WHEN e.stxnamespace <> c.relnamespace THEN quote_ident(en.nspname) END AS namespace,
       pg_get_statisticsobjdef(e.oid) AS definition, e.stxstattarget AS target,
       length(format('CREATE STATISTICS %I.%I ', en.nspname, e.stxname)) AS head,
       length(format(' FROM %I.%I', n.nspname, c.relname)) AS tail
  FROM pg_statistic_ext e
  JOIN pg_class c ON c.oid = e.stxrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_namespace en ON en.oid = e.stxnamespace
  LEFT JOIN pg_description m
         ON m.classoid = 'pg_statistic_ext'::regclass AND m.objoid = e.oid AND m.objsubid = 0
 WHERE n.nspname = ANY(:schemas) AND c.relpersistence <> 't'
   AND NOT EXISTS (
       SELECT FROM pg_depend x
        WHERE x.deptype = 'e' AND (x.classid, x.objid) IN (
            ('pg_class'::regclass, c.oid), ('pg_statistic_ext'::regclass, e.oid)))
 ORDER BY n.nspname, c.relname, e.stxname
"""


class _Statistics:
    name = "statistics"
    rank = 62

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all extended statistics."""
        return [_entity(row) for row in reader.rows(_QUERY, {"schemas": list(schemas)})]

    def label(self, identifier: EntityIdentifier) -> str:
        """Name extended statistics as COMMENT ON does."""
        return f"STATISTICS {relations.qualified(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make extended statistics; ANALYZE fills them.

        Raises:
            MigrationRefused: They are declared in another schema than their table.
        """
        if entity.facts["namespace"] is not None:
            raise MigrationRefused(
                f"{entity.id} is declared in the schema {entity.facts['namespace']}, another one "
                "than its table's. Name it with the table's schema in CREATE STATISTICS."
            )
        kinds_and_columns = entity.facts["definition"]
        text = (
            f"CREATE STATISTICS {relations.qualified(entity.id)} {kinds_and_columns} "
            f"FROM {relations.owner(entity.id)}"
        )
        target = entity.facts["target"]
        return (Statement(text), *([] if target is None else [_targeted(entity)]))

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop extended statistics."""
        return (Statement(f"DROP STATISTICS {relations.qualified(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change | None:
        """Set another target; None for another definition."""
        if any(old.facts[fact] != new.facts[fact] for fact in ("definition", "namespace")):
            return None
        return Change((_targeted(new),))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement] | None:
        """Rename extended statistics, and move them to another schema."""
        statements = []
        at = relations.qualified(old)
        if old.name != new.name:
            statements.append(Statement(f"ALTER STATISTICS {at} RENAME TO {relations.own(new)}"))
            at = idents.qualify(old.schema, new.name or "")
        if old.schema != new.schema:
            schema = idents.quote(new.schema)
            statements.append(Statement(f"ALTER STATISTICS {at} SET SCHEMA {schema}"))
        return tuple(statements)


#: Extended statistics.
STATISTICS = _Statistics()


def _targeted(entity: Entity) -> Statement:
    target = entity.facts["target"]
    number = -1 if target is None else target
    return Statement(f"ALTER STATISTICS {relations.qualified(entity.id)} SET STATISTICS {number}")


def _entity(row: Row[Any]) -> Entity:
    kept = row._mapping
    comment, mark = comments.split(kept["description"])
    definition = kept["definition"]
    target = kept["target"]
    return Entity(
        EntityIdentifier(
            kept["nspname"], kept["stxname"], kind="statistics", table=kept["relname"]
        ),
        facts={
            "definition": settled(definition[kept["head"] : len(definition) - kept["tail"]]),
            "namespace": kept["namespace"],
            # PostgreSQL 17 and later say NULL where earlier ones said -1.
            "target": None if target == -1 else target,
        },
        comment=comment,
        mark=mark,
        owner=kept["owner"],
        address=Address("pg_statistic_ext", kept["oid"]),
    )
