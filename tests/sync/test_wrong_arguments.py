"""Arguments of a type that cannot be meant, refused in the words of whoever gave them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import (
    DeclarationError,
    InvalidInstant,
    InvalidOption,
    InvalidParameter,
    InvalidSource,
    MissingParameter,
    NotAConnection,
    SourceMismatch,
    StatementFailed,
)
from pgflow.run.result import TargetResult


@pytest.mark.parametrize("given", ["2024-01-01", date(2024, 1, 1), datetime(2024, 1, 1), 5])
def test_an_instant_is_a_datetime_with_a_zone(world: Any, given: Any) -> None:
    """Text, a date, a number and a naive datetime are refused by every entry, with the form."""
    pipeline = world.pipe(world.table(), mode="scd2")
    wanted = r"datetime\(2024, 1, 1, tzinfo=timezone\.utc\)"
    for call in (
        lambda: pipeline.sync(effective_at=given),
        lambda: pipeline.dry_run(effective_at=given),
        lambda: pipeline.sync(firing=given),
        lambda: pgflow.relink(pipeline, since=given),
    ):
        with pytest.raises(InvalidInstant, match=wanted):
            call()
    assert world.run("SELECT count(*) FROM pgflow.runs") == [(0,)]


def test_only_a_pipeline_is_linked_again() -> None:
    """A name says nothing of where the pipeline is."""
    given: Any = "sales"
    with pytest.raises(DeclarationError, match=r"relink\(\) takes a pipeline, not 'sales'"):
        pgflow.relink(given)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"max_delete_ratio": "x"}, InvalidOption, "max_delete_ratio='x' is no share"),
        ({"max_delete_ratio": True}, InvalidOption, "max_delete_ratio=True is no share"),
        ({"scope": 5}, InvalidOption, "scope=5 is no condition: give SQL text"),
        ({"lookups": 5}, InvalidOption, r"lookups=5 must be a list: lookups=\[pgflow.Lookup"),
        ({"checks": "x"}, InvalidOption, "checks='x' must be a list"),
        ({"connection": 5}, NotAConnection, "pipeline 'p': int is no connection. Give a conn"),
        ({"source_connection": 5}, NotAConnection, "source_connection=: int is no connection"),
        ({"target_connection": 5}, NotAConnection, "'p': int is no connection"),
        ({"source": "app.events"}, InvalidSource, "source_table='app.events' instead"),
        ({"source": "events"}, InvalidSource, "source_table='public.events' instead"),
        ({"source": 'app."Events"'}, InvalidSource, "is a table's name"),
        ({"source": "in/a b.csv"}, InvalidSource, r"pgflow\.CSV\('in/a b.csv'\)"),
        ({"source": "a.jsonl.gz"}, InvalidSource, r"pgflow\.JSONLines\('a.jsonl.gz'\)"),
        ({"source": "a.parquet"}, InvalidSource, r"pgflow\.Parquet\('a.parquet'\)"),
    ],
)
def test_a_declaration_names_what_is_wrong(options: Any, error: Any, said: str) -> None:
    """The pipeline is refused while it is declared, before anybody connects."""
    table = pgflow.SimpleTable("t", "w", sa.MetaData(), [sa.Column("a", sa.Text)])
    given = {"source": "SELECT 1 AS a", "mode": "append", **options}
    with pytest.raises(error, match=said):
        pgflow.Pipeline("p", target=table, **given)


@pytest.mark.parametrize("kind", [pgflow.CSV, pgflow.JSONLines, pgflow.Parquet])
@pytest.mark.parametrize("path", [5, [], [5], None])
def test_files_take_paths(kind: Any, path: Any) -> None:
    """What is no path is refused by the source's own name."""
    with pytest.raises(InvalidOption, match=rf"{kind.__name__}\(\) takes a path, a pattern"):
        kind(path)


@pytest.mark.parametrize(
    "text", ["SELECT", "TABLE w.s", "VALUES (1)", "/* all */ SELECT * FROM in.csv"]
)
def test_queries_are_no_names(text: str) -> None:
    """Short queries stay queries."""
    assert pgflow.Query(text).sql == text


def test_a_function_that_returns_a_name_is_told_so(world: Any) -> None:
    """Text that a function returns is SQL too."""
    pipeline = world.pipe(world.table(), None, body=lambda: "w.s", mode="merge")
    with pytest.raises(InvalidSource, match=r"pipeline 'p': 'w.s' is a table's name.*SourceTable"):
        pipeline.sync()


def test_a_single_check_needs_no_list(world: Any) -> None:
    """`checks=` takes one as `lookups=` does."""
    world.fill((1, None, 1), (2, "x", 1))
    pipeline = world.pipe(world.table(), mode="merge", checks=checks.NotNull("a", quarantine=True))
    assert pipeline.sync().rejected == 1


def test_a_parameter_that_is_not_taken_is_no_missing_one(world: Any) -> None:
    """Unknown names and unreadable values are an error of their own, which is a missing one too."""

    def body(conn: Any, *, day: date) -> str:
        return "SELECT id, a, b FROM w.s WHERE :day IS NOT NULL"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    for given in ({"day": "soon"}, {"day": "2024-01-01", "unknown": 1}):
        with pytest.raises(InvalidParameter) as refused:
            pipeline.sync(**given)
        assert isinstance(refused.value, MissingParameter)
    with pytest.raises(MissingParameter) as missing:
        pipeline.sync()
    assert not isinstance(missing.value, InvalidParameter)


