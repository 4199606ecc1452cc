"""What a database lacks, has too much, or has otherwise than declared, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, MetaData

from pgflow import idents
from pgflow.alembic import planning, registry, worlds
from pgflow.alembic.configuration import configure_metadata
from pgflow.alembic.entity import Entity, Fact, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.planning import ownership, renames
from pgflow.alembic.planning.comparison import unplanned
from pgflow.alembic.planning.renames import Round
from pgflow.alembic.settings import MigrationSettings, current_settings
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.step import Migration, Step
from pgflow.alembic.templates import filled
from pgflow.errors import AmbiguousRename, MigrationRefused
from pgflow.resolve.requirements import check_server


class State(Enum):
    """How a database differs from the declaration; the value is what a reader sees."""

    MISSING = "missing"
    SURPLUS = "not declared"
    CHANGED = "differs"
    RENAMED = "named otherwise"


@dataclass(frozen=True)
class Difference:
    """One object in which a database is not as declared.

    Attributes:
        id: The object.
        state: How it differs.
        facts: For what differs: by name what is declared, and what the database has.
    """

    id: EntityIdentifier
    state: State
    facts: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        told = "; ".join(
            f"{name}: declared {declared}, live {live}"
            for name, (declared, live) in self.facts.items()
        )
        return f"{self.state.value}: {self.id}" + (f" ({told})" if told else "")


@dataclass(frozen=True)
class Drift:
    """A database beside what is declared for it.

    Attributes:
        live: What is there.
        declared: What is declared.
        planned: What leads from one to the other, or why nothing does.
        settings: How migrations are run.
    """

    live: Snapshot
    declared: Snapshot
    planned: Migration | MigrationRefused
    settings: MigrationSettings

    @property
    def migration(self) -> Migration:
        """What leads from one to the other.

        Raises:
            MigrationRefused: There is no way that loses no data and spares what is not ours.
        """
        if isinstance(self.planned, MigrationRefused):
            raise self.planned
        return self.planned

    @property
    def refusal(self) -> MigrationRefused | None:
        """Why no migration can be made of the differences; None if one can."""
        return self.planned if isinstance(self.planned, MigrationRefused) else None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Each object that differs, once; what a missing table consists of is not told apart."""
        found: dict[EntityIdentifier, Difference] = {}
        for step in self._steps():
            for each in self._of_step(step):
                found.setdefault(each.id, each)
        ids = {e.id for e in found.values() if e.state in (State.MISSING, State.SURPLUS)}
        return tuple(each for each in found.values() if not _has_parent(each, ids))

    @cached_property
    def _renamed(self) -> tuple[tuple[Round, ...], Snapshot]:
        # Where it is not clear what was renamed, nothing was.
        with suppress(AmbiguousRename):
            return renames.find(self.live, self.declared, self.settings.owner or "", registry.KINDS)
        return (), self.live

    @cached_property
    def _settled(self) -> Snapshot:
        _, moved = self._renamed
        own = ownership.ours(moved, self.declared, self.settings.owner or "")
        return ownership.target(moved, self.declared, own)

    def _steps(self) -> tuple[Step, ...]:
        if isinstance(self.planned, Migration):
            return self.planned.upgrade
        return unplanned(self.live, self.declared, owner=self.settings.owner or "")

    def _of_step(self, step: Step) -> Iterator[Difference]:
        """Tell what is different; objects that a step only makes anew are not."""
        if step.action == "rename":
            for new in step.provides:
                yield Difference(step.id, State.RENAMED, {"name": _names(new, step.id)})
            return
        rounds, _ = self._renamed
        touched = {step.id, *step.provides, *step.removes}
        for one in rounds:
            touched = {one.names.of(identifier) for identifier in touched}
        for identifier in sorted(touched, key=lambda each: (each != step.id, each.sort_key)):
            yield from self._difference(identifier)

    def _difference(self, identifier: EntityIdentifier) -> Iterator[Difference]:
        _, moved = self._renamed
        live, declared = moved.get(identifier), self.declared.get(identifier)
        if live is None and declared is not None:
            yield Difference(identifier, State.MISSING)
        elif live is not None and declared is None:
            yield Difference(identifier, State.SURPLUS)
        elif live is not None and declared is not None:
            # Rights and comments that others gave it are no difference.
            facts = changed_facts(live, self._settled.get(identifier) or declared)
            if facts:
                yield Difference(identifier, State.CHANGED, facts)


