"""Random batches against the models in plain Python that say what is right.

`PGFLOW_MODEL_STEPS` makes the tests take that many steps for each mode and its options; without
it they take few.
"""

from __future__ import annotations

import os
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pgflow.errors import InstantTooEarly
from pgflow.plan import counted
from pgflow.testing import assert_scd2
from tests.sync import models

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
STEPS = int(os.environ.get("PGFLOW_MODEL_STEPS", "0"))

#: A value of a row, NULL among them.
VALUE = st.sampled_from(["x", "y", None])
KEY = st.integers(1, 4)
#: A batch with each key once.
BATCH = st.dictionaries(KEY, VALUE, max_size=4)
#: A batch with several instants of a key.
EVENTS = st.dictionaries(st.tuples(KEY, st.integers(0, 12)), VALUE, max_size=7)

SETTINGS = settings(
    max_examples=max(1, STEPS // 50) if STEPS else 4,
    stateful_step_count=50 if STEPS else 10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
    print_blob=True,
)


def instant(number: int | None) -> datetime | None:
    """The instant that a model calls by a number."""
    return None if number is None else EPOCH + timedelta(days=number)


class Syncs(RuleBasedStateMachine):
    """A target and its model, through one batch after another."""

    world: Any
    pipeline: Any
    options: dict[str, Any]

    @initialize()
    def begin(self) -> None:
        self.world.run("TRUNCATE w.t")
        self.run = 0
        self.batches: list[Any] = []
        self.reset()

    def reset(self) -> None:
        """Begin the model anew."""

    def apply(self, batch: Any) -> None:
        """Sync a batch, and do to the model what it should do."""
        raise NotImplementedError

    def step(self, batch: Any) -> None:
        self.apply(batch)
        self.batches.append(batch)

    @rule(data=st.data(), back=st.integers(1, 3))
    def replay(self, data: st.DataObject, back: int) -> None:
        """Deliver an earlier batch once more."""
        if self.batches:
            self.apply(self.batches[-min(back, len(self.batches))])

    def deliver(self, rows: list[tuple[Any, ...]]) -> None:
        keys, values, instants = zip(*rows, strict=True) if rows else ((), (), ())
        self.world.run(
            "WITH gone AS (DELETE FROM w.s) INSERT INTO w.s (id, a, u)"
            " SELECT * FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[])",
            list(keys),
            list(values),
            list(instants),
        )

    def sync(self) -> Any:
        return self.pipeline.sync(effective_at=instant(self.run))


class Appends(Syncs):
    """append: rows are only ever added."""

    keyed = False

    def reset(self) -> None:
        self.rows: list[Any] = []

    def apply(self, batch: dict[int, Any]) -> None:
        rows = list(batch.items())
        self.deliver([(*row, None) for row in rows])
        result = self.pipeline.sync()
        before = len(self.rows)
        self.rows = models.append(self.rows, rows, self.keyed)
        assert result.inserted == len(self.rows) - before

    @rule(batch=BATCH)
    def deliver_batch(self, batch: dict[int, Any]) -> None:
        self.step(batch)

    @invariant()
    def agree(self) -> None:
        found = self.world.run("SELECT id, a FROM w.t")
        assert sorted(found, key=repr) == sorted(self.rows, key=repr)


class KeyedAppends(Appends):
    """append with keys: each key once."""

    keyed = True


class Replacements(Appends):
    """truncate: the target is the batch."""

    def apply(self, batch: dict[int, Any]) -> None:
        rows = list(batch.items())
        self.deliver([(*row, None) for row in rows])
        assert self.pipeline.sync().inserted == len(rows)
        self.rows = models.truncate(self.rows, rows)


class Upserts(Syncs):
    """merge and scd1: one row a key, the newest."""

    def reset(self) -> None:
        self.rows: dict[int, models.Row] = {}

    def apply(self, batch: dict[int, Any]) -> None:
        self.run += 1
        self.deliver([(*row, None) for row in batch.items()])
        self.sync()
        models.upsert(self.rows, batch, self.run, self.options["handle_deletes"])

    @rule(batch=BATCH)
    def deliver_batch(self, batch: dict[int, Any]) -> None:
        self.step(batch)

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "rows"):
            return
        soft = self.options["handle_deletes"] == "soft"
        stamps = [("_changed_at", "changed")] if self.options["mode"] == "scd1" else []
        stamps += [("_deleted_at", "deleted")] if soft else []
        columns = ", ".join(["id", "a", *(column for column, _ in stamps)])
        expected = {
            (key, row.value, *(instant(getattr(row, field)) for _, field in stamps))
            for key, row in self.rows.items()
        }
        assert set(self.world.run(f"SELECT {columns} FROM w.t")) == expected


