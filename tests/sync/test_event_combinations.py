"""Event time together with every other option: it combines, or it is refused."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import (
    DuplicateKeys,
    InvalidOption,
    NullKeys,
    OutOfScope,
    SourceMismatch,
    TooManyDeletes,
)
from pgflow.plugins import ColumnPKPlugin
from pgflow.testing import assert_scd2
from pgflow.types import Raw
from tests.sync.event_world import day, events

#: Three batches: a first load, a plain change, and late, corrected and repeated rows.
BATCHES = (
    [(1, "a", 1), (1, "b", 5), (2, "x", 2), (3, None, 3)],
    [(1, "c", 9), (2, "x", 6), (3, "", 3)],
    [(1, "z", 3), (1, "B", 5), (2, "w", 1), (2, "y", 8), (3, None, 7)],
)
#: What they come to.
HISTORIES = {
    1: [("a", 1, 3), ("z", 3, 5), ("B", 5, 9), ("c", 9, None)],
    2: [("w", 1, 2), ("x", 2, 8), ("y", 8, None)],
    3: [("", 3, 7), (None, 7, None)],
}


def deliver(made: Any) -> dict[int, Any]:
    """Deliver the batches, and return the histories."""
    for batch in BATCHES:
        made.sync(*batch)
    return {key: made.history(key) for key in HISTORIES}


@pytest.mark.parametrize("detection", ["values", "exact", "hash"])
def test_every_way_of_comparing_makes_the_same_history(world: Any, detection: str) -> None:
    """By values, by bytes or by a stored hash, history is the same."""
    made = events(world, change_detection=detection)
    assert deliver(made) == HISTORIES
    assert made.again() == {"unchanged": 5, "read": 5}
    if detection == "hash":
        assert world.run("SELECT count(*) FROM w.t WHERE row_hash IS NULL") == [(0,)]
        rows = world.run("SELECT a, row_hash FROM w.t")
        assert len({bytes(hashed) for _, hashed in rows}) == len({value for value, _ in rows})


def test_exact_tells_what_equality_does_not(world: Any) -> None:
    """1.0 and 1.00 are two versions to the byte, and one by value."""
    column = sa.Column("a", sa.Numeric)
    source = "SELECT id, a::numeric AS a, u FROM w.s"
    made = events(world, column, source=source, change_detection="exact")
    made.sync((1, "1.0", 1), (1, "1.00", 3), (1, "1.00", 4))
    made.sync((1, "1.0", 2), (1, "1.000", 5))
    assert [str(row[0]) for row in made.history()] == ["1.0", "1.00", "1.000"]


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("json", '{"a": 1}', '{"a":  2}'),
        ("point", "(1,2)", "(3,4)"),
        ("box", "(1,1),(0,0)", "(2,2),(0,0)"),
        ("numrange", "[1,2)", "[1,3)"),
        ("text[]", "{a,NULL}", "{}"),
    ],
)
def test_any_type_can_have_a_history(world: Any, kind: str, one: str, other: str) -> None:
    """Types without an equality or a hash are compared by their text, in batches and splices."""
    made = events(world, sa.Column("a", Raw[kind]), source=f"SELECT id, a::{kind}, u FROM w.s")
    made.sync((1, one, 1), (1, one, 2), (1, other, 3))
    made.sync((1, other, 9), (1, None, 5))
    made.sync((1, one, 4), (1, one, 8))
    texts = [row[0] for row in world.run("SELECT a::text FROM w.t ORDER BY valid_from")]
    assert len(texts) == 6
    assert texts[0] == texts[2] == texts[4]
    assert texts[3] is None
    assert texts[1] == texts[5]


def test_an_equality_of_the_types_own_counts(world: Any) -> None:
    """A value that its type takes for equal makes no version, wherever it stands."""
    world.run("CREATE EXTENSION citext")
    made = events(world, sa.Column("a", Raw["citext"]), source="SELECT id, a::citext, u FROM w.s")
    made.sync((1, "a", 1), (1, "A", 2), (1, "b", 5))
    assert made.sync((1, "B", 7), (1, "A", 3)) == {"unchanged": 2, "read": 2}
    assert made.history() == [("a", 1, 5), ("b", 5, None)]


def test_collations_of_table_and_source_may_differ(world: Any) -> None:
    """The table's collation decides, in batches and splices."""
    world.run('ALTER TABLE w.s ALTER a TYPE text COLLATE "POSIX"')
    made = events(world, sa.Column("a", sa.Text(collation="C")))
    assert deliver(made) == HISTORIES


