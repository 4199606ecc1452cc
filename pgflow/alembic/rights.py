"""What a migrator, a loader and a reader need in a database, as statements for its owner.

Rights are granted on what is declared and there; default privileges see to the tables that the
migrator makes later in the same schemas.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import Connection, MetaData

from pgflow import bookkeeping, idents
from pgflow.alembic import catalogue, privileges, version_tables
from pgflow.alembic.configuration import configure_metadata
from pgflow.alembic.declared.world import DeclaredWorld, declared_world
from pgflow.alembic.entity import Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.default_privileges import DEFAULT_PRIVILEGES
from pgflow.alembic.reader import Reader
from pgflow.alembic.registry import KINDS
from pgflow.alembic.snapshot import Snapshot
from pgflow.resolve.config import Config

#: A schema and the name of a table or view in it.
Relation: TypeAlias = "tuple[str, str]"

#: What a loader may do with tables that are made after its rights were granted.
_LOADS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_KEEPS = ("SELECT", "INSERT", "UPDATE")
#: What a loader may do with pgflow's own tables. Rows in quarantine are let go by others.
_BOOKS = {
    "runs": _KEEPS,
    "watermarks": _KEEPS,
    "backfills": _KEEPS,
    "quarantine": ("SELECT", "INSERT"),
}
_SHOWN = ("table", "view", "materialized_view")

_UNTRUSTED = """
    SELECT v.name::text FROM pg_available_extension_versions v
      JOIN pg_available_extensions e ON e.name = v.name AND e.default_version = v.version
     WHERE v.name = ANY(:names) AND v.superuser AND NOT v.trusted AND e.installed_version IS NULL
     ORDER BY 1
"""
_SERIAL = """
    SELECT sn.nspname::text AS sequence_schema, s.relname::text AS sequence,
           n.nspname::text AS schema, c.relname::text AS name
      FROM pg_depend d
      JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
      JOIN pg_namespace sn ON sn.oid = s.relnamespace
      JOIN pg_class c ON c.oid = d.refobjid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'a' AND d.refobjsubid > 0
       AND n.nspname = ANY(:schemas)
     ORDER BY 1, 2
"""
_RELATIONS = """
    SELECT n.nspname::text AS schema, c.relname::text AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_MEMBER = """
    SELECT o.rolname::text FROM pg_roles o
     WHERE pg_has_role((SELECT oid FROM pg_roles WHERE rolname = :role), o.oid, 'MEMBER')
"""


