"""The two worlds between which a migration leads: what is, and what is declared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from pglast import ast, enums
from sqlalchemy import ClauseElement, Connection, MetaData, text

from pgflow import idents
from pgflow.alembic import catalogue, comments, mentions, privileges, scratch
from pgflow.alembic import shadow as shadow_database
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.declared.tables import writing_dialect
from pgflow.alembic.declared.world import DeclaredWorld, declared_world
from pgflow.alembic.entity import Entity, Fact, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import extensions, role_statements, roles
from pgflow.alembic.planning import ownership
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.errors import ScratchRefused

#: Kinds that carry no mark: they belong to whom their relation or schema belongs to.
_UNMARKED = ("column", "default", "constraint", "default_privileges")

_MARKED = """
SELECT DISTINCT n.nspname::text, d.description
  FROM pg_description d
  LEFT JOIN pg_trigger t ON d.classoid = 'pg_trigger'::regclass AND t.oid = d.objoid
  LEFT JOIN pg_policy y ON d.classoid = 'pg_policy'::regclass AND y.oid = d.objoid
  LEFT JOIN pg_rewrite w ON d.classoid = 'pg_rewrite'::regclass AND w.oid = d.objoid
  LEFT JOIN pg_class c
         ON c.oid = coalesce(t.tgrelid, y.polrelid, w.ev_class,
                             CASE WHEN d.classoid = 'pg_class'::regclass THEN d.objoid END)
  LEFT JOIN pg_proc p ON d.classoid = 'pg_proc'::regclass AND p.oid = d.objoid
  LEFT JOIN pg_type y2 ON d.classoid = 'pg_type'::regclass AND y2.oid = d.objoid
  LEFT JOIN pg_statistic_ext s ON d.classoid = 'pg_statistic_ext'::regclass AND s.oid = d.objoid
  JOIN pg_namespace n
    ON n.oid = coalesce(c.relnamespace, p.pronamespace, y2.typnamespace, s.stxnamespace,
                        CASE WHEN d.classoid = 'pg_namespace'::regclass THEN d.objoid END)
 WHERE d.description LIKE '%[pgflow%]'
