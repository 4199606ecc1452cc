"""Declared objects tried out in another, empty database, for those who may not do it in their own.

Real names, one transaction, always rolled back. What declared objects need of other people's is
copied there from the live database as bare structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from pgflow import idents
from pgflow.alembic import catalogue, surroundings, trial
from pgflow.alembic.declared.arrangement import arranged
from pgflow.alembic.declared.world import DeclaredWorld
from pgflow.alembic.errands import Errand, declared_errand, run
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.connections.registry import engine
from pgflow.errors import UnfitShadow

_OCCUPANTS = """
SELECT pg_describe_object(o.catalogue, o.oid, 0)
  FROM (SELECT 'pg_class'::regclass AS catalogue, c.oid, c.relnamespace AS schema FROM pg_class c
        UNION ALL SELECT 'pg_proc'::regclass, p.oid, p.pronamespace FROM pg_proc p
        UNION ALL SELECT 'pg_type'::regclass, t.oid, t.typnamespace FROM pg_type t
        UNION ALL SELECT 'pg_namespace'::regclass, n.oid, n.oid FROM pg_namespace n
                   WHERE n.nspname <> 'public') o
  JOIN pg_namespace s ON s.oid = o.schema
 WHERE o.oid >= 16384 AND s.nspname !~ '^pg_(toast|temp)'
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = o.catalogue AND d.objid = o.oid AND d.deptype = 'e')
 LIMIT 3
"""

_IDENTITY = """
SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || current_database()
"""


def read(connection: Connection, url: str, world: DeclaredWorld, path: Sequence[str]) -> Snapshot:
    """Make all declared objects in the shadow database, read them, and undo everything.

    Args:
        connection: An open connection to the live database.
        url: The shadow database: a connection's name or a URL.
        world: What is declared.
        path: The schemas of the live connection's search path.

    Returns:
        The declared objects.

    Raises:
        DeclarationRefused: The server does not accept a declared object.
        UnfitShadow: The shadow database is of another version, or not empty.
    """
    live = Reader(connection)
    database = engine(url)
    try:
        with database.connect() as other:
            reader = Reader(other)
            _refuse_unfit(live, reader)
            around = surroundings.read(live, world)
            errands = [
                Errand("SET LOCAL check_function_bodies = off"),
                *trial.missing_roles(reader, world),
                *_schemas(reader, world, around),
                *trial.missing_extensions(reader, world),
                *around.errands,
                Errand(f"SET LOCAL search_path = {', '.join(map(idents.quote, path))}"),
                *_objects(world),
            ]
            with run(other, errands):
                other.exec_driver_sql(catalogue.settings(catalogue.PRINTING))
                schemas = sorted(world.schemas | around.schemas)
                found = catalogue.tried(reader, schemas, {})
            other.rollback()
    finally:
        # Nobody needs the connection before the next comparison.
        database.dispose()
    return trial.own(found, world, around.relations, around.objects)


def _refuse_unfit(live: Reader, shadow: Reader) -> None:
    name = shadow.scalar("SELECT current_database()")
    if live.version // 10000 != shadow.version // 10000:
        raise UnfitShadow(
            f"The shadow database {name!r} is on PostgreSQL {shadow.version // 10000}, and the "
            f"live one on {live.version // 10000}. They print things differently: use a shadow "
            "of the same major version."
        )
    if _identity(live) is not None and _identity(live) == _identity(shadow):
        raise UnfitShadow(f"The shadow database {name!r} is the live database itself.")
    occupants = [row[0] for row in shadow.rows(_OCCUPANTS)]
    if occupants:
        raise UnfitShadow(
            f"The shadow database {name!r} is not empty: it holds {', '.join(occupants)}. Nothing "
            "is ever dropped there. Create an empty database (CREATE DATABASE ... TEMPLATE "
            "template0) for it."
        )


def _identity(reader: Reader) -> str | None:
    allowed = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
    return reader.scalar(_IDENTITY) if reader.scalar(allowed) else None


def _schemas(
    reader: Reader, world: DeclaredWorld, around: surroundings.Surroundings
) -> Iterator[Errand]:
    present = {row[0] for row in reader.rows("SELECT nspname::text FROM pg_namespace")}
    owners = {
        d.subject.makes.schema: owner.rolename
        for d in world.of_kind("schema")
        if d.subject.makes and (owner := getattr(d.node, "authrole", None)) is not None
    }
    for schema in sorted((world.schemas | around.schemas) - present):
        owner = owners.get(schema)
        suffix = f" AUTHORIZATION {idents.quote(owner)}" if owner else ""
        yield Errand(f"CREATE SCHEMA {idents.quote(schema)}{suffix}")


def _objects(world: DeclaredWorld) -> Iterator[Errand]:
    for declaration in arranged(world.declarations, [m.makers for m in world.mentions]):
        errand = declared_errand(declaration, declaration.sql)
        if errand is not None:
            yield errand