@dataclass(frozen=True)
class Roles:
    """The roles that get rights; None for one that is not asked for.

    Attributes:
        migrator: Owns what is declared and runs migrations.
        loader: Runs pipelines.
        reader: Reads the tables and views.
    """

    migrator: str | None = None
    loader: str | None = None
    reader: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The roles that are asked for, each once."""
        return tuple(dict.fromkeys(r for r in (self.migrator, self.loader, self.reader) if r))


@dataclass(frozen=True)
class Work:
    """What pipelines do in one database.

    Attributes:
        writes: The privileges that they need on each of their targets.
        reads: The tables that they read.
        remarks: What cannot be told from the declarations, in sentences.
    """

    writes: Mapping[Relation, frozenset[str]] = field(default_factory=dict)
    reads: Collection[Relation] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """Statements for one role.

    Attributes:
        title: What they are for.
        statements: The SQL, without closing semicolons.
        remarks: What else has to be known or done, in sentences.
    """

    title: str
    statements: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def needed(
    connection: Connection, metadata: Sequence[MetaData], roles: Roles, work: Work
) -> tuple[Section, ...]:
    """Return what roles need in a database.

    Args:
        connection: A connection to the database; nothing is changed in it.
        metadata: What is declared; pgflow's own tables are added to it.
        roles: Who gets rights.
        work: What the loader does.

    Returns:
        The statements by role. All of them may be run again at any time.
    """
    configure_metadata(metadata)
    reader = Reader(connection)
    path = reader.scalar("SELECT current_schemas(false)::text[]") or ["public"]
    world = declared_world(metadata, connection.dialect, path)
    # Alembic makes its version table in the first schema of the path, whatever is declared.
    schemas = {path[0], *world.schemas, *(schema for schema, _ in (*work.writes, *work.reads))}
    place = _Place(
        reader,
        world,
        catalogue.read(connection, sorted(schemas)),
        frozenset(
            (row.schema, row.name) for row in reader.rows(_RELATIONS, {"schemas": list(schemas)})
        ),
        frozenset(s for each in metadata for s in _own_schemas(each)),
        roles,
    )
    found = [_missing(place)]
    if roles.migrator is not None:
        found.append(_migrator(place, roles.migrator, path[0]))
    if roles.loader is not None:
        found.append(_loader(place, roles.loader, work))
    if roles.reader is not None:
        found.append(_reader(place, roles.reader))
    return tuple(section for section in found if section.statements)


@dataclass(frozen=True)
class _Place:
    """The database and what is declared for it."""

    reader: Reader
    world: DeclaredWorld
    live: Snapshot
    present: frozenset[Relation]
    own: frozenset[str]
    roles: Roles

    @property
    def database(self) -> str:
        name: str = self.reader.scalar("SELECT current_database()::text")
        return f"DATABASE {idents.quote(name)}"

    def has_schema(self, name: str) -> bool:
        return EntityIdentifier(name, kind="schema") in self.live

    def relations(self) -> Iterator[Relation]:
        """Give the declared tables and views that are there, pgflow's own apart."""
        for declaration in self.world.of_kind(*_SHOWN):
            made = declaration.subject.makes
            if made is None or made.schema in self.own:
                continue
            if (made.schema, made.name or "") in self.present:
                yield made.schema, made.name or ""

    def schemas(self) -> list[str]:
        """Return the declared schemas, pgflow's own apart."""
        return sorted(self.world.schemas - self.own)

    def maker(self, schema: str) -> str:
        """Return the role that makes tables in a schema."""
        owner = self.live[EntityIdentifier(schema, kind="schema")].owner
        return self.roles.migrator or owner or self.live.user


def _own_schemas(metadata: MetaData) -> tuple[str, ...]:
    return bookkeeping.wanted(metadata, Config.of(metadata).utility_schema)


def _missing(place: _Place) -> Section:
    rows = place.reader.rows("SELECT rolname::text FROM pg_roles")
    present = {row[0] for row in rows}
    missing = [role for role in place.roles.named if role not in present]
    return Section(
        "The roles themselves",
        tuple(f"CREATE ROLE {idents.quote(role)} LOGIN" for role in missing),
        ("Give them passwords out of band: with psql's \\password, or a secret manager.",),
    )


def _migrator(place: _Place, role: str, default: str) -> Section:
    statements = [*_grant(place.database, role, ("CONNECT", "CREATE", "TEMPORARY"))]
    may = {row[0] for row in place.reader.rows(_MEMBER, {"role": role})} | {role}
    taken = [label for label, owner in _declared(place, default) if owner not in may]
    statements += [f"ALTER {label} OWNER TO {idents.quote(role)}" for label in taken]
    statements += _versions(place, role, may, default)
    for schema in sorted(place.world.schemas | {default}):
        label = f"SCHEMA {idents.quote(schema)}"
        found = place.live.get(EntityIdentifier(schema, kind="schema"))
        if found is not None and found.owner not in may and label not in taken:
            statements += _grant(label, role, ("USAGE", "CREATE"))
    if next(place.world.of_kind("role"), None) is not None:
        statements.append(f"ALTER ROLE {idents.quote(role)} CREATEROLE")
    return Section(f"{role} runs migrations", tuple(statements), tuple(_extensions(place)))


def _versions(place: _Place, role: str, may: Collection[str], default: str) -> Iterator[str]:
    """Hand over Alembic's version table, which the migrator has to read and write."""
    known = place.world.schemas | {default}
    marks = (e.mark for e in place.live.entities.values() if place.world.makes(e.id))
    histories = {mark.owner for mark in marks if mark is not None}
    for table in version_tables.find(place.reader, histories, known):
        if table.owner not in may:
            label = f"TABLE {idents.qualify(table.schema, table.name)}"
            yield f"ALTER {label} OWNER TO {idents.quote(role)}"
        if table.schema not in known and table.schema_owner not in may:
            yield from _grant(f"SCHEMA {idents.quote(table.schema)}", role, ("USAGE",))


