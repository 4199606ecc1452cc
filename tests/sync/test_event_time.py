"""scd2 by event time: a version begins when its row says, whenever the row comes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pgflow.errors import DuplicateKeys, InstantTooEarly, NoInstant
from pgflow.run.events import Silence
from tests.sync.event_world import day, events


def test_all_versions_of_a_batch_are_kept_in_order(world: Any) -> None:
    """Several rows of a key are several versions; one that only repeats its values is none."""
    made = events(world)
    batch = [(1, "a", 2), (1, "c", 9), (1, "b", 5), (1, "b", 7), (2, "x", 3)]
    assert made.sync(*batch) == {"inserted": 4, "unchanged": 1, "read": 5}
    assert made.history() == [("a", 2, 5), ("b", 5, 9), ("c", 9, None)]
    assert made.history(2, "u") == [("x", 3, None, day(3))]


def test_several_versions_follow_a_current_one(world: Any) -> None:
    """A later batch with several rows of a key goes on where history ends."""
    made = events(world)
    made.sync((1, "a", 1))
    counts = made.sync((1, "b", 3), (1, "a", 4), (1, "a", 5), (1, "a", 2))
    assert counts == {"inserted": 2, "closed": 1, "unchanged": 2, "read": 4}
    assert made.history() == [("a", 1, 3), ("b", 3, 4), ("a", 4, None)]


def test_a_touched_instant_alone_makes_no_version(world: Any) -> None:
    """The event column is written with its version, and never compared."""
    made = events(world)
    made.sync((1, "a", 1))
    assert made.sync((1, "a", 5)) == {"unchanged": 1, "read": 1}
    assert made.history(1, "u") == [("a", 1, None, day(1))]


@pytest.mark.parametrize(
    ("late", "expected", "counts"),
    [
        (("z", 1), [("z", 1, 2), ("a", 2, 4), ("b", 6, None)], {"inserted": 1}),
        (("a", 1), [("a", 1, 4), ("b", 6, None)], {"updated": 1}),
        (("z", 3), [("a", 2, 3), ("z", 3, 4), ("b", 6, None)], {"inserted": 1, "updated": 1}),
        (("a", 3), [("a", 2, 4), ("b", 6, None)], {"unchanged": 1}),
        (("z", 4), [("a", 2, 4), ("z", 4, 6), ("b", 6, None)], {"inserted": 1}),
        (("a", 4), [("a", 2, 4), ("a", 4, 6), ("b", 6, None)], {"inserted": 1}),
        (("z", 5), [("a", 2, 4), ("z", 5, 6), ("b", 6, None)], {"inserted": 1}),
        (("b", 5), [("a", 2, 4), ("b", 5, None)], {"updated": 1}),
        (("z", 6), [("a", 2, 4), ("z", 6, None)], {"updated": 1}),
        (("z", 9), [("a", 2, 4), ("b", 6, 9), ("z", 9, None)], {"inserted": 1, "closed": 1}),
    ],
)
def test_an_event_goes_to_its_place(
    world: Any, late: tuple[str, int], expected: list[Any], counts: dict[str, int]
) -> None:
    """Before the first version, between two, in a gap, at a beginning, right after an end."""
    made = events(world, handle_deletes="soft")
    made.sync((1, "a", 2), (2, "-", 2), run=3)
    made.sync((2, "-", 2), run=4)
    made.sync((1, "b", 6), (2, "-", 2), run=6)
    assert made.history() == [("a", 2, 4), ("b", 6, None)]
    found = made.sync((1, *late), (2, "-", 2), run=9)
    assert {k: v for k, v in found.items() if k not in ("read", "unchanged")} == {
        k: v for k, v in counts.items() if k != "unchanged"
    }
    assert found["read"] - found.get("unchanged", 0) == (0 if "unchanged" in counts else 1)
    assert made.history() == expected


def test_late_events_shorten_a_version_that_is_over(world: Any) -> None:
    """Only the version that the late instant is in ends earlier; the ones around it stay."""
    made = events(world, system_columns={"version_id": "version_id"})
    made.sync((1, "a", 1), (1, "b", 5), (1, "c", 9))
    before = made.world.run("SELECT a, version_id, xmin FROM w.t ORDER BY valid_from")
    assert made.sync((1, "z", 6)) == {"inserted": 1, "updated": 1, "read": 1}
    after = made.world.run("SELECT a, version_id, xmin FROM w.t ORDER BY valid_from")
    assert made.history() == [("a", 1, 5), ("b", 5, 6), ("z", 6, 9), ("c", 9, None)]
    assert [row[0] for row in after] == ["a", "b", "z", "c"]
    assert [after[0], after[3]] == [before[0], before[2]]
    assert after[1][:2] == before[1][:2]


def test_what_refers_to_a_version_goes_on_referring_to_it(world: Any) -> None:
    """A version that an earlier equal event moves, or a correction changes, keeps its number."""
    made = events(world, system_columns={"version_id": "version_id"})
    made.sync((1, "a", 1), (1, "b", 5), (1, "c", 9))
    made.world.run("CREATE TABLE w.f (v bigint REFERENCES w.t (version_id))")
    made.world.run("INSERT INTO w.f SELECT version_id FROM w.t")
    numbers = dict(made.world.run("SELECT version_id, a FROM w.t"))
    made.sync((1, "b", 3), (1, "C", 9))
    assert made.history() == [("a", 1, 3), ("b", 3, 9), ("C", 9, None)]
    now = dict(made.world.run("SELECT version_id, lower(a) FROM w.t"))
    assert now == numbers


def test_the_same_instant_again_is_a_correction(world: Any) -> None:
    """A later batch replaces the values of a version that began at the row's instant."""
    made = events(world)
    made.sync((1, "a", 1), (1, "wrong", 5), (1, "c", 9), (2, "wrong", 3))
    assert made.sync((1, "right", 5), (2, "right", 3)) == {"updated": 2, "read": 2}
    assert made.history() == [("a", 1, 5), ("right", 5, 9), ("c", 9, None)]
    assert made.history(2) == [("right", 3, None)]


