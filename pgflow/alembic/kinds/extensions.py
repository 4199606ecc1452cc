"""Extensions. Only what a declaration says is compared: a name, perhaps a schema and a version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pglast import ast, enums, parse_sql

from pgflow import idents
from pgflow.alembic import comments
from pgflow.alembic.entity import Address, Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.literals import literal
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Statement

_QUERY = """
    SELECT e.extname::text AS name, e.oid, n.nspname::text AS schema, e.extversion AS version,
           obj_description(e.oid, 'pg_extension') AS comment
      FROM pg_extension e
      JOIN pg_namespace n ON n.oid = e.extnamespace
     ORDER BY 1
"""
_AVAILABLE = "SELECT name::text, comment FROM pg_available_extensions WHERE name = ANY(:names)"


class _Extension:
    """The kind "extension"."""

    name: Final = "extension"
    rank: Final = 15

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all extensions of the database, whatever schema they are in."""
        for row in reader.rows(_QUERY):
            comment, mark = comments.split(row.comment)
            yield Entity(
                id=EntityIdentifier("", row.name, kind=self.name),
                facts={"schema": row.schema, "version": row.version},
                comment=comment,
                mark=mark,
                address=Address("pg_extension", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name an extension as COMMENT ON does."""
        return f"EXTENSION {idents.quote(identifier.name or '')}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make an extension, in the version that the declaration asks for or the server's own."""
        name = idents.quote(entity.id.name or "")
        words = [f"CREATE EXTENSION IF NOT EXISTS {name}"]
        if entity.facts["schema"] is not None:
            words.append(f"SCHEMA {idents.quote(str(entity.facts['schema']))}")
        if entity.notes.get("version") is not None:
            words.append(f"VERSION {literal(str(entity.notes['version']))}")
        if entity.notes.get("cascade"):
            words.append("CASCADE")
        return (Statement(" ".join(words)),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop an extension that nothing uses."""
        return (Statement(f"DROP {self.label(entity.id)}"),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change:
        """Move an extension to another schema or version."""
        statements = []
        alter = f"ALTER {self.label(new.id)}"
        schema, version = new.facts["schema"], new.facts["version"]
        if schema != old.facts["schema"]:
            statements.append(Statement(f"{alter} SET SCHEMA {idents.quote(str(schema))}"))
        if version != old.facts["version"]:
            statements.append(Statement(f"{alter} UPDATE TO {literal(str(version))}"))
        return Change(tuple(statements))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> None:
        """Refuse: an extension has the name of its files."""


EXTENSION = _Extension()


@dataclass
class _Said:
    """What declarations say about one extension."""

    schema: str | None = None
    version: str | None = None
    cascade: bool = False
    comment: str | None = None


def declared(
    reader: Reader, statements: Iterable[str], live: Mapping[EntityIdentifier, Entity]
) -> list[Entity]:
    """Return the extensions that statements declare, as they should be in this database.

    What a statement leaves open is as it is in the database, so that it makes no difference.

    Args:
        reader: Asks for the comments that missing extensions will come with.
        statements: CREATE EXTENSION and COMMENT ON EXTENSION statements; others are passed over.
        live: What the database holds.

    Returns:
        An entity for each, without mark.
    """
    said = _gathered(statements)
    missing = [name for name in said if _identifier(name) not in live]
    rows = reader.rows(_AVAILABLE, {"names": missing}) if missing else ()
    usual: dict[str, str | None] = {row.name: row.comment for row in rows}
    return [_settled(name, own, live.get(_identifier(name)), usual) for name, own in said.items()]


def _settled(
    name: str, said: _Said, live: Entity | None, usual: Mapping[str, str | None]
) -> Entity:
    present = {} if live is None else live.facts
    comment = usual.get(name) if live is None else live.comment
    return Entity(
        id=_identifier(name),
        facts={
            "schema": said.schema or present.get("schema"),
            "version": said.version or present.get("version"),
        },
        comment=comment if said.comment is None else said.comment or None,
        notes={"version": said.version, "cascade": said.cascade},
    )


def _gathered(statements: Iterable[str]) -> dict[str, _Said]:
    said: dict[str, _Said] = {}
    for raw in (raw for text in statements for raw in parse_sql(text)):
        if isinstance(raw.stmt, ast.CreateExtensionStmt):
            _hear_creation(raw.stmt, said)
        elif isinstance(raw.stmt, ast.CommentStmt):
            _hear_comment(raw.stmt, said)
    return said


# pglast's types make every field optional, which the grammar does not: hence Any.
def _hear_creation(node: Any, said: dict[str, _Said]) -> None:
    own = said.setdefault(node.extname, _Said())
    for option in node.options or ():
        if option.defname == "schema":
            own.schema = option.arg.sval
        elif option.defname == "new_version":
            own.version = option.arg.sval
        elif option.defname == "cascade":
            own.cascade = True


def _hear_comment(node: Any, said: dict[str, _Said]) -> None:
    if node.objtype == enums.ObjectType.OBJECT_EXTENSION and node.object.sval in said:
        said[node.object.sval].comment = node.comment or ""


def _identifier(name: str) -> EntityIdentifier:
    return EntityIdentifier("", name, kind="extension")