def test_domains_and_lengths_are_no_obstacle(world: Any) -> None:
    """Columns and keys of domains, and texts of limited length, are spliced like any other."""
    world.run("CREATE DOMAIN public.label AS text CHECK (value <> 'never')")
    world.run("CREATE DOMAIN public.number AS bigint")
    for detection in ("values", "exact"):
        world.metadata.clear()
        world.run("DROP TABLE IF EXISTS w.t")
        made = events(
            world,
            sa.Column("a", Raw["label"]),
            sa.Column("c", sa.String(3)),
            key=(sa.Column("id", Raw["number"]),),
            source="SELECT id, a, left(a, 3) AS c, u FROM w.s",
            change_detection=detection,
        )
        assert deliver(made) == HISTORIES


def composite(world: Any, **options: Any) -> Any:
    """A table with two quoted key columns."""
    table = pgflow.SimpleTable(
        "Odd Table",
        "w",
        world.metadata,
        [sa.Column("A b", sa.Text), sa.Column("Seen, at", sa.DateTime(timezone=True))],
        plugins=[
            ColumnPKPlugin(sa.Column('K "1"', sa.BigInteger), sa.Column("select", sa.Text)),
        ],
    )
    source = (
        'SELECT id AS "K ""1""", split_part(a, \':\', 1) AS "select",'
        ' split_part(a, \':\', 2) AS "A b", u AS "Seen, at" FROM w.s'
    )
    return table, world.pipe(
        table, source, mode="scd2", event_timestamp_column="Seen, at", **options
    )


def test_composite_keys_and_quoted_names(world: Any) -> None:
    """Several key columns with names that need quotes have their history like any other."""
    table, pipeline = composite(world, handle_deletes="soft", keep_confirmations=True)
    for batch in ([(1, "p:a", 1), (1, "q:x", 1), (1, "p:b", 5)], [(1, "p:z", 3), (1, "q:x", 4)]):
        world.run("TRUNCATE w.s")
        for key, value, at in batch:
            world.run("INSERT INTO w.s (id, a, u) VALUES (%s, %s, %s)", key, value, day(at))
        pipeline.sync(effective_at=day(9))
    rows = world.run('SELECT "select", "A b", valid_from FROM w."Odd Table" ORDER BY 1, 3')
    assert rows == [
        ("p", "a", day(1)),
        ("p", "z", day(3)),
        ("p", "b", day(5)),
        ("q", "x", day(1)),
    ]
    with world.engine.connect() as connection:
        assert_scd2(connection, table)


def test_null_in_a_key_is_an_error_or_a_value(world: Any) -> None:
    """NULL keys are counted and refused, or have one history like any other key."""
    refusing = events(world)
    refusing.sync((1, "a", 1))
    world.run("INSERT INTO w.s (id, a, u) VALUES (NULL, 'n', now()), (NULL, 'm', now())")
    with pytest.raises(NullKeys, match="2 of 3 source rows have NULL"):
        refusing.again()
    world.run("CREATE DOMAIN public.label AS text")
    table = world.table(
        "n",
        sa.Column("code", Raw["label"]),
        sa.Column("a", sa.Text),
        sa.Column("u", sa.DateTime(timezone=True)),
        key=(sa.Column("number", sa.BigInteger, sa.Identity()),),
    )
    pipeline = world.pipe(
        table,
        "SELECT nullif(a, '-') AS code, u::text AS a, u FROM w.s",
        name="matching",
        mode="scd2",
        keys=("code",),
        on_null_key="match",
        event_timestamp_column="u",
        handle_deletes="soft",
    )
    for days in ((2, 6), (4,)):
        world.run("TRUNCATE w.s")
        for at in days:
            world.run(
                "INSERT INTO w.s (id, a, u) VALUES (1, '-', %s), (1, 'k', %s)", day(at), day(at)
            )
        pipeline.sync()
    rows = world.run("SELECT valid_from, valid_to FROM w.n WHERE code IS NULL ORDER BY 1")
    assert rows == [(day(2), day(4)), (day(4), day(6)), (day(6), None)]


def test_scope_leaves_the_rest_alone(world: Any) -> None:
    """A run in a scope splices and ends versions there, and refuses rows outside of it."""
    columns = (sa.Column("a", sa.Text), sa.Column("u", sa.DateTime(timezone=True)))
    table = world.table("t", *columns)
    source = "SELECT id, a, u FROM w.s"
    options = {"mode": "scd2", "event_timestamp_column": "u", "handle_deletes": "soft"}
    low = world.pipe(table, source, scope="id < 10", **options)
    high = world.pipe(table, source, name="high", scope="id >= 10", **options)

    def deliver_to(pipeline: Any, *rows: tuple[int, str, int]) -> None:
        world.run("TRUNCATE w.s")
        for row in rows:
            world.run("INSERT INTO w.s (id, a, u) VALUES (%s, %s, %s)", *row[:2], day(row[2]))
        pipeline.sync(effective_at=day(20))

    deliver_to(low, (1, "a", 1), (1, "b", 5), (2, "x", 1))
    deliver_to(high, (11, "a", 1), (11, "b", 5))
    deliver_to(low, (1, "z", 3), (1, "b", 5))
    with pytest.raises(OutOfScope, match="id=11"):
        deliver_to(low, (1, "b", 5), (11, "c", 9), (11, "d", 10))
    rows = world.run("SELECT id, a, valid_from, valid_to FROM w.t ORDER BY id, valid_from")
    assert rows == [
        (1, "a", day(1), day(3)),
        (1, "z", day(3), day(5)),
        (1, "b", day(5), None),
        (2, "x", day(1), day(20)),
        (11, "a", day(1), day(5)),
        (11, "b", day(5), None),
    ]


