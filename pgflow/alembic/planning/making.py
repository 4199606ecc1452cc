"""Differences as steps: each object that is made, changed or dropped, with all its SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Entity, Mark
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import sequences, tables
from pgflow.alembic.planning import filling, online, partitions, titles
from pgflow.alembic.planning.differences import Differences, ordered
from pgflow.alembic.planning.rebuilding import parts
from pgflow.alembic.planning.route import Route, owning_column
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step


@dataclass(frozen=True)
class Maker:
    """Writes the steps of one direction.

    Attributes:
        route: The old and the new world.
        found: What differs, with all that is drawn along.
        apart: Parts that get a step of their own although they could go with their table.
    """

    route: Route
    found: Differences
    apart: frozenset[EntityIdentifier] = frozenset()

    def steps(self) -> list[Step]:
        """Return all steps, in no particular order but always the same."""
        return [*self._drops(), *self._creates(), *self._alters()]

    @cached_property
    def _carried(self) -> dict[EntityIdentifier, EntityIdentifier]:
        """What goes by itself with a dropped relation or column, and with which."""
        carried = {}
        for identifier in ordered(self.found.gone):
            for part in parts(self.route, identifier):
                if part not in self.apart:
                    carried[part] = identifier
        return carried

    def _drops(self) -> Iterator[Step]:
        for identifier in ordered(self.found.gone - self._carried.keys()):
            entity = self.route.old[identifier]
            statements = self.route.kind(identifier).drop(entity, self.route.old)
            if any(
                one not in self.found.gone for one in partitions.referring(self.route, identifier)
            ):
                statements = (*partitions.detached(entity), *statements)
            if statements:
                yield Step(
                    identifier,
                    "drop",
                    titles.drop(identifier),
                    tuple(statements),
                    removes=frozenset({identifier, *self._taken_along(identifier)}),
                )

    def _taken_along(self, identifier: EntityIdentifier) -> Iterator[EntityIdentifier]:
        for part in parts(self.route, identifier):
            if self._carried.get(part) is not None:
                yield part
                yield from self._taken_along(part)

    @cached_property
    def _inlined(self) -> dict[EntityIdentifier, set[EntityIdentifier]]:
        """The columns, defaults and constraints that are written into CREATE TABLE."""
        found: dict[EntityIdentifier, set[EntityIdentifier]] = {}
        for identifier in self.found.made:
            if identifier.kind == "table":
                own = self.route.new.parts(identifier, "column", "default", "constraint")
                found[identifier] = {part.id for part in own if self._goes_with_table(part)}
        return found

    def _goes_with_table(self, part: Entity) -> bool:
        if part.id.kind == "column":
            return True
        return part.facts.get("type") != "foreign_key" and part.id not in self.apart

    @cached_property
    def _with_column(self) -> dict[EntityIdentifier, EntityIdentifier]:
        """The defaults that are said when their column is added."""
        found = {}
        for identifier in self.found.made:
            if identifier.kind == "column" and self._table(identifier) not in self.found.made:
                default = replace(identifier, kind="default")
                if default in self.found.made:
                    found[identifier] = default
        return found

    @staticmethod
    def _table(part: EntityIdentifier) -> EntityIdentifier:
        return EntityIdentifier(part.schema, part.table, kind="table")

    def _creates(self) -> Iterator[Step]:
        covered: set[EntityIdentifier] = set(self._with_column.values())
        covered.update(*self._inlined.values())
        for identifier in ordered(self.found.made - covered):
            provides = {identifier, *self._inlined.get(identifier, ())}
            if identifier in self._with_column:
                provides.add(self._with_column[identifier])
            statements = [*self._created(identifier), *self._finished(provides)]
            if statements:
                yield Step(
                    identifier,
                    "create",
                    self._title(identifier),
                    tuple(statements),
                    provides=frozenset(provides),
                )
                validation = online.validation(self.route.new[identifier], statements)
                if validation is not None:
                    yield validation

    def _title(self, identifier: EntityIdentifier) -> str:
        title = titles.create(identifier)
        if identifier.kind == "column" and filling.is_missing(
            self.route, self.route.new[identifier], self._with_column.get(identifier)
        ):
            return f"{title}: {titles.FILL}"
        return title

    def _created(self, identifier: EntityIdentifier) -> Iterator[Statement]:
        world = self.route.new
        entity = world[identifier]
        if identifier.kind == "table":
            yield from tables.create_whole(entity, world, self._inlined[identifier])
        elif identifier.kind == "column":
            yield from filling.added(self.route, entity, default=self._with_column.get(identifier))
            yield from self._column_rights(entity)
        else:
            yield from self._created_part(entity)
        if identifier.kind == "sequence" and self._is_left_alone(entity):
            yield from sequences.given(entity, world)

    def _created_part(self, entity: Entity) -> Sequence[Statement]:
        parent = self.route.new.parent(entity.id)
        made_new = parent is not None and parent.id in self.found.made
        found = None if made_new else online.created(self.route, entity)
        return self.route.kind(entity.id).create(entity, self.route.new) if found is None else found

    def _is_left_alone(self, sequence: Entity) -> bool:
        """Tell whether nothing else says to which live column a new sequence belongs."""
        column = owning_column(self.route.new, sequence.id)
        if column is None or column in self.found.made:
            return False
        default = replace(column, kind="default")
        set_now = default in self.found.made or default in self.found.changed
        return not (set_now and sequences.used(self.route.new.get(default), sequence))

    def _column_rights(self, column: Entity) -> Sequence[Statement]:
        table = self.route.new.parent(column.id)
        if table is None:
            return ()
        rights = {right for right in table.privileges or () if right.column == column.id.name}
        return privileges.grant(self.route.kind(table.id).label(table.id), rights)

    def _finished(self, identifiers: Iterable[EntityIdentifier]) -> Iterator[Statement]:
        """Give a new object its comment, rights and owner, and its parts theirs."""
        for identifier in ordered(identifiers):
            entity = self.route.new[identifier]
            # A role says all of this itself, in one block that is left out if the role exists.
            if identifier.kind == "role":
                continue
            label = self.route.kind(identifier).label(identifier)
            # Default privileges have no comment; their schema's mark tells whose they are.
            said = entity.comment or entity.mark
            if said and identifier.kind != "default_privileges":
                yield comments.statement(label, entity)
            yield from _rights(label, entity, self.route.new.user)

    def _alters(self) -> Iterator[Step]:
        for identifier in ordered(self.route.ours):
            old, new = self.route.old.get(identifier), self.route.new.get(identifier)
            if old is None or new is None:
                continue
            if identifier in self.found.gone or identifier in self.found.made:
                continue
            statements = self._altered(old, new)
            if statements:
                yield Step(
                    identifier,
                    "alter",
                    titles.alter(old, self._at_first(old, new)),
                    tuple(statements),
                    provides=frozenset({identifier}),
                )
            if identifier in self.found.changed and online.is_forbidden_later(self.route, old, new):
                yield online.not_null(new)

    def _at_first(self, old: Entity, new: Entity) -> Entity:
        """Leave out what is a later step of its own."""
        later = online.is_forbidden_later(self.route, old, new)
        return online.tolerant(new) if later else new

    def _changed(self, old: Entity, new: Entity) -> Sequence[Statement]:
        at_first = self._at_first(old, new)
        if at_first is new:
            return self.found.changed[new.id].statements
        worlds = (self.route.old, self.route.new)
        change = self.route.kind(new.id).change(old, at_first, worlds)
        return () if change is None else change.statements

    def _altered(self, old: Entity, new: Entity) -> list[Statement]:
        statements: list[Statement] = []
        if new.id in self.found.changed:
            statements += self._changed(old, new)
        label = self.route.kind(new.id).label(new.id)
        said_otherwise = (old.comment, old.mark) != (new.comment, new.mark)
        if said_otherwise and new.id.kind != "default_privileges":
            statements.append(comments.statement(label, new))
        if old.privileges != new.privileges:
            statements += self._rights_changed(label, old, new)
        return statements

    def _rights_changed(self, label: str, old: Entity, new: Entity) -> Sequence[Statement]:
        before, after = old.privileges or frozenset(), new.privileges or frozenset()
        # What is granted on a new column is granted where the column is added.
        added = self._names_of_columns(new.id, self.found.made)
        before |= {right for right in after if right.column in added}
        # Both worlds are settled: whatever differs is meant, so every role counts as known.
        known = Mark(grantees=frozenset(right.grantee for right in before ^ after))
        return privileges.changes(
            label,
            replace(old, privileges=before, mark=known),
            new,
            dropped=self._names_of_columns(old.id, self.found.gone),
        )

    @staticmethod
    def _names_of_columns(
        relation: EntityIdentifier, among: Collection[EntityIdentifier]
    ) -> set[str]:
        return {
            one.name or ""
            for one in among
            if one.kind == "column" and (one.schema, one.table) == (relation.schema, relation.name)
        }


def _rights(label: str, entity: Entity, user: str) -> Iterator[Statement]:
    """Give a new object its rights and its owner, the owner last: until then it is ours."""
    # A column's sequence gets its owner with the table's.
    if entity.owner in {None, user} or entity.facts.get("owned_by"):
        yield from privileges.restore(label, entity)
        return
    rights = entity.privileges or frozenset()
    others = frozenset(right for right in rights if right.grantee != user)
    if entity.privileges is not None:
        yield from privileges.restore(label, replace(entity, privileges=others))
    yield Statement(f"ALTER {label} OWNER TO {privileges.role(entity.owner)}")
    yield from privileges.grant(label, rights - others)
