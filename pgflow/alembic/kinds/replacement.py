"""A type put in the place of another of the same name, under columns that hold values of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.type_catalogue import called
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement


def replace_type(
    noun: str,
    old: Entity,
    new: Entity,
    worlds: tuple[Snapshot, Snapshot],
    made: Sequence[Statement],
    *,
    by_text: bool,
) -> Change:
    """Rename a type out of the way, make the new one, move every column over, drop the old one.

    What the planner has to know: the change disturbs. Before it, whatever depends on the type is
    dropped, columns of tables excepted: types built upon it, views, functions with it in their
    signature, defaults, generated columns, check constraints, indexes with expressions or
    predicates, policies, triggers with WHEN. After it they are made again. Columns that the
    migration drops are gone before it; columns that it adds or gives this type come after it. A
    column keeps its facts: it is moved here, and nowhere else. The comment, owner and rights of
    the live type are put on the new one, so that they are compared and changed as always.

    Args:
        noun: What ALTER calls it: "TYPE" or "DOMAIN".
        old: The type as it is.
        new: The type as it should be, of the same identity.
        worlds: The database before and after the migration.
        made: The statements that make the new type.
        by_text: Convert values by their text. Else by the assignment cast, which refuses what does
            not fit.

    Returns:
        The change.
    """
    name = called(new.id)
    columns = _columns(old, worlds)
    spare = _spare_name(new.id, worlds)
    aside = idents.qualify(new.id.schema, spare)
    return Change(
        (
            Statement(f"ALTER {noun} {name} RENAME TO {idents.quote(spare)}"),
            *made,
            *_moves(columns, lambda column: _moved(column, name, by_text=by_text)),
            Statement(f"DROP {noun} {aside}"),
            *_as_before(f"{noun} {name}", old, worlds[0].user),
        ),
        disturbs=True,
    )


def remake_type(
    noun: str,
    old: Entity,
    worlds: tuple[Snapshot, Snapshot],
    made: Sequence[Statement],
) -> Change:
    """Keep the values of every column as text while a type is dropped and made again.

    For types whose constructor functions stay behind when they are renamed. The planner has to
    know the same as for `replace_type`.

    Args:
        noun: What DROP calls it.
        old: The type as it is.
        worlds: The database before and after the migration.
        made: The statements that make the new type.

    Returns:
        The change.
    """
    name = called(old.id)
    columns = _columns(old, worlds)
    return Change(
        (
            *_moves(columns, lambda column: _moved(column, "text", by_text=True)),
            Statement(f"DROP {noun} {name}"),
            *made,
            *_moves(columns, lambda column: _moved(column, name, by_text=True)),
            *_as_before(f"{noun} {name}", old, worlds[0].user),
        ),
        disturbs=True,
    )


def _columns(old: Entity, worlds: tuple[Snapshot, Snapshot]) -> list[Entity]:
    """Return the columns of the type that outlive the migration; a column dropped is gone."""
    before, after = worlds
    users = (before.get(user) for user, needs in before.depends.items() if old.id in needs)
    columns = [
        user for user in users if user is not None and user.id.kind == "column" and user.id in after
    ]
    return sorted(columns, key=lambda column: column.id.sort_key)


def _spare_name(identifier: EntityIdentifier, worlds: tuple[Snapshot, Snapshot]) -> str:
    taken = {
        known.name
        for world in worlds
        for known in world.entities
        if known.schema == identifier.schema and known.table is None
    }
    spare = idents.fit(f"{identifier.name}_before")
    while spare in taken:
        spare = idents.fit(spare + "_")
    return spare


def _moves(columns: Sequence[Entity], clause: Callable[[Entity], str]) -> list[Statement]:
    clauses: dict[str, list[str]] = defaultdict(list)
    for column in columns:
        clauses[idents.qualify(column.id.schema, column.id.table or "")].append(clause(column))
    return [
        Statement(f"ALTER TABLE {table} " + ", ".join(moves), (Hazard.REWRITES, Hazard.EXCLUSIVE))
        for table, moves in clauses.items()
    ]


def _moved(column: Entity, name: str, *, by_text: bool) -> str:
    own = idents.quote(column.id.name or "")
    # An array prints as its element's type and one pair of brackets, however deep it is.
    array = "[]" if str(column.facts.get("type", "")).endswith("[]") else ""
    converted = f" USING {own}::text{array}" if by_text else ""
    if by_text and name != "text":
        converted += f"::{name}{array}"
    return f"ALTER COLUMN {own} TYPE {name}{array}{converted}"


def _as_before(label: str, old: Entity, user: str) -> list[Statement]:
    found: list[Statement] = []
    if old.comment or old.mark:
        found.append(comments.statement(label, old))
    if old.owner is not None and old.owner != user:
        found.append(Statement(f"ALTER {label} OWNER TO {idents.quote(old.owner)}"))
    return [*found, *privileges.restore(label, old)]
