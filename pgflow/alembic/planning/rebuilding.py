"""What a drop or a disturbing change draws along: everything that needs it, and its parts."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import Literal

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.column_types import are_compared, conversion
from pgflow.alembic.planning import partitions, refusals
from pgflow.alembic.planning.differences import Differences, ordered
from pgflow.alembic.planning.route import TYPES, Route, is_generated, owning_column

#: What happens to an object that others need.
_Fate = Literal["gone", "disturbed", "retyped"]

#: What PostgreSQL does not carry through a change of a column's type.
_BOUND_TO_TYPES = frozenset(
    {
        "view",
        "materialized_view",
        "rule",
        "function",
        "procedure",
        "aggregate",
        "trigger",
        "policy",
        "column",
        "outsider",
    }
)

#: What holds rows and so is never dropped to be made again.
_HOLDS_ROWS = ("table", "column")

#: Constraints that compare a column only with itself survive a new type of the same values.
_KEYS = ("primary_key", "unique")


@dataclass
class _Closure:
    route: Route
    found: Differences
    waiting: deque[tuple[EntityIdentifier, _Fate]] = field(default_factory=deque)
    seen: set[tuple[EntityIdentifier, _Fate]] = field(default_factory=set)
    refused: defaultdict[EntityIdentifier, list[EntityIdentifier]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def push(self, identifier: EntityIdentifier, fate: _Fate) -> None:
        if (identifier, fate) not in self.seen:
            self.seen.add((identifier, fate))
            self.waiting.append((identifier, fate))

    def run(self) -> None:
        # Relations first: what belongs to them goes with them, whoever made it.
        for identifier in sorted(ordered(self.found.gone), key=lambda one: one.table is not None):
            self.push(identifier, "gone")
        for identifier in ordered(self.found.changed):
            change = self.found.changed.get(identifier)
            if change is not None and change.disturbs:
                self.push(identifier, "disturbed")
                self.retype(identifier)
            if identifier.kind == "table" and partitions.moves(self.route, identifier):
                for key in list(partitions.referring(self.route, identifier)):
                    self.pull(key, identifier)
        while self.waiting:
            identifier, fate = self.waiting.popleft()
            if fate == "gone":
                self.take_parts(identifier)
            for dependent in self.route.dependents.get(identifier, ()):
                self.reach(dependent, identifier, fate)
        if self.refused:
            raise refusals.foreign(self.route, self.refused)

    def retype(self, column: EntityIdentifier) -> None:
        """Drop the default that a new type cannot take over, and refuse what is built in."""
        if column.kind != "column":
            return
        default = replace(column, kind="default")
        if default in self.found.changed and self.is_converted(column):
            self.pull(default, column)
        if not self.route.forward:
            return
        if partitions.is_key(self.route.old, column):
            raise refusals.partition_key(column)
        table = EntityIdentifier(column.schema, column.table, kind="table")
        holders = [one for one in self.route.dependents.get(table, ()) if one.kind == "column"]
        if holders:
            raise refusals.row_type(column, holders[0])

    def is_converted(self, column: EntityIdentifier) -> bool:
        """Tell whether the server needs to be told how values get a column's new type."""
        worlds = (self.route.old, self.route.new)
        before, after = (str(world[column].facts.get("type")) for world in worlds)
        return conversion(before, after, "", worlds).using is not None

    def take_parts(self, identifier: EntityIdentifier) -> None:
        """Let go with a relation or a column what belongs to it."""
        for part in parts(self.route, identifier):
            if part in self.found.gone:
                continue
            if part in self.route.ours:
                self.found.gone.add(part)
                self.found.changed.pop(part, None)
                if part in self.route.new:
                    self.found.made.add(part)
            elif identifier in self.found.made or part.kind == "sequence":
                self.refuse(part, identifier)
            else:
                self.found.gone.add(part)
            self.push(part, "gone")

    def reach(self, dependent: EntityIdentifier, needed: EntityIdentifier, fate: _Fate) -> None:
        if dependent in self.found.gone:
            return
        if fate == "disturbed" and needed.kind in TYPES and dependent.kind == "column":
            self.push(dependent, "retyped")
            return
        if (
            fate == "disturbed"
            and needed.kind == "column"
            and not (self.is_bound(dependent) or self.is_parted(dependent, needed))
        ):
            return
        if fate == "retyped" and not self.is_bound_to_retyped(dependent):
            return
        self.pull(dependent, needed)

    def is_bound(self, dependent: EntityIdentifier) -> bool:
        """Tell whether a column cannot change its type while this needs it."""
        if dependent.kind == "default":
            # The server casts a default that stays; one that changes is set after.
            return dependent in self.found.changed or dependent in self.found.made
        return dependent.kind in _BOUND_TO_TYPES

    def is_parted(self, dependent: EntityIdentifier, column: EntityIdentifier) -> bool:
        """Tell whether a foreign key cannot compare its columns while only one has its new type."""
        entity = self.route.old.get(dependent)
        if entity is None or entity.facts.get("type") != "foreign_key":
            return False
        worlds = (self.route.old, self.route.new)
        before, after = (str(world[column].facts.get("type")) for world in worlds)
        return not are_compared(before, after, worlds)

    def is_bound_to_retyped(self, dependent: EntityIdentifier) -> bool:
        """Tell whether it needs a column whose type is made anew under the same name."""
        entity = self.route.old.get(dependent)
        if dependent.kind == "constraint" and entity is not None:
            return entity.facts.get("type") not in _KEYS
        if dependent.kind == "index" and entity is not None:
            # An expression is in parentheses within those of the list.
            expressions = str(entity.facts["definition"]).partition("(")[2]
            return entity.facts["predicate"] is not None or "(" in expressions
        return dependent.kind != "statistics"

    def pull(self, dependent: EntityIdentifier, needed: EntityIdentifier) -> None:
        """Drop an object before what it needs, and make it again after."""
        if dependent not in self.route.ours:
            self.refuse(dependent, needed)
            return
        old = self.route.old.get(dependent)
        if dependent.kind in (*TYPES, *_HOLDS_ROWS) and self.is_moved_away(dependent, needed):
            return
        if dependent.kind in _HOLDS_ROWS and not is_generated(old):
            if dependent not in self.route.new or not self.route.forward:
                return
            raise refusals.cannot_rebuild(dependent, needed)
        self.found.gone.add(dependent)
        self.found.changed.pop(dependent, None)
        if dependent in self.route.new:
            self.found.made.add(dependent)
        self.push(dependent, "gone")

    def is_moved_away(self, dependent: EntityIdentifier, needed: EntityIdentifier) -> bool:
        """Tell whether an object changes in place so that it needs the other no more."""
        after = self.route.new.depends.get(dependent, frozenset())
        return dependent in self.found.changed and needed not in after

    def refuse(self, dependent: EntityIdentifier, needed: EntityIdentifier) -> None:
        if self.route.forward:
            relation = self.route.old.parent(needed)
            if relation is not None and relation.id in self.found.gone:
                needed = relation.id
            if dependent not in self.refused[needed]:
                self.refused[needed].append(dependent)
            # What needs the foreign object has to be dropped by hand as well: name it too.
            for other in self.route.dependents.get(dependent, ()):
                if other not in self.route.ours and other not in self.refused[needed]:
                    self.refuse(other, needed)


def close(route: Route, found: Differences) -> None:
    """Draw along all that must be dropped before a change and made again after it.

    Args:
        route: The old and the new world.
        found: What differs; it is completed in place.

    Raises:
        ForeignDependent: Something that is not ours would have to be dropped.
        CannotChange: A table or a column would have to be dropped to be made again.
    """
    _Closure(route, found).run()


def parts(route: Route, identifier: EntityIdentifier) -> list[EntityIdentifier]:
    """Return what PostgreSQL drops together with a relation or a column of the old world."""
    found = [
        part.id
        for part in route.old.parts(identifier)
        if identifier.table is None and route.old.parent(part.id) == route.old.get(identifier)
    ]
    if identifier.kind == "column":
        default = EntityIdentifier(
            identifier.schema, identifier.name, kind="default", table=identifier.table
        )
        found += [default] if default in route.old else []
        found += [
            sequence
            for sequence in route.owned_sequences.get(identifier, ())
            if sequence not in route.new or owning_column(route.new, sequence) == identifier
        ]
    return found
