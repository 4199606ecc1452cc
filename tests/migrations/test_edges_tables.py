"""Changes of tables that the server takes only in one order, or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Index, Integer, MetaData, Table

from pgflow.alembic import declare_sql
from pgflow.errors import AmbiguousRename, CannotChange
from tests.migrations.journey import Journey, State

PARTED = """
CREATE SCHEMA app;
CREATE TABLE app.m (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE app.m_1 PARTITION OF app.m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
"""
SECOND = "CREATE TABLE app.m_2 PARTITION OF app.m FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');"
POINTING = "CREATE TABLE app.r (id int, at date, FOREIGN KEY (id, at) REFERENCES app.m (id, at));"


@pytest.fixture
def journey(engine: Engine) -> Journey:
    """An empty database."""
    return Journey(engine)


def test_a_foreign_key_to_what_only_an_index_makes_unique(journey: Journey) -> None:
    """A foreign key may point to columns whose uniqueness is declared as an index."""

    def declare(metadata: MetaData) -> None:
        Table("a", metadata, Column("x", Integer), Index("u", "x", unique=True), schema="app")
        Table("b", metadata, Column("x", Integer, ForeignKey("app.a.x")), schema="app")

    journey.go(declare)
    journey.go_back()


def test_both_ends_of_a_foreign_key_get_a_type_of_another_family(journey: Journey) -> None:
    """A key and what points to it become text together, although text and int are not compared."""
    tables = (
        "CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY);"
        "CREATE TABLE app.b (a_id int REFERENCES app.a)"
    )
    journey.go(tables)
    journey.run("INSERT INTO app.a VALUES (1); INSERT INTO app.b VALUES (1)")
    journey.go(tables.replace("int", "text"))
    assert journey.rows("SELECT a_id FROM app.b") == [("1",)]


def test_text_with_a_default_becomes_an_enum(journey: Journey) -> None:
    """A default that the server cannot cast to the column's new type is taken away before."""
    journey.go("CREATE SCHEMA app; CREATE TABLE app.t (s text DEFAULT 'a' NOT NULL)")
    journey.run("INSERT INTO app.t VALUES ('b')")
    journey.go(
        "CREATE SCHEMA app; CREATE TYPE app.e AS ENUM ('a', 'b');"
        "CREATE TABLE app.t (s app.e DEFAULT 'a' NOT NULL)"
    )
    assert journey.rows("SELECT s::text FROM app.t") == [("b",)]
    journey.go_back()


def test_a_generated_column_becomes_plain_while_its_source_changes(journey: Journey) -> None:
    """The computed values stay where the column is computed no more."""
    journey.go(
        "CREATE SCHEMA app; CREATE TABLE app.t (a int, b int GENERATED ALWAYS AS (a * 3) STORED)"
    )
    journey.run("INSERT INTO app.t VALUES (5)")
    journey.go("CREATE SCHEMA app; CREATE TABLE app.t (a bigint, b int)")
    assert journey.rows("SELECT a, b FROM app.t") == [(5, 15)]
    journey.go_back()


def test_a_table_under_its_own_policy_is_taken_back(journey: Journey) -> None:
    """A policy that calls a function of the table's rows is dropped before both."""
    journey.go(
        "CREATE TABLE t (id int);"
        "CREATE FUNCTION f(t) RETURNS int LANGUAGE sql AS 'SELECT $1.id';"
        "CREATE POLICY p ON t USING (f(t) > 0)"
    )
    journey.go_back()


def test_partitions_below_a_foreign_key(journey: Journey) -> None:
    """A partition is dropped or bounded otherwise although foreign keys point to its table."""
    journey.go(PARTED, SECOND, POINTING)
    journey.run("INSERT INTO app.m VALUES (1, '2024-05-05')")
    journey.run("INSERT INTO app.r VALUES (1, '2024-05-05')")
    journey.go(PARTED.replace("'2025-01-01'", "'2025-06-01'"), SECOND, POINTING)
    journey.go_back(1)
    draft = journey.draft(PARTED, POINTING)
    assert draft.steps == ["drop table app.m_2"]
    journey.workshop.upgrade(draft)
    assert journey.rows("SELECT count(*) FROM app.r JOIN app.m USING (id, at)") == [(1,)]
    journey.workshop.downgrade(draft)
    journey.go_back()


def test_what_the_server_never_retypes_is_refused(journey: Journey) -> None:
    """Partition keys and rows kept whole elsewhere are named before anything runs."""
    kept = "CREATE TABLE app.h (old app.t)"
    journey.go(PARTED, "CREATE TABLE app.t (id int)", kept)
    with pytest.raises(CannotChange, match=r"Column app\.m\.at .* table app\.m is partitioned by"):
        journey.draft(
            PARTED.replace("at date", "at timestamp"), "CREATE TABLE app.t (id int)", kept
        )
    with pytest.raises(CannotChange, match=r"Column app\.t\.id .* column app\.h\.old holds rows"):
        journey.draft(PARTED, "CREATE TABLE app.t (id bigint)", kept)


def test_exchanged_names_are_refused(journey: Journey) -> None:
    """Nothing tells whether an exchange of names was done, so that doing it twice would undo it."""

    def declare(former: dict[str, str], *, columns: bool = False) -> State:
        def on(metadata: MetaData) -> None:
            for name in ("x", "y"):
                own = [Column("a", Integer), Column("b", Integer)]
                for each in own if columns else ():
                    each.info["renamed_from"] = former[each.name]
                info = {} if columns or not former else {"renamed_from": former[name]}
                Table(name, metadata, *own, schema="app", info=info)

        return on

    journey.go(declare({}))
    for former, columns in (({"x": "y", "y": "x"}, False), ({"a": "b", "b": "a"}, True)):
        with pytest.raises(AmbiguousRename, match="exchange their names") as caught:
            journey.draft(declare(former, columns=columns))
        assert "third name in a migration of its own" in str(caught.value)


def test_a_name_with_a_dot_is_found(journey: Journey) -> None:
    """An old name that holds a dot is looked for as it stands before it is taken apart."""

    def declare(name: str, former: str | None = None) -> State:
        info = {} if former is None else {"renamed_from": former}
        return lambda metadata: Table(name, metadata, Column("a", Integer), schema="app", info=info)

    journey.go(declare("x.y"))
    draft = journey.go(declare("z", "x.y"))
    assert draft.steps[0] == 'rename table app."x.y"'
    assert not any(step.startswith("drop") for step in draft.steps)
    journey.go_back()


@pytest.mark.parametrize("serial", [True, False])
def test_a_table_moves_with_what_it_owns(journey: Journey, serial: bool) -> None:
    """Statistics and sequences follow a table to another schema, and back those it got there."""

    def declare(schema: str, *names: str, former: str | None = None) -> list[State]:
        def on(metadata: MetaData) -> None:
            info = {} if former is None else {"renamed_from": former}
            counts = serial if former is None else not serial
            key = Column("id", Integer, primary_key=True, autoincrement=counts)
            own = [key, Column("a", Integer)]
            Table("t", metadata, *own, schema=schema, info=info)

        sql = [f"CREATE STATISTICS {schema}.{name} ON id, a FROM {schema}.t" for name in names]
        return [on, *sql]

    journey.go("CREATE SCHEMA b", *declare("a", "first"))
    journey.go("CREATE SCHEMA a", *declare("b", "first", "second", former="a.t"))
    journey.go_back()


def test_a_table_moves_and_loses_its_statistics(journey: Journey) -> None:
    """What a table is to lose goes with it to another schema, and is back when the table is."""
    table = "CREATE TABLE {}.t (id int, a int)"
    journey.go(table.format("a"), "CREATE SCHEMA b", "CREATE STATISTICS a.s ON id, a FROM a.t")

    def moved(metadata: MetaData) -> None:
        declare_sql(metadata, "CREATE SCHEMA a")
        declare_sql(metadata, table.format("b"), renamed_from="a.t")

    journey.go(moved)
    journey.go_back()


def test_a_partition_has_indexes_and_keys_like_those_of_the_whole(journey: Journey) -> None:
    """Both are made, though the server would take the partition's own ones for its share."""
    journey.go(
        "CREATE TABLE app.whole (id int, at date) PARTITION BY RANGE (at)",
        "CREATE TABLE app.part PARTITION OF app.whole FOR VALUES FROM ('2025-01-01')"
        " TO ('2026-01-01') PARTITION BY LIST (id)",
        "CREATE TABLE app.a_leaf PARTITION OF app.part FOR VALUES IN (1)",
        "CREATE INDEX a_own ON app.a_leaf (id)",
        "CREATE INDEX z_of_all ON app.whole (id)",
        "CREATE TABLE app.aim (id int PRIMARY KEY)",
        "ALTER TABLE app.part ADD CONSTRAINT a_key UNIQUE (id, at)",
        "ALTER TABLE app.whole ADD CONSTRAINT z_key UNIQUE (id, at)",
        "ALTER TABLE app.part ADD CONSTRAINT a_aim FOREIGN KEY (id) REFERENCES app.aim",
        "ALTER TABLE app.whole ADD CONSTRAINT z_aim FOREIGN KEY (id) REFERENCES app.aim",
    )
    journey.go_back()


def test_a_composite_type_that_columns_hold_keeps_its_types(journey: Journey) -> None:
    """The server changes no type inside of stored values: that is refused before, by name."""
    pair = "CREATE TYPE app.pair AS (a int, b {})"
    outer = "CREATE TYPE app.outer AS (p app.pair)"
    table = "CREATE TABLE app.holder (id int, held app.outer[])"
    journey.go(pair.format("int"), outer, table)
    with pytest.raises(CannotChange, match=r"column app\.holder\.held is made of it"):
        journey.draft(pair.format("text"), outer, table)
    journey.go(pair.format("int, c text"), outer, table)
    journey.go(pair.format("int, c text"), outer)
    journey.go(pair.format("text, c text"), outer)
    journey.go_back(2)