class Histories(Syncs):
    """scd2: versions that begin at the run's instant."""

    table: Any
    confirmations = False

    def reset(self) -> None:
        self.history: models.History = {}

    @rule(batch=BATCH, later=st.integers(0, 2))
    def deliver_batch(self, batch: dict[int, Any], later: int) -> None:
        self.run += later
        self.step(batch)

    def apply(self, batch: Any) -> None:
        self.deliver([(*row, None) for row in batch.items()])
        self.sync()
        models.follow(self.history, batch, self.run)
        self.end_missing(batch)

    def end_missing(self, keys: Any) -> None:
        ttl = self.options.get("ttl")
        if self.options.get("handle_deletes") or ttl is not None:
            models.end_missing(self.history, keys, self.run, ttl and ttl.days)

    @invariant()
    def agree(self) -> None:
        seen = ", _confirmed_at" if self.confirmations else ""
        rows = self.world.run(f"SELECT id, a, valid_from, valid_to{seen} FROM w.t")
        expected = [
            (key, v.value, instant(v.start), instant(v.end))
            + ((instant(v.seen),) if self.confirmations else ())
            for key, versions in self.history.items()
            for v in versions
        ]
        assert sorted(rows, key=repr) == sorted(expected, key=repr)
        with self.world.engine.connect() as connection:
            assert_scd2(connection, self.table)


class EventHistories(Histories):
    """scd2 by event time: versions begin at the rows' own instants."""

    # The rule of the parent has batches without instants.
    deliver_batch = None  # type: ignore[assignment]

    @property
    def alive(self) -> bool:
        return "handle_deletes" in self.options or "ttl" in self.options

    @rule(batch=EVENTS, later=st.integers(0, 3))
    def deliver_events(self, batch: dict[tuple[int, int], Any], later: int) -> None:
        self.run += later
        self.step(batch)

    def apply(self, batch: dict[tuple[int, int], Any]) -> None:
        self.deliver([(key, value, instant(at)) for (key, at), value in batch.items()])
        before = deepcopy(self.history)
        try:
            removed = self.expect(batch)
        except models.Refused:
            self.history = before
            with pytest.raises(InstantTooEarly):
                self.sync()
            return
        result = self.sync()
        keys = {key for key, _ in batch}
        assert result.read == len(batch)
        assert result.inserted == size(self.history) - size(before) + removed
        assert (result.unchanged == len(batch)) == (told(self.history, keys) == told(before, keys))

    def expect(self, batch: dict[tuple[int, int], Any]) -> int:
        """Do to the model what the batch should do, and count the versions that it removes."""
        keys, before = {key for key, _ in batch}, size(self.history)
        self.end_missing(keys)
        removed = before - size(self.history)
        for key in keys:
            events = {at: value for (k, at), value in batch.items() if k == key}
            self.history[key] = models.splice(self.history.get(key, []), events, self.alive)
        if not self.confirmations:
            models.forget_confirmations(self.history)
        return removed


def size(history: models.History) -> int:
    """How many versions there are."""
    return sum(len(versions) for versions in history.values())


def told(history: models.History, keys: set[int]) -> list[Any]:
    """What history says of some keys: which value from when to when."""
    return [(k, v.value, v.start, v.end) for k in sorted(keys) for v in history.get(k, [])]