def test_a_correction_does_not_join_versions(world: Any) -> None:
    """A version that a correction makes equal to its neighbour stays one of its own."""
    made = events(world)
    made.sync((1, "a", 1), (1, "b", 5), (1, "c", 9))
    made.sync((1, "a", 5))
    assert made.history() == [("a", 1, 5), ("a", 5, 9), ("c", 9, None)]
    assert made.sync((1, "a", 7)) == {"unchanged": 1, "read": 1}


def test_one_instant_twice_in_a_batch_must_agree(world: Any) -> None:
    """Equal rows count once; different ones are refused by key, first load or not."""
    made = events(world)
    # The one that repeats what was valid before is no better than the other, in any order.
    for told in ("ab", "ba"):
        with pytest.raises(DuplicateKeys, match="id=4"):
            made.sync((4, "a", 1), *((4, value, 5) for value in told))
    assert made.sync((4, "a", 1), (4, "a", 5), (4, "a", 5))["inserted"] == 1
    assert made.history(4) == [("a", 1, None)]
    world.run("DELETE FROM w.t")
    for _ in range(2):
        with pytest.raises(DuplicateKeys, match=r"share a merge key and an instant \(u\): id=1"):
            made.sync((1, "a", 1), (1, "b", 1), (2, "x", 1), (3, "y", 1), (3, "y", 1))
        assert made.sync((2, "x", 1), (2, "x", 1), (3, "y", 2)).get("read") == 3
    assert made.history(2) == [("x", 1, None)]


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    ("instant", "sentence"),
    [
        ("NULL", "of 3 source rows 1 have NULL in event_timestamp_column='u'"),
        ("'infinity'", "of 3 source rows 1 have infinity"),
        ("'-infinity'", "of 3 source rows 1 have infinity"),
    ],
)
def test_a_row_without_an_instant_is_refused(
    world: Any, loaded: bool, instant: str, sentence: str
) -> None:
    """NULL and the ends of time are no instants; the message counts them, nothing is written."""
    made = events(world)
    if loaded:
        made.sync((1, "a", 1))
    made.world.run(f"INSERT INTO w.s (id, a, u) VALUES (4, 'x', {instant}), (5, 'y', now())")
    if not loaded:
        made.world.run("INSERT INTO w.s (id, a, u) VALUES (4, 'x', now())")
    before = made.world.run("SELECT count(*) FROM w.t")
    with pytest.raises(NoInstant, match=sentence):
        made.again()
    assert made.world.run("SELECT count(*) FROM w.t") == before


def test_replays_change_nothing(world: Any) -> None:
    """Any earlier batch again, in any order, leaves history as it is."""
    made = events(world)
    batches = [
        [(1, "a", 1), (1, "b", 5), (2, "x", 2)],
        [(1, "c", 9), (2, "y", 4)],
        [(1, "z", 3), (2, "x", 1), (3, "n", 7)],
    ]
    for batch in batches:
        made.sync(*batch)
    before = made.world.run("SELECT t.*, xmin FROM w.t ORDER BY id, valid_from")
    everything = [row for batch in batches for row in batch]
    for batch in (batches[0], batches[2], batches[1], everything):
        assert made.sync(*batch) == {"unchanged": len(batch), "read": len(batch)}
    assert made.world.run("SELECT t.*, xmin FROM w.t ORDER BY id, valid_from") == before