@pytest.mark.parametrize("kind", ["query", "rows", "csv"])
@pytest.mark.parametrize("shows", [True, False])
def test_a_null_for_a_column_that_takes_none_is_named(
    world: Any, tmp_path: Any, kind: str, shows: bool
) -> None:
    """The column and the ways out; values of the row only where they may be shown."""
    table = world.table("t", sa.Column("a", sa.Text, nullable=False), sa.Column("b", sa.Text))
    path = tmp_path / "x.csv"
    path.write_text("id,a,b\n1,x,y\n2,,hush\n")
    source = {
        "query": "SELECT * FROM (VALUES (1, 'x', 'y'), (2, NULL, 'hush')) AS v (id, a, b)",
        "rows": [{"id": 1, "a": "x", "b": "y"}, {"id": 2, "a": None, "b": "hush"}],
        "csv": pgflow.CSV(path),
    }[kind]
    pipeline = world.pipe(table, source, mode="merge", sample_keys=shows)
    with pytest.raises(StatementFailed) as refused:
        pipeline.sync()
    said = str(refused.value)
    assert "column 'a' of w.t takes no NULL, and a row has NULL there. Nothing was written." in said
    assert "checks=[pgflow.checks.NotNull('a', quarantine=True)]" in said
    assert "default" not in said
    assert ("hush" in said) is shows
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    world.run("ALTER TABLE w.t ALTER a SET DEFAULT 'none'")
    with pytest.raises(StatementFailed) as again:
        pipeline.sync()
    assert "'a' has a default, which counts where the source does not deliver" in str(again.value)


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        ("CHECK (b > 5)", "a row breaks the check 'broken' of w.t"),
        ("FOREIGN KEY (id) REFERENCES w.other", "a row refers by 'broken' of w.t to a row that is"),
    ],
)
def test_a_broken_constraint_is_told_with_the_ways_out(
    world: Any, constraint: str, said: str
) -> None:
    """A check or a foreign key of the target names itself and the check that keeps rows aside."""
    world.fill((1, "x", 1))
    world.run("CREATE TABLE w.other (id bigint PRIMARY KEY)")
    pipeline = world.pipe(world.table(), mode="merge")
    world.run(f"ALTER TABLE w.t ADD CONSTRAINT broken {constraint}")
    with pytest.raises(StatementFailed, match=f"{said}.*Nothing was written.*quarantine=True"):
        pipeline.sync()


def test_a_trigger_that_fails_elsewhere_is_not_taken_for_the_target(world: Any) -> None:
    """A NULL that another table refuses says nothing of the source."""
    world.fill((1, "x", 1))
    pipeline = world.pipe(world.table(), mode="merge")
    world.run(
        "CREATE TABLE w.log (a text NOT NULL);"
        "CREATE FUNCTION w.note() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO w.log VALUES (NULL); RETURN NEW; END';"
        "CREATE TRIGGER note AFTER INSERT ON w.t FOR EACH ROW EXECUTE FUNCTION w.note()"
    )
    with pytest.raises(StatementFailed) as refused:
        pipeline.sync()
    assert "Nothing was written" not in str(refused.value)
    assert 'relation "log"' in str(refused.value)


@pytest.mark.parametrize("kind", ["query", "rows", "csv"])
def test_a_key_of_another_name_is_told_how_to_be_renamed(
    world: Any, tmp_path: Any, kind: str
) -> None:
    """SQL renames by AS; rows and files by column_map=, which then works."""
    path = tmp_path / "x.csv"
    path.write_text("customer,a\n1,x\n")
    source, way = {
        "query": ("SELECT 1 AS customer, 'x' AS a", "rename it in the source's SQL: AS id"),
        "rows": ([{"customer": 1, "a": "x"}], r"column_map=\{'id': \.\.\.\}"),
        "csv": (pgflow.CSV(path), r"column_map=\{'id': \.\.\.\}"),
    }[kind]
    table = world.table()
    with pytest.raises(SourceMismatch, match=f"does not deliver 'id'.*{way}"):
        world.pipe(table, source, mode="merge").sync()
    mapped = pgflow.CSV(path, column_map={"id": "customer"})
    assert world.pipe(table, mapped, mode="merge").sync().inserted == 1


def test_a_printed_result_shows_its_warnings() -> None:
    """Their number and first lines; of many the first three; of several targets whose they are."""
    target = TargetResult(
        target="w.t", mode="merge", run_id=None, warnings=("one\nmore", "two", "three", "four")
    )
    result = pgflow.SyncResult.of("p", (target,), 0.0, False)
    assert str(result).splitlines() == [
        "p: sync in 0.00 s: nothing to do; 4 warnings",
        "  warning: one",
        "  warning: two",
        "  warning: three",
        "  and 1 more: see .targets[...].warnings",
    ]
    other = TargetResult(target="w.u", mode="merge", run_id=None, warnings=("five",))
    several = pgflow.SyncResult.of("p", (other, target), 0.0, False)
    assert str(several).splitlines()[1:3] == ["  warning: w.u: five", "  warning: w.t: one"]