class ConfirmedHistories(EventHistories):
    """scd2 by event time, where versions keep when they were last delivered."""

    confirmations = True


def check(
    world: Any, machine: type[Syncs], table: Any, source: str, options: dict[str, Any]
) -> None:
    """Run a machine on a target, through connections that stay open: a step takes several."""
    world.engine = sa.create_engine(world.engine.url)
    pipeline = world.pipe(table, source, on_empty_source="allow", **options)
    fields = {"world": world, "pipeline": pipeline, "table": table, "options": options}
    run_state_machine_as_test(type(machine.__name__, (machine,), fields), settings=SETTINGS)


PLAIN = "SELECT id, a FROM w.s"
DATED = "SELECT id, a, u FROM w.s"


def test_append_is_what_the_model_says(world: Any) -> None:
    """Whatever batches come, without keys every row is added."""
    number = sa.Column("number", sa.BigInteger, sa.Identity())
    columns = (sa.Column("id", sa.BigInteger), sa.Column("a", sa.Text))
    table = world.table("t", *columns, key=(number,))
    check(world, Appends, table, PLAIN, {"mode": "append"})


def test_keyed_append_is_what_the_model_says(world: Any) -> None:
    """Whatever batches come, a key that is there is never touched again."""
    check(world, KeyedAppends, world.table(), PLAIN, {"mode": "append"})


@pytest.mark.parametrize("how", ["truncate", "delete"])
def test_truncate_is_what_the_model_says(world: Any, how: str) -> None:
    """Whatever batches come, the target is the newest one."""
    check(world, Replacements, world.table(), PLAIN, {"mode": "truncate", "replace": how})


@pytest.mark.parametrize("mode", ["merge", "scd1"])
@pytest.mark.parametrize("deletes", [None, "soft", "hard"])
def test_upserts_are_what_the_model_says(world: Any, mode: str, deletes: str | None) -> None:
    """Whatever batches come, the target is a dict that was updated, with the right stamps."""
    check(world, Upserts, world.table(), PLAIN, {"mode": mode, "handle_deletes": deletes})


ENDINGS: dict[str, dict[str, Any]] = {
    "open": {},
    "deletes": {"handle_deletes": "soft"},
    "ttl": {"ttl": timedelta(days=3)},
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_scd2_is_what_the_model_says(world: Any, ending: str) -> None:
    """Whatever batches come, the history is the model's, and consistent."""
    check(world, Histories, world.table(), PLAIN, {"mode": "scd2", **ENDINGS[ending]})


COUNTED: dict[str, tuple[type[Syncs], dict[str, Any]]] = {
    "merge": (Upserts, {"mode": "merge", "handle_deletes": None}),
    "merge, soft deletes": (Upserts, {"mode": "merge", "handle_deletes": "soft"}),
    "scd1": (Upserts, {"mode": "scd1", "handle_deletes": None}),
    **{f"scd2, {ending}": (Histories, {"mode": "scd2", **ENDINGS[ending]}) for ending in ENDINGS},
}


@pytest.mark.parametrize("which", COUNTED)
def test_what_is_counted_in_passing_is_what_the_model_says(
    world: Any, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """The plan for large tables without a key does the same as the one for small ones."""
    monkeypatch.setattr(counted, "pays", lambda spec, shape: True)
    machine, options = COUNTED[which]
    check(world, machine, world.table(), PLAIN, options)


@pytest.mark.parametrize("confirmations", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_event_time_is_what_the_model_says(world: Any, ending: str, confirmations: bool) -> None:
    """Whatever events come in whatever order, the history is the model's, and consistent."""
    table = world.table("t", sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    options = {"mode": "scd2", "event_timestamp_column": "u", **ENDINGS[ending]}
    if confirmations:
        options["keep_confirmations"] = True
    machine = ConfirmedHistories if confirmations else EventHistories
    check(world, machine, table, DATED, options)