class Splice(Silence):
    """Looks which rows a run is about to put at their place in history."""

    def __init__(self, live: sa.Connection) -> None:
        self.live = live
        self.rows: list[tuple[Any, ...]] = []

    def executing(self, run: Any, statement: Any) -> None:
        if statement.purpose.startswith("put late and repeated rows"):
            rows = "SELECT id, a FROM pg_temp.pgflow_delta WHERE pgflow_op = 'several' ORDER BY u"
            self.rows = [tuple(row) for row in self.live.exec_driver_sql(rows)]


@pytest.mark.parametrize("options", [{}, {"keep_confirmations": True, "handle_deletes": "soft"}])
def test_a_log_that_is_read_again_is_only_compared(world: Any, options: dict[str, Any]) -> None:
    """Of a whole log that comes once more, only the keys with news are put in order again."""
    made = events(world, **options)
    log = [(1, "a", 1), (1, "b", 5), (1, "b", 7), (2, "x", 2), (2, "y", 4), (3, "n", 7)]
    made.sync(*log)
    world.run("INSERT INTO w.s (id, a, u) VALUES (2, 'z', %s)", day(3))
    with world.engine.begin() as live:
        splice = Splice(live)
        assert made.pipeline.sync(connection=live, observer=splice).unchanged == len(log)
    assert splice.rows == [(2, "x"), (2, "z"), (2, "y")]
    assert made.history(2) == [("x", 2, 3), ("z", 3, 4), ("y", 4, None)]


def test_any_order_of_changes_makes_one_history(world: Any) -> None:
    """One by one from new to old, the history is that of one batch."""
    made = events(world)
    batch = [(1, "a", 1), (1, "b", 3), (1, "c", 5), (1, "a", 7), (1, None, 9)]
    for row in reversed(batch):
        made.sync(row)
    backwards = made.history()
    made.world.run("TRUNCATE w.t")
    made.sync(*batch)
    assert (
        made.history()
        == backwards
        == [(v, at, end) for (_, v, at), end in zip(batch, [3, 5, 7, 9, None], strict=True)]
    )


def test_deletes_are_at_the_instant_of_the_run(world: Any) -> None:
    """A vanished key ends when the run says; without effective_at, by the server's clock."""
    made = events(world, handle_deletes="soft")
    made.sync((1, "a", 1), (2, "b", 2), run=3)
    assert made.sync((2, "b", 2), run=6) == {
        "closed": 1,
        "deleted": 1,
        "unchanged": 1,
        "read": 1,
    }
    assert made.history() == [("a", 1, 6)]
    made.sync((1, "a", 8))
    ((end,),) = world.run("SELECT valid_to > now() - interval '1 minute' FROM w.t WHERE id = 2")
    assert end is True


def test_a_delete_at_the_beginning_removes_the_version(world: Any) -> None:
    """A version that would end where it began never was; what was before it stays."""
    made = events(world, handle_deletes="soft")
    made.sync((1, "a", 1), (1, "b", 4), (2, "x", 1), run=5)
    assert made.sync((2, "x", 1), run=4) == {"deleted": 1, "unchanged": 1, "read": 1}
    assert made.history() == [("a", 1, 4)]


def test_a_delete_before_the_beginning_is_refused(world: Any) -> None:
    """A run whose instant lies before a version cannot say that the version ended."""
    made = events(world, handle_deletes="soft")
    made.sync((1, "a", 7), (2, "x", 1), run=8)
    with pytest.raises(InstantTooEarly, match="effective_at lies before history.*id=1"):
        made.sync((2, "x", 1), run=6)
    assert made.history() == [("a", 7, None)]


def test_a_key_that_is_back_begins_when_it_was_closed_at_the_earliest(world: Any) -> None:
    """Delivered again with an old instant, it goes on from its end; a newer one leaves a gap."""
    made = events(world, handle_deletes="soft")
    made.sync((1, "a", 1), (2, "x", 1), (3, "m", 1), (4, "-", 1), run=2)
    made.sync((4, "-", 1), run=6)
    counts = made.sync((1, "a", 1), (2, "y", 4), (3, "n", 8), (4, "-", 1), run=9)
    assert counts == {"inserted": 4, "updated": 1, "unchanged": 1, "read": 4}
    assert made.history(1) == [("a", 1, 6), ("a", 6, None)]
    assert made.history(2) == [("x", 1, 4), ("y", 4, 6), ("y", 6, None)]
    assert made.history(3) == [("m", 1, 6), ("n", 8, None)]


def test_an_old_event_brings_nobody_back_without_deletes(world: Any) -> None:
    """Where delivery does not mean being alive, a replay leaves a closed key closed."""
    made = events(world)
    made.sync((1, "a", 1))
    made.world.run("UPDATE w.t SET valid_to = valid_from + interval '5 days'")
    assert made.sync((1, "a", 1)) == {"unchanged": 1, "read": 1}
    assert made.sync((1, "b", 3)) == {"inserted": 1, "updated": 1, "read": 1}
    assert made.history() == [("a", 1, 3), ("b", 3, 6)]


