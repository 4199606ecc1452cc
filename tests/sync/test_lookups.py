"""Facts meet history: a column gets the version of a dimension, as of the row's own instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import (
    BrokenHistory,
    InvalidOption,
    MissingMember,
    NoHistory,
    SourceMismatch,
    StatementFailed,
    UnknownColumn,
    UnresolvedLookup,
)
from pgflow.plugins import LookupPlugin

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]

#: id, customer, instant: before its first version, in each of its versions, in a gap, of a
#: customer that nobody knows, of none, and at no instant.
FACTS = [
    (1, "x", DAY[0]),
    (2, "x", DAY[1]),
    (3, "x", DAY[3]),
    (4, "y", DAY[4]),
    (5, "z", DAY[4]),
    (6, None, DAY[4]),
    (7, "x", None),
]
LINKS = "SELECT id, version FROM w.fact ORDER BY id"


@pytest.fixture
def dimension(world: Any) -> pgflow.SimpleTable:
    """Customer x with versions 2 (day 1) and 4 (day 3); y with 3, gone on day 3; and n with 1."""
    table = world.table(
        "customer",
        sa.Column("name", sa.Text),
        key=(sa.Column("code", sa.Text),),
        mode="scd2",
        system_columns={"version_id": "version", "valid_from": "From"},
    )
    world.run("CREATE TABLE w.c (code text, name text)")
    world.run("INSERT INTO w.c VALUES ('x', 'a'), ('y', 'a'), ('n', 'nobody')")
    load = world.pipe(table, "SELECT code, name FROM w.c", name="customers", handle_deletes="soft")
    load.sync(effective_at=DAY[1])
    world.run("UPDATE w.c SET name = 'b' WHERE code = 'x'; DELETE FROM w.c WHERE code = 'y'")
    load.sync(effective_at=DAY[3])
    assert world.run('SELECT code, version FROM w.customer ORDER BY code, "From"') == [
        ("n", 1),
        ("x", 2),
        ("x", 4),
        ("y", 3),
    ]
    return table


@pytest.fixture
def facts(world: Any) -> Callable[..., Any]:
    """Make a pipeline into `w.fact (id, version, at, customer)` from `w.f`, filled with `FACTS`."""
    world.run("CREATE TABLE w.f (id bigint, customer text, at timestamptz)")
    for row in FACTS:
        world.run("INSERT INTO w.f VALUES (%s, %s, %s)", *row)

    def make(*lookups: Any, source: str = "SELECT * FROM w.f", **options: Any) -> Any:
        columns = options.pop("columns", ("customer", "at"))
        kinds = {"customer": sa.Text(), "at": sa.DateTime(timezone=True)}
        nullable = options.pop("nullable", True)
        table = world.table(
            options.pop("table", "fact"),
            sa.Column("version", sa.BigInteger, nullable=nullable),
            *(sa.Column(name, kinds[name]) for name in columns),
        )
        options.setdefault("mode", "merge")
        options.setdefault("name", "facts")
        return world.pipe(table, source, lookups=lookups, **options)

    return make


def lookup(dimension: Any, **options: Any) -> pgflow.Lookup:
    """A lookup of `customer` at `at` into `version`."""
    options = {"into": "version", "at": "at", "on": "customer", **options}
    return pgflow.Lookup(dimension, **options)


def test_each_fact_gets_the_version_of_its_instant(
    world: Any, dimension: Any, facts: Any, counts: Any
) -> None:
    """What has no version gets NULL and is counted apart, in the result and in the history."""
    pipeline = facts(lookup(dimension, missing="null"))
    result = pipeline.sync()
    assert world.run(LINKS) == [
        (1, None),
        (2, 2),
        (3, 4),
        (4, None),
        (5, None),
        (6, None),
        (7, None),
    ]
    expected = {"rows": 7, "found": 2, "unknown": 1, "early": 1, "gap": 1, "blank": 1, "undated": 1}
    assert result.targets[0].details["lookup version"] == [expected]
    kept = world.run("SELECT details -> 'lookup version' FROM pgflow.runs WHERE pipeline = 'facts'")
    assert kept == [([expected],)]
    (warning,) = result.targets[0].warnings
    assert "1 with a key that it does not have (customer='z'): NULL" in warning
    assert "1 from before the first version of their key (customer='x'): NULL" in warning
    assert counts(pipeline.sync()) == {"unchanged": 7, "read": 7}


def test_rows_without_a_version_are_refused_by_default(
    world: Any, dimension: Any, facts: Any
) -> None:
    """The error counts each kind and names keys; nothing is written."""
    with pytest.raises(UnresolvedLookup) as raised:
        facts(lookup(dimension)).sync()
    message = str(raised.value)
    for part in (
        "lookup 'version' in w.customer:",
        "1 with a key that it does not have (customer='z'): refused",
        "1 from when no version of their key was valid (customer='y')",
        "1 without an instant (customer='x')",
        "early='first_version'",
    ):
        assert part in message
    assert "without a key" not in message
    assert world.run("SELECT count(*) FROM w.fact") == [(0,)]


def test_at_most_five_keys_are_named(world: Any, dimension: Any, facts: Any) -> None:
    """Many unknown keys make a short message with their number."""
    world.run("TRUNCATE w.f")
    world.run(
        "INSERT INTO w.f SELECT i, 'u' || mod(i, 50), now() FROM generate_series(100, 299) AS i"
    )
    with pytest.raises(
        UnresolvedLookup, match=r"200 with a key.*\('u0', .*, \.\.\.\)|200 with"
    ) as e:
        facts(lookup(dimension)).sync()
    assert str(e.value).count("customer='u") == 5
    assert ", ...)" in str(e.value)


def test_the_nearest_version_can_stand_in(world: Any, dimension: Any, facts: Any) -> None:
    """Early facts can have the first version, those in a gap the one before; both are told."""
    world.run("DELETE FROM w.f WHERE id IN (5, 7)")
    result = facts(lookup(dimension, early="first_version", gap="last_version")).sync()
    assert world.run(LINKS) == [(1, 2), (2, 2), (3, 4), (4, 3), (6, None)]
    (counted,) = result.targets[0].details["lookup version"]
    assert (counted["early"], counted["gap"], counted["found"]) == (1, 1, 2)
    assert "the first version" in result.targets[0].warnings[0]
    assert "the version before" in result.targets[0].warnings[0]


@pytest.mark.parametrize("member", [1, {"code": "n"}])
def test_the_unknown_member_stands_for_what_is_missing(
    world: Any, dimension: Any, facts: Any, member: object
) -> None:
    """It is a value, or a row of the dimension; a column that is NOT NULL can have it."""
    missing = {"missing": "member", "member": member}
    facts(lookup(dimension, **missing, early="first_version"), nullable=False).sync()
    assert world.run(LINKS) == [(1, 2), (2, 2), (3, 4), (4, 1), (5, 1), (6, 1), (7, 1)]


def test_an_unknown_member_that_is_not_there_is_refused(
    world: Any, dimension: Any, facts: Any
) -> None:
    """The row that is to stand for unknown members is looked for before anything is written."""
    with pytest.raises(MissingMember, match=r"w\.customer has no row code='nobody'"):
        facts(lookup(dimension, missing="member", member={"code": "nobody"})).sync()


@pytest.mark.parametrize("mode", ["append", "truncate", "merge", "scd1", "scd2"])
def test_every_mode_takes_lookups(world: Any, dimension: Any, facts: Any, mode: str) -> None:
    """The key and the instant need not be columns of the target, and rows stay one each."""
    pipeline = facts(lookup(dimension, missing="null"), mode=mode, columns=())
    pipeline.sync()
    result = pipeline.sync()
    assert result.read == 7
    assert world.run("SELECT id, version FROM w.fact ORDER BY id")[1:3] == [(2, 2), (3, 4)]
    assert world.run("SELECT count(*) FROM w.fact") == [(7,)]


def test_an_incremental_run_links_what_it_reads(world: Any, dimension: Any, facts: Any) -> None:
    """Only rows from the watermark on are looked up, and the watermark advances."""
    pipeline = facts(lookup(dimension, missing="null"), incremental_column="id")
    assert pipeline.sync().read == 7
    world.run("INSERT INTO w.f VALUES (8, 'x', %s)", DAY[2])
    result = pipeline.sync()
    assert result.targets[0].details["lookup version"][0]["rows"] == 2
    assert world.run("SELECT version FROM w.fact WHERE id = 8") == [(2,)]


def test_a_source_table_and_several_lookups(world: Any, dimension: Any) -> None:
    """Columns that only a lookup needs are taken from a source table; each lookup is its own."""
    world.run("CREATE TABLE w.o (id bigint, buyer text, seller text, at timestamptz)")
    world.run("INSERT INTO w.o VALUES (1, 'x', 'y', %s), (2, 'n', 'x', %s)", DAY[2], DAY[5])
    columns = [sa.Column(name, sa.BigInteger) for name in ("bought_by", "sold_by")]
    pipeline = world.pipe(
        world.table("deal", *columns),
        source=None,
        source_table="w.o",
        mode="merge",
        lookups=[
            lookup(dimension, into="bought_by", on={"buyer": "code"}),
            lookup(dimension, into="sold_by", on=["seller"]),
        ],
    )
    result = pipeline.sync()
    assert world.run("SELECT id, bought_by, sold_by FROM w.deal ORDER BY id") == [
        (1, 2, 3),
        (2, 1, 4),
    ]
    assert set(result.targets[0].details) >= {"lookup bought_by", "lookup sold_by"}
    assert result.targets[0].warnings == ()


def test_composite_keys_and_another_column(world: Any) -> None:
    """Every key of the dimension is matched, and select= takes any column of the version."""
    key = (sa.Column("tenant", sa.Integer), sa.Column("code", sa.Text))
    dimension = world.table("d", sa.Column("name", sa.Text), key=key, mode="scd2")
    load = world.pipe(dimension, "SELECT 1 AS tenant, 'k' AS code, 'one' AS name", name="d")
    load.sync(effective_at=DAY[1])
    target = world.table("fact", sa.Column("name", sa.Text))
    source = pgflow.Query(
        "SELECT i AS id, i AS t, 'k' AS c, :at::timestamptz AS at FROM generate_series(1, 2) AS i",
        {"at": DAY[2]},
    )
    named = {"into": "name", "at": "at", "on": ["t", "c"], "select": "name", "missing": "null"}
    pipeline = world.pipe(
        target, source, mode="append", lookups=[pgflow.Lookup(dimension, **named)]
    )
    result = pipeline.sync()
    assert world.run("SELECT id, name FROM w.fact ORDER BY id") == [(1, "one"), (2, None)]
    assert "does not have (t='2', c='k'): NULL" in result.targets[0].warnings[0]


def test_a_dry_run_counts_and_a_preview_shows(world: Any, dimension: Any, facts: Any) -> None:
    """Neither writes; the preview says what is looked up, and what becomes of the rest."""
    pipeline = facts(lookup(dimension, missing="null", early="first_version"))
    assert pipeline.dry_run().targets[0].details["lookup version"][0]["early"] == 1
    shown = str(pipeline.preview())
    assert "lookup version" in shown
    assert "by customer, as of at; unknown: null, early: first_version, gap: null" in shown
    assert world.run("SELECT count(*) FROM w.fact") == [(0,)]


def test_it_joins_the_callers_transaction(world: Any, dimension: Any, facts: Any) -> None:
    """Two runs in one transaction do not stumble over each other's temporary tables."""
    pipeline = facts(lookup(dimension, missing="null"), incremental_column="id")
    pipeline.sync()
    with world.engine.begin() as connection:
        for _ in range(2):
            pipeline.sync(connection=connection)
        left = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_class WHERE starts_with(relname, 'pgflow_')"
        ).scalar()
    assert left == 0