"""

_OBJECTS: Mapping[enums.ObjectType, str] = {
    enums.ObjectType.OBJECT_TABLE: "tables",
    enums.ObjectType.OBJECT_SEQUENCE: "sequences",
    enums.ObjectType.OBJECT_FUNCTION: "functions",
    enums.ObjectType.OBJECT_ROUTINE: "functions",
    enums.ObjectType.OBJECT_TYPE: "types",
    enums.ObjectType.OBJECT_SCHEMA: "schemas",
}

#: What a column's `info` says to migrations.
_SAID_OF_COLUMNS = ("renamed_from", "backfill", "backfill_when_new")

_Notes = dict[EntityIdentifier, dict[str, Fact]]


class Worlds(NamedTuple):
    """The database as it is, and as it is declared.

    Attributes:
        live: What is there: ours and other people's.
        declared: What is declared, and nothing else.
    """

    live: Snapshot
    declared: Snapshot


def compare(
    connection: Connection,
    metadata: MetaData | Sequence[MetaData],
    *,
    owner: str = "",
    shadow: str | None = None,
) -> Worlds:
    """Read a database and what a MetaData declares for it, both as the server prints them.

    Nothing is changed, and on the tables of the database no lock above ACCESS SHARE is taken.

    Args:
        connection: An open connection to the database.
        metadata: The declarations, on one MetaData or several.
        owner: The name of the migration history, as it stands in marks.
        shadow: The URL of an empty database of the same major version, in which declared objects
            are tried out; None to do that in scratch schemas of the database itself.

    Returns:
        Both worlds, with the same spelling of everything.

    Raises:
        DeclarationRefused: The server does not accept a declared object.
        InvalidDeclaration: A declaration cannot be understood.
        DeclaredTwice: Two declarations make the same object.
        ScratchRefused: The connection cannot try out objects: give `shadow`.
        UnfitShadow: The shadow database is of another version, or not empty.
    """
    with _transaction(connection):
        path = _search_path(connection)
        world = declared_world(metadata, connection.dialect, path)
        notes = _notes(metadata, connection, path[0])
        live = catalogue.read(connection, sorted(_schemas(connection, world, owner, notes)))
        if shadow is None:
            declared = scratch.read(connection, world, path, live)
        else:
            declared = shadow_database.read(connection, shadow, world, path)
        finished = _finished(Reader(connection), declared, live, world, owner)
    return Worlds(live, _noted(finished, notes, world))


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    """Leave a connection that was in no transaction in none."""
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise ScratchRefused(
            "This connection is in AUTOCOMMIT, where nothing can be tried out and rolled back. "
            "Compare over a connection with transactions."
        )
    began = not connection.in_transaction()
    try:
        yield
    finally:
        if began:
            connection.rollback()


def _search_path(connection: Connection) -> list[str]:
    found: list[str] = list(connection.scalar(text("SELECT current_schemas(false)::text[]")) or ())
    return found or ["public"]


def _schemas(
    connection: Connection, world: DeclaredWorld, owner: str, notes: _Notes
) -> frozenset[str]:
    rows = connection.exec_driver_sql(_MARKED, execution_options={"no_parameters": True})
    marked = {schema for schema, comment in rows if _is_ours(comment, owner)}
    attached = {schema for schema, _ in world.stand_ins}
    return world.schemas | marked | attached | set(_former_schemas(world, notes))


def _is_ours(comment: str, owner: str) -> bool:
    mark = comments.split(comment)[1]
    return mark is not None and mark.owner == owner


def _former_schemas(world: DeclaredWorld, notes: _Notes) -> Iterator[str]:
    for said in notes.values():
        yield str(said.get("renamed_from", "")).rpartition(".")[0].strip('"')
    for declaration in world.declarations:
        former, made = declaration.renamed_from, declaration.subject.makes
        if former is not None and made is not None:
            yield former if made.kind == "schema" else former.rpartition(".")[0].strip('"')


def _finished(
    reader: Reader, declared: Snapshot, live: Snapshot, world: DeclaredWorld, owner: str
) -> Snapshot:
    """Add what is not tried out, leave out what is not declared, and mark the rest as ours."""
    texts = [d.sql for d in world.declarations if _is_about(d, ("role", "extension"))]
    heard = [
        *role_statements.declared(reader, texts, live.entities),
        *extensions.declared(reader, texts, live.entities),
    ]
    known = _default_privileges(world, declared.user)
    entities = {entity.id: entity for entity in heard}
    for identifier, entity in declared.entities.items():
        is_global = identifier.kind == "default_privileges" and not identifier.schema
        if not is_global or identifier.name in known:
            entities[identifier] = entity
    marked = {
        identifier: _marked(entity, owner, world.stand_ins)
        for identifier, entity in entities.items()
    }
    named = {**mentions.read(marked), **roles.mentions(marked)}
    return replace(declared, entities=marked, mentions=named)


def _is_about(declaration: Declaration, kinds: Collection[str]) -> bool:
    subject = declaration.subject
    objects = (*subject.alters, *([] if subject.makes is None else [subject.makes]))
    return any(each.kind in kinds for each in objects)


def _marked(entity: Entity, owner: str, foreign: Collection[tuple[str, str]]) -> Entity:
    if entity.id.kind in _UNMARKED:
        return entity
    table = ""
    if entity.id.kind in ownership.COPIED and (entity.id.schema, entity.id.table) in foreign:
        table = idents.qualify(entity.id.schema, entity.id.table or "")
    return replace(entity, mark=Mark(owner, privileges.grantees(entity), table))


def _default_privileges(world: DeclaredWorld, user: str) -> set[str]:
    """Return the names of the default privileges that are declared for the whole database."""
    found: set[str] = set()
    for declaration in world.declarations:
        node = declaration.node
        if not isinstance(node, ast.AlterDefaultPrivilegesStmt) or node.action is None:
            continue
        options = {option.defname: option.arg for option in node.options or ()}
        if options.get("schemas"):
            continue
        roles = [spec.rolename or user for spec in options.get("roles") or ()] or [user]
        objects = node.action.objtype or enums.ObjectType.OBJECT_LARGEOBJECT
        noun = _OBJECTS.get(objects, "large objects")
        found |= {f"{role}/{noun}" for role in roles}
    return found


def _notes(metadata: MetaData | Sequence[MetaData], connection: Connection, default: str) -> _Notes:
    """Collect what the user wrote into the `info` of tables and columns."""
    found: _Notes = {}
    several = (metadata,) if isinstance(metadata, MetaData) else metadata
    for table in (table for each in several for table in each.tables.values()):
        schema, name = idents.truncate(table.schema or default), idents.truncate(table.name)
        own = EntityIdentifier(schema, name, kind="table")
        found[own] = _said(table.info, ("renamed_from",), connection)
        for column in table.columns:
            part = EntityIdentifier(schema, idents.truncate(column.name), kind="column", table=name)
            found[part] = _said(column.info, _SAID_OF_COLUMNS, connection)
    return {identifier: said for identifier, said in found.items() if said}


def _said(
    info: Mapping[object, object], names: Sequence[str], connection: Connection
) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for name in names:
        value = info.get(name)
        if isinstance(value, ClauseElement):
            writing = writing_dialect(connection.dialect)
            value = str(value.compile(dialect=writing, compile_kwargs={"literal_binds": True}))
        if value is not None:
            found[name] = str(value)
    return found


def _noted(declared: Snapshot, notes: _Notes, world: DeclaredWorld) -> Snapshot:
    for declaration in world.declarations:
        made, node = declaration.subject.makes, declaration.node
        if made is None:
            continue
        if declaration.renamed_from is not None:
            for identifier in _same(declared, made):
                notes.setdefault(identifier, {})["renamed_from"] = declaration.renamed_from
        if isinstance(node, ast.CreateTableAsStmt) and node.into is not None:
            notes.setdefault(made, {})["populated"] = not node.into.skipData
    entities = dict(declared.entities)
    for identifier, own in notes.items():
        if identifier in entities:
            entity = entities[identifier]
            entities[identifier] = replace(entity, notes={**entity.notes, **own})
    return replace(declared, entities=entities)


def _same(declared: Snapshot, made: EntityIdentifier) -> list[EntityIdentifier]:
    """Find an object under the server's spelling of its arguments."""
    if made in declared or made.arguments is None:
        return [made]
    alike = [
        entity.id
        for entity in declared.of_kind(made.kind or "")
        if (entity.id.schema, entity.id.name) == (made.schema, made.name)
    ]
    if len(alike) > 1:
        count = len(made.arguments.split(", ")) if made.arguments else 0
        alike = [i for i in alike if len((i.arguments or "").split(", ")) == count or not count]
    return alike[:1]