@pytest.mark.parametrize(("which", "kept"), [("last", "right"), ("first", "wrong")])
def test_on_duplicate_chooses_at_one_instant(world: Any, which: str, kept: str) -> None:
    """Of several rows of a key and an instant one counts; other instants are kept as well."""
    made = events(
        world,
        source="SELECT id, split_part(a, ':', 2) AS a, split_part(a, ':', 1)::int AS n, u FROM w.s",
        order_by="n",
        on_duplicate=which,
    )
    assert made.sync((1, "1:wrong", 2), (1, "2:right", 2), (1, "9:next", 4)) == {
        "inserted": 2,
        "read": 3,
    }
    assert made.history() == [(kept, 2, 4), ("next", 4, None)]
    with pytest.raises(DuplicateKeys, match="They also tie in order_by='n'"):
        made.sync((1, "1:p", 3), (1, "1:q", 3))


def test_guards_against_deletes_hold(world: Any) -> None:
    """max_delete_ratio counts current versions, and stops before anything is written."""
    made = events(world, handle_deletes="soft", max_delete_ratio=0.5)
    made.sync((1, "a", 1), (1, "b", 2), (2, "x", 1), (3, "y", 1), run=3)
    with pytest.raises(TooManyDeletes, match="2 of 3 live rows"):
        made.sync((1, "z", 1), run=5)
    assert made.history() == [("a", 1, 2), ("b", 2, None)]


def test_system_columns_can_be_renamed_and_left_out(world: Any) -> None:
    """Under names of its own, and with as few columns as it can do with, a table works."""
    made = events(
        world,
        keep_confirmations=True,
        system_columns={
            "valid_from": "Since",
            "valid_to": "Until",
            "_confirmed_at": "Seen",
            "is_current": None,
            "_loaded_at": None,
            "_batch_id": None,
            "_closed_batch_id": None,
        },
    )
    for batch in BATCHES:
        made.sync(*batch)
    rows = world.run('SELECT a, "Since", "Until", "Seen" FROM w.t WHERE id = 2 ORDER BY 2')
    assert rows == [
        ("w", day(1), day(2), day(1)),
        ("x", day(2), day(8), day(6)),
        ("y", day(8), None, day(8)),
    ]


def dated(kind: Any) -> tuple[Any, ...]:
    """The columns of a table whose event column is of a type."""
    return sa.Column("a", sa.Text), sa.Column("u", kind)


@pytest.mark.parametrize("kind", [sa.Date, sa.DateTime, sa.BigInteger])
def test_an_event_column_must_hold_instants(world: Any, kind: Any) -> None:
    """A date, or a time that depends on where one is, is refused when it is declared."""
    table = world.table("t", *dated(kind))
    with pytest.raises(InvalidOption, match="event_timestamp_column='u' of w.t is.*no instant"):
        world.pipe(table, mode="scd2", event_timestamp_column="u")


def test_the_database_has_the_last_word_on_the_type(world: Any) -> None:
    """A table that has another type than its declaration is refused before anything is read."""
    made = events(world)
    world.run("ALTER TABLE w.t ALTER u TYPE text")
    with pytest.raises(SourceMismatch, match="event_timestamp_column='u' is text in the target"):
        made.sync((1, "a", 1))


def test_an_inferred_key_must_not_hold_the_event_column(world: Any) -> None:
    """If every instant were a key of its own, there would be no history."""
    key = (sa.Column("id", sa.BigInteger), sa.Column("u", sa.DateTime(timezone=True)))
    table = world.table("t", sa.Column("a", sa.Text), key=key)
    with pytest.raises(InvalidOption, match="'u' of w.t is one of the merge keys"):
        world.pipe(table, mode="scd2", event_timestamp_column="u")


def test_an_event_column_cannot_be_a_system_column(world: Any) -> None:
    """The rows' own instants and the versions' limits are two things."""
    table = world.table("t", *dated(sa.DateTime(timezone=True)), system_columns={"_loaded_at": "u"})
    with pytest.raises(InvalidOption, match="'u' of w.t is a system column as well"):
        world.pipe(table, mode="scd2", event_timestamp_column="u")
