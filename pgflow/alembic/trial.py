"""What both ways of trying out declared objects share, in scratch schemas and in a shadow."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pgflow import idents
from pgflow.alembic.declared.world import DeclaredWorld
from pgflow.alembic.errands import Errand
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.errors import UnknownRole

#: What to do if objects cannot be tried out in the database itself.
WAY_OUT = (
    "Give an empty database of the same major version as shadow=, in which declared objects are "
    "tried out instead"
)

_Names = Collection[tuple[str, str]]


def missing_roles(reader: Reader, world: DeclaredWorld) -> Iterator[Errand]:
    """Give the statements that make the roles that declarations name and the server lacks.

    Args:
        reader: The database in which objects are tried out.
        world: What is declared.

    Yields:
        The statements; they are rolled back with all others.

    Raises:
        UnknownRole: A role is not even declared.
    """
    declared = {d.subject.makes.name for d in world.of_kind("role") if d.subject.makes}
    present = {row[0] for row in reader.rows("SELECT rolname::text FROM pg_roles")}
    for declaration in world.declarations:
        for name in sorted(declaration.subject.roles - present):
            if name not in declared:
                raise UnknownRole(
                    f"{declaration.origin} names role {name!r}, which is neither declared nor on "
                    "this server. Declare it (Roles().are(...) or CREATE ROLE), or create it "
                    "before.",
                    role=name,
                )
            present.add(name)
            yield Errand(
                f"CREATE ROLE {idents.quote(name)}",
                declaration,
                f"Create role {name!r} first, or connect as a role that has CREATEROLE.",
            )


def missing_extensions(reader: Reader, world: DeclaredWorld) -> Iterator[Errand]:
    """Give the statements that make the declared extensions that the database lacks.

    Args:
        reader: The database in which objects are tried out.
        world: What is declared.

    Yields:
        The statements; they are rolled back with all others.
    """
    present = {row[0] for row in reader.rows("SELECT extname::text FROM pg_extension")}
    schemas = {row[0] for row in reader.rows("SELECT nspname::text FROM pg_namespace")}
    for declaration in world.of_kind("extension"):
        node, made = declaration.node, declaration.subject.makes
        if made is None or made.name in present:
            continue
        for option in getattr(node, "options", None) or ():
            schema = getattr(option.arg, "sval", None) if option.defname == "schema" else None
            if schema is not None and schema not in schemas:
                schemas.add(schema)
                yield Errand(f"CREATE SCHEMA {idents.quote(schema)}", declaration)
        yield Errand(
            declaration.sql,
            declaration,
            f"Create extension {made.name!r} first, as a role that may. {WAY_OUT}.",
        )


def own(
    snapshot: Snapshot, world: DeclaredWorld, relations: _Names, objects: _Names = ()
) -> Snapshot:
    """Leave out what was there before, and what was only made to be pointed to.

    Args:
        snapshot: All that was read.
        world: What is declared.
        relations: Copies of others' relations; only what is declared on them stays.
        objects: Copies of others' types and functions.

    Returns:
        What is declared.
    """

    def is_own(identifier: EntityIdentifier) -> bool:
        if identifier.kind in ("role", "extension"):
            return False
        if identifier.kind == "schema":
            return identifier.schema in world.schemas
        own_name = (identifier.schema, identifier.name or "")
        if identifier.table is None:
            copied = own_name in relations or own_name in objects
        else:
            copied = (identifier.schema, identifier.table) in relations
        return not copied or world.makes(identifier)

    entities = {i: entity for i, entity in snapshot.entities.items() if is_own(i)}
    return Snapshot(
        snapshot.version,
        entities,
        {one: edges for one, edges in snapshot.depends.items() if one in entities},
        user=snapshot.user,
    )
