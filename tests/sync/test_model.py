"""Random batches against a model in plain Python that says what is right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgflow.testing import assert_scd2

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)

#: A batch: some of five keys, each with one of three values (NULL among them).
BATCH = st.dictionaries(st.integers(1, 5), st.sampled_from(["x", "y", None]), max_size=5)
#: Steps: a batch and how much later than the one before it is.
STEPS = st.lists(st.tuples(BATCH, st.integers(0, 2)), min_size=1, max_size=8)

MODEL_SETTINGS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class History:
    """What scd2 must do: versions by key as [value, from, to]."""

    def __init__(self) -> None:
        self.versions: dict[int, list[list[Any]]] = {}

    def apply(self, batch: dict[int, Any], at: datetime, deletes: bool) -> None:
        for key, value in batch.items():
            known = self.versions.setdefault(key, [])
            if known and known[-1][2] is None:
                if known[-1][0] == value:
                    continue
                if known[-1][1] == at:
                    known[-1][0] = value
                    continue
                known[-1][2] = at
            known.append([value, at, None])
        for key, known in self.versions.items():
            if deletes and key not in batch and known and known[-1][2] is None:
                known[-1][2] = at
                if known[-1][1] == at:
                    known.pop()

    def rows(self) -> set[tuple[Any, ...]]:
        return {(key, *version) for key, known in self.versions.items() for version in known}


@pytest.fixture
def clean(world: Any) -> Iterator[Any]:
    """The same world for every example: its target is emptied by the test."""
    return world


@pytest.mark.parametrize("deletes", [None, "soft"])
def test_scd2_is_what_the_model_says(world: Any, deletes: str | None) -> None:
    """Whatever batches come, the history is the model's, and consistent."""
    table = world.table()
    pipeline = world.pipe(
        table,
        "SELECT id, a FROM w.s",
        mode="scd2",
        handle_deletes=deletes,
        on_empty_source="allow",
    )

    @MODEL_SETTINGS
    @given(STEPS)
    def check(steps: list[tuple[dict[int, Any], int]]) -> None:
        world.run("TRUNCATE w.t")
        model, at = History(), EPOCH
        for batch, later in steps:
            at += timedelta(days=later)
            world.fill(*((key, value, None) for key, value in batch.items()))
            model.apply(batch, at, deletes is not None)
            pipeline.sync(effective_at=at)
        rows = world.run("SELECT id, a, valid_from, valid_to FROM w.t")
        assert set(rows) == model.rows()
        assert len(rows) == len(set(rows))
        with world.engine.connect() as connection:
            assert_scd2(connection, table)

    check()


@pytest.mark.parametrize("mode", ["merge", "scd1"])
@pytest.mark.parametrize("deletes", [None, "hard"])
def test_upserts_are_what_the_model_says(world: Any, mode: str, deletes: str | None) -> None:
    """Whatever batches come, the target is a dict that was updated, and the counts say how."""
    pipeline = world.pipe(
        world.table(),
        "SELECT id, a FROM w.s",
        mode=mode,
        handle_deletes=deletes,
        on_empty_source="allow",
    )

    @MODEL_SETTINGS
    @given(st.lists(BATCH, min_size=1, max_size=6))
    def check(batches: list[dict[int, Any]]) -> None:
        world.run("TRUNCATE w.t")
        model: dict[int, Any] = {}
        for batch in batches:
            new = {k for k in batch if k not in model}
            changed = {k for k in batch if k in model and model[k] != batch[k]}
            gone = {k for k in model if k not in batch} if deletes else set()
            model = {k: v for k, v in {**model, **batch}.items() if k not in gone}
            world.fill(*((key, value, None) for key, value in batch.items()))
            result = pipeline.sync()
            assert (result.inserted, result.updated, result.deleted, result.unchanged) == (
                len(new),
                len(changed),
                len(gone),
                len(batch) - len(new) - len(changed),
            )
            assert dict(world.run("SELECT id, a FROM w.t")) == model

    check()