def test_overlapping_versions_are_refused(world: Any, dimension: Any, facts: Any) -> None:
    """A dimension that somebody has broken by hand must not make two facts of one."""
    world.run(
        'INSERT INTO w.customer (code, name, "From", valid_to) VALUES (%s, %s, %s, %s)',
        "x", "twice", DAY[2], DAY[20],
    )  # fmt: skip
    with pytest.raises(BrokenHistory, match=r"7 rows became 8 .*w\.customer.*overlap"):
        facts(lookup(dimension, missing="null")).sync()


def test_what_does_not_fit_is_refused_before_a_row_is_read(
    world: Any, dimension: Any, facts: Any
) -> None:
    """Missing and superfluous source columns, local instants, and types that do not compare."""
    null = lookup(dimension, missing="null")
    for source, message in (
        ("SELECT id, at FROM w.f", "needs the column 'customer'"),
        ("SELECT *, 1 AS version FROM w.f", "the source delivers 'version', which a lookup fills"),
        ("SELECT id, customer, at::date AS at FROM w.f", "'at' is date.*AT TIME ZONE"),
    ):
        with pytest.raises(SourceMismatch, match=message):
            facts(null, source=source, columns=(), table=f"t{len(message)}", name=message).sync()
    source = "SELECT id, at, 1 AS customer FROM w.f"
    with pytest.raises(StatementFailed, match="compare customer with the key of w.customer"):
        facts(null, source=source, columns=(), table="typed", name="typed").sync()
    with pytest.raises(SourceMismatch, match="'version' is timestamp"):
        facts(lookup(dimension, missing="null", select="From"), table="text", name="text").sync()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"missing": "nothing"}, InvalidOption, "missing='nothing' is unknown"),
        ({"early": "last_version"}, InvalidOption, "early='last_version' is unknown"),
        ({"missing": "member"}, InvalidOption, "member= does not say which one"),
        ({"member": 3}, InvalidOption, "nothing says where"),
        ({"missing": "member", "member": {"x": 1}}, InvalidOption, "whose key is .code."),
        ({"on": ["a", "b"]}, InvalidOption, r"of the dimension \(code\)"),
        ({"into": "versoin"}, UnknownColumn, "'versoin' is no column.*Did you mean 'version'"),
        ({"into": "_loaded_at"}, UnknownColumn, "no column of w.fact that a source could fill"),
        ({"select": "nmae"}, UnknownColumn, "Did you mean 'name'"),
    ],
)
def test_a_lookup_that_cannot_work_is_refused_when_it_is_declared(
    dimension: Any, facts: Any, options: Any, error: type[Exception], message: str
) -> None:
    """The message names the lookup and what would work."""
    with pytest.raises(error, match=message):
        facts(lookup(dimension, **options))


