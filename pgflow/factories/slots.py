"""Slots of a pipeline: which it needs, and making them where they can be and do no harm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Connection, Engine

from pgflow.connections.registry import describe
from pgflow.declare.sources import SourceTable
from pgflow.errors import SlotRefused
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.sync_target import SyncTarget
from pgflow.plan.sql import Sql
from pgflow.run.body import BodyConnection
from pgflow.run.positions import slot_making
from pgflow.run.positions.slots import slot_name
from pgflow.run.session import Session
from pgflow.run.sources.delivery import Delivery
from pgflow.run.sources.ends import HERE


@dataclass(frozen=True)
class WantedSlot:
    """A replication slot and its publication, as one target of a pipeline needs them.

    Attributes:
        pipeline: The pipeline's name.
        target: The target's qualified name.
        table: The source table.
        name: The name of both.
        where: The database, without a password.
        there: Whether the slot is there already.
        statements: What makes them.
        engine: The database.
    """

    pipeline: str
    target: str
    table: str
    name: str
    where: str
    there: bool
    statements: tuple[Sql, ...]
    engine: Engine

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        told = ("pipeline", "target", "table", "name", "where", "there")
        return {each: getattr(self, each) for each in told}

    def make(self) -> None:
        """Make what is not there yet; the slot waits for transactions that are running.

        Raises:
            StatementFailed: The role may not publish the table, or no slot is left.
        """
        if self.there:
            return
        with _autocommit(self.engine) as live:
            session = Session(live, owner=self.pipeline)
            for statement in self.statements:
                session.run(statement, "make a slot")


def wanted_slots(
    pipeline: Pipeline, values: Mapping[str, object], *, unlimited_wal: bool = False
) -> tuple[WantedSlot, ...]:
    """Find out which slots a pipeline needs; nothing is made.

    Args:
        pipeline: The pipeline.
        values: The run parameters.
        unlimited_wal: Whether slots may fill the server's disk.

    Raises:
        SlotRefused: The pipeline reads no slot, or its server, role or table do not allow one.
    """
    return tuple(_wanted(each, values, unlimited_wal) for each in pipeline.sync_targets)


def drop_slot(engine: Engine, slot: str) -> bool:
    """Drop a slot of pgflow's and its publication; the server lets go of the log it kept.

    Args:
        engine: A database of the server.
        slot: The slot's name.

    Returns:
        Whether there was one.

    Raises:
        SlotRefused: The slot is not pgflow's, or of another database.
        StatementFailed: Somebody is reading it.
    """
    with _autocommit(engine) as live:
        session = Session(live)
        there = slot_making.check_own(live, slot)
        for statement in slot_making.removal(slot):
            session.run(statement, "drop a slot")
    return there


def _wanted(target: SyncTarget, values: Mapping[str, object], unlimited_wal: bool) -> WantedSlot:
    name = target.spec.name
    if target.watermark_kind != "slot":
        raise SlotRefused(f"pipeline {name!r} reads no slot: it has no watermark='slot'.")
    source = _source(target, values)
    keys = tuple(source.source_column(key) for key in target.merge_keys)
    scope = target.job(values).draft.scope_name
    engine = target.target_engine()
    with engine.connect() as live:
        slot_making.check_server(live, unlimited_wal=unlimited_wal)
        slot_making.check_table(live, source, keys)
        database, there, left_over = slot_making.find_slot(
            live,
            lambda database: slot_name(database, name, target.target_label, scope),
            source,
            name,
        )
    slot = slot_name(database, name, target.target_label, scope)
    statements = slot_making.creation(slot, source)
    if left_over:
        statements = (slot_making.removal(slot)[-1], *statements)
    return WantedSlot(
        pipeline=name,
        target=target.target_label,
        table=source.name,
        name=slot,
        where=str(describe(engine)),
        there=there,
        statements=statements,
        engine=engine,
    )


def _source(target: SyncTarget, values: Mapping[str, object]) -> SourceTable:
    """The table that a pipeline reads; its run would find out in the same way."""
    job, given = target.job(values), list[Delivery]()

    def source(*connections: BodyConnection) -> Delivery:
        given.append(job.source(*connections))
        return given[-1]

    draft = replace(job.draft, watermark=None)
    _plan, spec = target.inspect_job(replace(job, draft=draft, source=source))
    found = given[-1].given
    if spec.path.value != HERE or not isinstance(found, SourceTable):
        raise SlotRefused(
            f"pipeline {target.spec.name!r}: a slot names the changed keys of one table in the "
            "target's own database (SourceTable, or source_table=), and the source is something "
            "else. Use watermark='snapshot' or 'horizon', which lose nothing either."
        )
    return found


@contextmanager
def _autocommit(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement is a transaction: a slot waits for all others."""
    with engine.connect() as live:
        yield live.execution_options(isolation_level="AUTOCOMMIT")