def examine(
    connection: Connection,
    metadata: Sequence[MetaData],
    *,
    shadow: str | None = None,
) -> Drift:
    """Compare a database with metadata, and plan what would make it as declared.

    Args:
        connection: A connection to the database; what is done on it is rolled back.
        metadata: What is declared; pgflow's own tables are added to it.
        shadow: An empty database to compare in, by name or URL; by default the one of the
            settings, or else scratch schemas in the database itself.

    Raises:
        PgflowError: The declaration cannot be made, or the comparison is not allowed.
    """
    configure_metadata(metadata)
    settings = current_settings()
    if shadow is not None:
        settings = replace(settings, shadow=shadow)
    version: Any = connection.dialect.server_version_info or (0,)
    for each in metadata:
        check_server(each, version)
    owner = settings.owner or ""
    live, declared = worlds.compare(connection, metadata, owner=owner, shadow=settings.shadow)
    live = filled(live, settings)
    return Drift(live, declared, _planned(live, declared, settings), settings)


def _planned(
    live: Snapshot, declared: Snapshot, settings: MigrationSettings
) -> Migration | MigrationRefused:
    try:
        return planning.migration(
            live, declared, owner=settings.owner or "", big_bytes=settings.big_table_bytes
        )
    except MigrationRefused as refusal:
        return refusal


def changed_facts(live: Entity, declared: Entity) -> dict[str, tuple[str, str]]:
    """Say in what two objects differ: by name what is declared, and what the database has.

    Args:
        live: The object in the database.
        declared: The same object as declared.
    """
    names = [*declared.facts, *(name for name in live.facts if name not in declared.facts)]
    pairs = [(name, declared.facts.get(name), live.facts.get(name)) for name in names]
    pairs.append(("comment", declared.comment, live.comment))
    found = {
        name: (_shown(wanted), _shown(present))
        for name, wanted, present in pairs
        if wanted != present
    }
    wanted_rights, present_rights = declared.privileges or (), live.privileges or ()
    if set(wanted_rights) != set(present_rights):
        found["privileges"] = (_rights(wanted_rights), _rights(present_rights))
    return found


def _names(declared: EntityIdentifier, live: EntityIdentifier) -> tuple[str, str]:
    """Write the names of a renamed object, with their schemas where it moves to another one."""
    moves = live.name is not None and declared.schema != live.schema
    return _called(declared, in_full=moves), _called(live, in_full=moves)


def _called(identifier: EntityIdentifier, *, in_full: bool) -> str:
    name = identifier.name or identifier.schema
    return idents.qualify(identifier.schema, name) if in_full else idents.quote(name)


def _has_parent(difference: Difference, absent: set[EntityIdentifier]) -> bool:
    """Whether the relation to which something belongs is missing or surplus as a whole."""
    own = difference.id
    return any(
        other.schema == own.schema and other.name == own.table and other.table is None
        for other in absent
        if own.table is not None
        and other.kind in ("table", "view", "materialized_view", "foreign_table")
    )


def _shown(fact: Fact) -> str:
    if fact is None:
        return "none"
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, tuple):
        return "[" + ", ".join(_shown(each) for each in fact) + "]"
    return " ".join(str(fact).split())


def _rights(privileges: frozenset[Privilege] | tuple[()]) -> str:
    return (
        ", ".join(
            f"{each.privilege}{f' ({each.column})' if each.column else ''} to "
            f"{each.grantee or 'PUBLIC'}{' with grant option' if each.grantable else ''}"
            for each in sorted(privileges)
        )
        or "none"
    )