def test_dimensions_that_cannot_be_looked_up_are_refused(
    world: Any, dimension: Any, facts: Any
) -> None:
    """A table without history or version numbers, something that is no table, NULL for NOT NULL."""
    with pytest.raises(NoHistory, match="keeps no history"):
        facts(lookup(world.table("plain")), table="f1")
    unnumbered = world.table("unnumbered", mode="scd2")
    with pytest.raises(InvalidOption, match=r"does not number its versions.*version_id"):
        facts(lookup(unnumbered), table="f2")
    with pytest.raises(InvalidOption, match="'customer' is no table"):
        facts(lookup("customer"), table="f3")
    with pytest.raises(InvalidOption, match="'version' is NOT NULL"):
        facts(lookup(dimension, missing="null"), table="f4", nullable=False)
    with pytest.raises(InvalidOption, match="fills 'version' twice"):
        facts(lookup(dimension), lookup(dimension), table="f5")
    with pytest.raises(InvalidOption, match=r"takes pgflow\.Lookup"):
        LookupPlugin(dimension)


def test_the_plugin_does_the_same(world: Any, dimension: Any, facts: Any) -> None:
    """lookups= is short for the plugin."""
    plugin = LookupPlugin(lookup(dimension, missing="null"))
    target = world.table("fact", sa.Column("version", sa.BigInteger))
    source = "SELECT id, customer, at FROM w.f"
    pipeline = world.pipe(target, source, mode="append", extra_plugins=[plugin])
    pipeline.sync()
    assert world.run(LINKS)[1:3] == [(2, 2), (3, 4)]


def test_a_source_elsewhere_is_linked_where_the_target_is(
    world: Any, dimension: Any, facts: Any, make_database: Callable[[], str]
) -> None:
    """Rows of another database are looked up in the dimension beside their target."""
    elsewhere = sa.create_engine(make_database(), poolclass=sa.NullPool)
    with elsewhere.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE f (id bigint, customer text, at timestamptz)")
        for row in FACTS:
            connection.exec_driver_sql("INSERT INTO f VALUES (%s, %s, %s)", row)
    target = world.table("fact", sa.Column("version", sa.BigInteger))
    pipeline = pgflow.Pipeline(
        "facts",
        target=target,
        source="SELECT * FROM f",
        source_connection=elsewhere,
        target_connection=world.engine,
        mode="merge",
        lookups=[lookup(dimension, missing="null")],
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    assert pipeline.sync().inserted == 7
    assert world.run(LINKS)[1:3] == [(2, 2), (3, 4)]
    assert pipeline.sync().unchanged == 7
    elsewhere.dispose()