def _declared(place: _Place, default: str) -> Iterator[tuple[str, str]]:
    """Give what is declared and there, as ALTER names it, with its owner.

    The schema in which everything is that says no schema belongs to nobody in particular.
    """
    for entity in place.live.entities.values():
        shared = entity.id == EntityIdentifier(default, kind="schema")
        if entity.owner is None or entity.id.table is not None or shared:
            continue
        if place.world.makes(entity.id):
            yield KINDS[entity.id.kind or ""].label(entity.id), entity.owner


def _extensions(place: _Place) -> Iterator[str]:
    made = (declaration.subject.makes for declaration in place.world.of_kind("extension"))
    names = [each.name for each in made if each is not None]
    for row in place.reader.rows(_UNTRUSTED, {"names": names}):
        yield f"Only a superuser can make this one: CREATE EXTENSION {idents.quote(row[0])};"


def _loader(place: _Place, role: str, work: Work) -> Section:
    wanted: dict[Relation, frozenset[str]] = {r: frozenset({"SELECT"}) for r in work.reads}
    for relation, rights in work.writes.items():
        wanted[relation] = rights | wanted.get(relation, frozenset())
    for schema in place.own:
        wanted.update({(schema, name): frozenset(rights) for name, rights in _BOOKS.items()})
    statements = [*_grant(place.database, role, ("CONNECT", "TEMPORARY"))]
    statements += _usage(place, role, {schema for schema, _ in wanted})
    for relation in sorted(wanted):
        if relation in place.present:
            statements += _grant(f"TABLE {idents.qualify(*relation)}", role, wanted[relation])
    statements += _sequences(place, role, work)
    for schema in sorted({schema for schema, _ in work.writes}):
        statements += _later(place, role, schema, _LOADS)
    remarks = (*_absent(place, {schema for schema, _ in wanted}), *work.remarks)
    return Section(f"{role} runs pipelines", tuple(statements), remarks)


def _sequences(place: _Place, role: str, work: Work) -> Iterator[str]:
    """Grant the use of sequences behind serial columns; those of identity columns need nothing."""
    schemas = sorted({schema for schema, _ in work.writes})
    for row in place.reader.rows(_SERIAL, {"schemas": schemas}):
        if (row.schema, row.name) in work.writes:
            label = f"SEQUENCE {idents.qualify(row.sequence_schema, row.sequence)}"
            yield from _grant(label, role, ("USAGE",))


def _reader(place: _Place, role: str) -> Section:
    schemas = place.schemas()
    statements = [*_grant(place.database, role, ("CONNECT",)), *_usage(place, role, schemas)]
    for relation in sorted(set(place.relations())):
        statements += _grant(f"TABLE {idents.qualify(*relation)}", role, ("SELECT",))
    for schema in schemas:
        statements += _later(place, role, schema, ("SELECT",))
    return Section(f"{role} reads", tuple(statements), tuple(_absent(place, schemas)))


def _usage(place: _Place, role: str, schemas: Iterable[str]) -> Iterator[str]:
    for schema in sorted(schemas):
        if place.has_schema(schema):
            yield from _grant(f"SCHEMA {idents.quote(schema)}", role, ("USAGE",))


def _later(place: _Place, role: str, schema: str, rights: Iterable[str]) -> Iterable[str]:
    """Grant rights on the tables that the migrator will make in a schema."""
    if not place.has_schema(schema):
        return ()
    name = f"{place.maker(schema)}/tables"
    identifier = EntityIdentifier(schema, name, kind="default_privileges")
    return _grant(DEFAULT_PRIVILEGES.label(identifier), role, rights)


def _absent(place: _Place, schemas: Iterable[str]) -> Iterator[str]:
    absent = sorted(schema for schema in schemas if not place.has_schema(schema))
    if absent:
        yield (
            f"Not there yet: {', '.join(map(idents.quote, absent))}. Run this command again after "
            "the first migration."
        )


def _grant(label: str, role: str, rights: Iterable[str]) -> Iterator[str]:
    for statement in privileges.grant(label, {Privilege(role, right) for right in rights}):
        yield statement.sql
