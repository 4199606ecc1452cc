"""Declared objects tried out in scratch schemas, within a savepoint that is always rolled back.

Users' tables are only read: what would lock one of them (a foreign key to it, a trigger on it, a
partition of it) is tried out on a copy of its structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from pgflow import idents
from pgflow.alembic import catalogue, stand_ins, trial
from pgflow.alembic.declared.arrangement import arranged
from pgflow.alembic.declared.world import DeclaredWorld
from pgflow.alembic.errands import Errand, declared_errand, run
from pgflow.alembic.kinds import default_privileges
from pgflow.alembic.naming import Naming
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.errors import ScratchRefused

_ABILITIES = """
SELECT has_database_privilege(current_database(), 'CREATE'), pg_is_in_recovery(),
       current_setting('transaction_read_only') = 'on', current_database()
"""


def read(
    connection: Connection, world: DeclaredWorld, path: Sequence[str], live: Snapshot
) -> Snapshot:
    """Make all declared objects in scratch schemas, read them, and undo everything.

    Args:
        connection: An open connection in a transaction.
        world: What is declared.
        path: The schemas of the connection's search path.
        live: What is there already.

    Returns:
        The declared objects under their declared names.

    Raises:
        DeclarationRefused: The server does not accept a declared object.
        ScratchRefused: The connection may not create schemas.
    """
    reader = Reader(connection)
    _refuse_unable(reader)
    schemas = world.schemas | {path[0]} | {schema for schema, _ in world.stand_ins}
    naming = Naming(schemas, world.register)
    errands = [
        *(Errand(sql) for sql in default_privileges.neutral(reader)),
        *trial.missing_roles(reader, world),
        *trial.missing_extensions(reader, world),
        *_schemas(naming, path),
        *stand_ins.errands(reader, world, naming),
        *_objects(world, naming),
        *_owners(world, naming),
    ]
    with run(connection, errands, naming.told):
        connection.exec_driver_sql(catalogue.settings(catalogue.PRINTING))
        found = catalogue.tried(reader, sorted(naming.scratch.values()), live.entities)
    return trial.own(naming.restored(found), world, world.stand_ins)


def _refuse_unable(reader: Reader) -> None:
    able, standby, read_only, database = tuple[Any, ...](reader.rows(_ABILITIES)[0])
    if standby or read_only:
        what = "is a standby" if standby else "is open in a read-only transaction"
        raise ScratchRefused(
            f"Declared objects cannot be tried out in database {database!r}, which {what}. "
            f"{trial.WAY_OUT}."
        )
    if not able:
        raise ScratchRefused(
            f"Declared objects are tried out in a scratch schema of database {database!r}, and "
            "this role may not create one. "
            f"{trial.WAY_OUT}, or GRANT CREATE ON DATABASE {idents.quote(database)} to the role."
        )


def _schemas(naming: Naming, path: Sequence[str]) -> Iterator[Errand]:
    for scratch in naming.scratch.values():
        yield Errand(f"CREATE SCHEMA {idents.quote(scratch)}")
    places = [p for schema in path for p in (naming.scratch.get(schema), schema) if p is not None]
    yield Errand(f"SET LOCAL search_path = {', '.join(map(idents.quote, places))}")
    yield Errand("SET LOCAL check_function_bodies = off")


def _objects(world: DeclaredWorld, naming: Naming) -> Iterator[Errand]:
    texts = {
        id(declaration): naming.rewritten(declaration.sql, mentions)
        for declaration, mentions in zip(world.declarations, world.mentions, strict=True)
    }
    for declaration in arranged(world.declarations, [m.makers for m in world.mentions]):
        errand = declared_errand(declaration, texts[id(declaration)])
        if errand is not None:
            yield errand


def _owners(world: DeclaredWorld, naming: Naming) -> Iterator[Errand]:
    for declaration in world.of_kind("schema"):
        made, owner = declaration.subject.makes, getattr(declaration.node, "authrole", None)
        if made is not None and owner is not None and owner.rolename:
            scratch, role = naming.scratch[made.schema], idents.quote(owner.rolename)
            yield Errand(f"ALTER SCHEMA {idents.quote(scratch)} OWNER TO {role}", declaration)
