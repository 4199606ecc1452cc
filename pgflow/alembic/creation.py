"""Creating what is declared and missing, without reading a whole catalogue before and after.

It runs the very statements that are compared otherwise, in the same order, and marks what it has
made. Where rights, roles or functions that may be there already are declared, it leaves the work
to a full comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pglast import ast
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from pgflow import idents
from pgflow.alembic import comments
from pgflow.alembic.concealment import concealed
from pgflow.alembic.declared.arrangement import arranged
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.declared.world import DeclaredWorld
from pgflow.alembic.entity import Entity, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.registry import KINDS
from pgflow.alembic.sending import send, send_all
from pgflow.errors import DeclarationRefused

_ROUTINES = ("function", "procedure", "aggregate")
_TYPES = ("enum", "domain", "range")
_UNMARKED = ("column", "default", "constraint", "default_privileges")
_ELSEWHERE = (ast.GrantStmt, ast.GrantRoleStmt, ast.AlterDefaultPrivilegesStmt, ast.AlterOwnerStmt)

_PRESENT = text(
    """
    SELECT 'schema', nspname, '' FROM pg_namespace WHERE nspname = ANY(:schemas)
    UNION ALL
    SELECT 'relation', n.nspname, c.relname
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY(:schemas) AND c.relname = ANY(:names)
    UNION ALL
    SELECT 'type', n.nspname, t.typname
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
     WHERE n.nspname = ANY(:schemas) AND t.typname = ANY(:names)
    UNION ALL
    SELECT 'routine', n.nspname, p.proname
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = ANY(:schemas) AND p.proname = ANY(:names)
    UNION ALL
    SELECT 'statistics', n.nspname, s.stxname
      FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
     WHERE n.nspname = ANY(:schemas) AND s.stxname = ANY(:names)
    UNION ALL
    SELECT 'extension', '', extname FROM pg_extension WHERE extname = ANY(:names)
    """
)
_SIGNATURES = text(
    """
    SELECT n.nspname, p.proname, p.prokind::text, obj_description(p.oid, 'pg_proc'),
           (SELECT coalesce(string_agg(format_type(a.type, NULL), ', ' ORDER BY a.number), '')
              FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, number))
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = ANY(:schemas) AND p.proname = ANY(:names)
     ORDER BY 1, 2, 5
    """
)
_PROKINDS = {"f": "function", "w": "function", "p": "procedure", "a": "aggregate"}

#: What can be looked up under one name: its class, its schema, its name.
_Place = tuple[str, str, str]


@dataclass(frozen=True)
class Creation:
    """What is to be created in a database.

    Attributes:
        declarations: The statements to run, in order.
        schemas: Schemas that no statement makes.
    """

    declarations: Sequence[Declaration]
    schemas: tuple[str, ...] = ()

    @classmethod
    def plan(cls, connection: Connection, world: DeclaredWorld) -> Creation | None:
        """Find out what is missing.

        Args:
            connection: A connection to the database.
            world: What is declared.

        Returns:
            What is missing; None if only a full comparison can tell.
        """
        ordered = arranged(world.declarations, [m.makers for m in world.mentions])
        if any(isinstance(each.node, _ELSEWHERE) or _is_role(each) for each in ordered):
            return None
        present = _present(connection, ordered, world.schemas)
        places = {id(each): _place(each.subject.makes) for each in ordered}
        if any(at is not None and at[0] == "routine" and at in present for at in places.values()):
            return None
        made = {at for at in places.values() if at is not None and at not in present}
        wanted = [each for each in ordered if _is_wanted(each, places[id(each)], made)]
        settled = present | made
        lacking = sorted(s for s in world.schemas if ("schema", s, "") not in settled)
        return cls(wanted, tuple(lacking))

    def run(self, connection: Connection, owner: str) -> None:
        """Create everything, and mark it.

        Args:
            connection: A connection in a transaction, which the caller commits.
            owner: The migration history that the marks name.

        Raises:
            DeclarationRefused: The server does not accept a statement.
        """
        if not self.declarations and not self.schemas:
            return
        texts = [each.sql for each in self.declarations]
        schemas = [f"CREATE SCHEMA {idents.quote(name)}" for name in self.schemas]
        # SQL functions may name tables that a later statement makes.
        checked = connection.scalar(text("SELECT current_setting('check_function_bodies')"))
        before = ["SET LOCAL check_function_bodies = off", *schemas]
        savepoint = connection.begin_nested()
        try:
            send_all(connection, [*before, *texts])
        except DBAPIError:
            savepoint.rollback()
            self._find_culprit(connection, before)
        else:
            savepoint.commit()
        self._mark(connection, owner)
        send(connection, f"SET LOCAL check_function_bodies = {checked}")

    def _find_culprit(self, connection: Connection, before: Sequence[str]) -> None:
        """Run the statements one by one, so that the one that fails can be named."""
        for statement in before:
            send(connection, statement)
        for each in self.declarations:
            try:
                send(connection, each.sql)
            except DBAPIError as error:
                why = str(error.orig).strip().splitlines()[0]
                raise DeclarationRefused(
                    f"The server does not accept {each.subject.makes or each.origin}: {why}. It "
                    f"is declared by {each.origin}; the statement begins with "
                    f"{each.first_line!r}.{_way_out(why)}",
                    sql=concealed(each.sql),
                    origin=each.origin,
                ) from error

    def _mark(self, connection: Connection, owner: str) -> None:
        marks = [
            comments.statement(KINDS[made.kind or ""].label(made), entity).sql
            for made, entity in self._marked(connection, owner)
        ]
        send_all(connection, marks)

    def _marked(
        self, connection: Connection, owner: str
    ) -> Iterator[tuple[EntityIdentifier, Entity]]:
        """Give what was made with the comment that it shall have."""
        said = {each.subject.alters[0]: each.node.comment for each in self._comments()}
        made = [each.subject.makes for each in self.declarations if each.subject.makes is not None]
        made += [EntityIdentifier(name, kind="schema") for name in self.schemas]
        routines = [each for each in made if each.kind in _ROUTINES]
        others = [each for each in made if each.kind not in (*_ROUTINES, *_UNMARKED)]
        for each in others:
            yield each, Entity(each, comment=_said(said, each), mark=Mark(owner))
        for each, comment in _signatures(connection, routines) if routines else ():
            yield each, Entity(each, comment=comment, mark=Mark(owner))

    def _comments(self) -> Iterator[Any]:
        return (each for each in self.declarations if isinstance(each.node, ast.CommentStmt))


def _present(
    connection: Connection, declarations: Sequence[Declaration], schemas: frozenset[str]
) -> set[_Place]:
    places = [at for at in (_place(each.subject.makes) for each in declarations) if at is not None]
    rows = connection.execute(
        _PRESENT,
        {
            "schemas": sorted({*schemas, *(schema for _, schema, _ in places)}),
            "names": sorted({name for _, _, name in places}),
        },
    )
    return {(what, schema, name) for what, schema, name in rows}


def _place(made: EntityIdentifier | None) -> _Place | None:
    """Return under what an object is looked up; parts come and go with their relation."""
    if made is None:
        return None
    if _is_schema(made):
        return "schema", made.schema, ""
    if made.kind in _ROUTINES:
        return "routine", made.schema, made.name or ""
    if made.kind in _TYPES:
        return "type", made.schema, made.name or ""
    if made.kind == "extension":
        return "extension", "", made.name or ""
    if made.table is not None:
        return "relation", made.schema, made.table
    return "relation", made.schema, made.name or ""


def _is_wanted(each: Declaration, place: _Place | None, made: set[_Place]) -> bool:
    """Whether a statement makes what is missing, or changes only what is made now."""
    if place is not None:
        return place in made
    return all(_owner_place(altered) in made for altered in each.subject.alters)


def _owner_place(altered: EntityIdentifier) -> _Place | None:
    if altered.kind in ("type", "composite"):
        return "type", altered.schema, altered.name or ""
    if altered.kind == "routine":
        return "routine", altered.schema, altered.name or ""
    return _place(altered)


def _is_schema(made: EntityIdentifier | None) -> bool:
    return made is not None and made.kind == "schema"


def _is_role(each: Declaration) -> bool:
    return each.subject.makes is not None and each.subject.makes.kind == "role"


def _said(said: dict[EntityIdentifier, str | None], made: EntityIdentifier) -> str | None:
    """Return the comment that was declared for an object."""
    place = (made.schema, made.name, made.table)
    for altered, comment in said.items():
        of_kind = altered.kind in (made.kind, "type")
        if of_kind and (altered.schema, altered.name, altered.table) == place:
            return comment
    return None


def _signatures(
    connection: Connection, routines: Sequence[EntityIdentifier]
) -> Iterator[tuple[EntityIdentifier, str | None]]:
    """Give functions as the server names them, with their comments; all of them are new."""
    names = {(each.schema, each.name) for each in routines}
    rows = connection.execute(
        _SIGNATURES,
        {"schemas": sorted({s for s, _ in names}), "names": sorted({n or "" for _, n in names})},
    )
    for schema, name, kind, comment, arguments in rows.all():
        if (schema, name) in names:
            routine = EntityIdentifier(schema, name, kind=_PROKINDS[kind], arguments=arguments)
            yield routine, comment


def _way_out(why: str) -> str:
    """Name what a plain column needs to stand in an exclusion constraint."""
    if 'no default operator class for access method "gist"' not in why:
        return ""
    return (
        " Plain columns can exclude each other only with the extension btree_gist: let the plugin "
        "declare it (NoOverlapPlugin(extension=True)), or have it created (CREATE EXTENSION "
        "btree_gist)."
    )