def test_ttl_ends_what_is_old_and_not_delivered(world: Any) -> None:
    """A row that the source still delivers does not expire, however old it is."""
    made = events(world, ttl=timedelta(days=3))
    made.sync((1, "a", 1), (2, "b", 1), (3, "young", 6), run=6)
    counts = made.sync((2, "b", 1), run=8)
    assert counts == {"closed": 1, "deleted": 1, "unchanged": 1, "read": 1}
    assert made.history(1) == [("a", 1, 8)]
    assert made.history(2) == [("b", 1, None)]
    assert made.history(3) == [("young", 6, None)]


def test_confirmations_say_when_a_version_was_last_delivered(world: Any) -> None:
    """Each version keeps its newest instant, and a late change before that splits it."""
    made = events(world, keep_confirmations=True)
    made.sync((1, "a", 1), (2, "x", 2))
    assert made.confirmed() == [1]
    assert made.sync((1, "a", 7), (2, "x", 2)) == {"unchanged": 2, "read": 2}
    assert made.confirmed() == [7]
    counts = made.sync((1, "b", 4))
    assert counts == {"inserted": 2, "closed": 1, "read": 1}
    assert made.history(1, "u") == [
        ("a", 1, 4, day(1)),
        ("b", 4, 7, day(4)),
        ("a", 7, None, day(7)),
    ]
    assert made.confirmed() == [1, 4, 7]
    assert made.sync((1, "a", 1), (1, "b", 4), (1, "a", 7)) == {"unchanged": 3, "read": 3}


def test_without_confirmations_a_late_change_becomes_current(world: Any) -> None:
    """What was not kept cannot be known: this is the price of not keeping it."""
    made = events(world)
    made.sync((1, "a", 1))
    made.sync((1, "a", 7))
    made.sync((1, "b", 4))
    assert made.history() == [("a", 1, 4), ("b", 4, None)]


def test_a_confirmation_can_be_corrected(world: Any) -> None:
    """Other values at the newest sighting, or at the beginning, leave the rest as it was."""
    made = events(world, keep_confirmations=True)
    made.sync((1, "a", 1), (1, "a", 7), (2, "x", 1), (2, "x", 7))
    made.sync((1, "b", 7), (2, "y", 1))
    assert made.history(1) == [("a", 1, 7), ("b", 7, None)]
    assert made.history(2) == [("y", 1, 7), ("x", 7, None)]
    assert made.confirmed(2) == [1, 7]


def test_ttl_counts_from_the_newest_confirmation(world: Any) -> None:
    """With confirmations a version expires when nobody has delivered it for so long."""
    made = events(world, ttl=timedelta(days=3), keep_confirmations=True)
    made.sync((1, "a", 1), (2, "b", 1), run=1)
    made.sync((1, "a", 6), (2, "b", 2), run=6)
    made.sync((3, "c", 8), run=8)
    assert made.history(1) == [("a", 1, None)]
    assert made.history(2) == [("b", 1, 8)]


def test_what_the_source_does_not_deliver_goes_along(world: Any) -> None:
    """A version takes over what stood beside the one that it follows or is cut out of."""
    made = events(
        world,
        sa.Column("a", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("kind", sa.Text, server_default="new"),
        keep_confirmations=True,
    )
    made.sync((1, "a", 2), (1, "b", 6), (1, "b", 9))
    made.world.run("UPDATE w.t SET note = 'by hand: ' || a, kind = 'old'")
    made.sync((1, "c", 8), (1, "y", 3), (1, "z", 1))
    assert made.history(1, "note", "kind") == [
        ("z", 1, 2, None, "new"),
        ("a", 2, 3, "by hand: a", "old"),
        ("y", 3, 6, "by hand: a", "new"),
        ("b", 6, 8, "by hand: b", "old"),
        ("c", 8, 9, "by hand: b", "new"),
        ("b", 9, None, "by hand: b", "new"),
    ]


def test_a_run_leaves_its_mark_on_what_it_wrote(world: Any) -> None:
    """Versions carry the run that wrote them, and the run that ended them."""
    made = events(world)
    made.sync((1, "a", 1), (1, "b", 5))
    first = made.world.run("SELECT DISTINCT _batch_id FROM w.t")
    second = made.pipeline
    made.world.run("TRUNCATE w.s")
    made.world.run("INSERT INTO w.s (id, a, u) VALUES (1, 'z', '2024-01-04 00:00+00')")
    run_id = second.sync().run_id
    assert made.history(1, "_batch_id", "_closed_batch_id") == [
        ("a", 1, 3, first[0][0], run_id),
        ("z", 3, 5, run_id, None),
        ("b", 5, None, first[0][0], None),
    ]
