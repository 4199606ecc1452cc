"""Checks on the rows of a batch: all evaluated before anything is written, told in one error."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import checks
from pgflow.errors import ChecksFailed, DuplicateKeys, InvalidCheck, SourceMismatch, StatementFailed
from pgflow.plugins import CheckPlugin

ROWS = [(1, "new", 5), (2, None, -1), (3, "odd", None), (4, "new", -2)]


def outcomes(details: Any) -> dict[str, tuple[str, int]]:
    return {each["name"]: (each["outcome"], each["failed"]) for each in details["checks"]}


def test_every_failing_check_is_named_and_nothing_is_written(world: Any) -> None:
    """One error tells all failing checks with counts and keys; the passing ones are left out."""
    world.fill(*ROWS)
    pipeline = world.pipe(
        world.table(),
        mode="merge",
        checks=[
            checks.NotNull("a"),
            checks.AcceptedValues("a", ["new", "old"]),
            checks.SQLCheck("positive", "b >= 0"),
            checks.Unique("id"),
            checks.RowCount(min=10),
        ],
    )
    with pytest.raises(ChecksFailed) as failed:
        pipeline.sync()
    text = str(failed.value)
    assert text.startswith("p -> w.t: 4 of 5 checks fail: 'a not null': 1 of 4 rows (id=2);")
    assert "'a accepted values': 1 of 4 rows (id=3);" in text
    assert "'positive': 2 of 4 rows (id=2, id=4);" in text
    assert "'row count': 4 rows, wanted at least 10." in text
    assert text.endswith(
        "Correct the source, or let a check warn only (severity='warning'), tolerate some rows "
        "(max_failures=, max_ratio=), or put them aside (quarantine=True)."
    )
    assert failed.value.failed == ("a not null", "a accepted values", "positive", "row count")
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]


@pytest.mark.parametrize(
    ("check", "advice"),
    [
        (checks.RowCount(min=10), "or let a check warn only (severity='warning')."),
        (
            checks.QueryCheck("q", "SELECT false", returns="boolean"),
            "or let a check warn only (severity='warning').",
        ),
        (
            checks.QueryCheck("q", "SELECT * FROM batch"),
            "(severity='warning'), or tolerate some rows (max_failures=, max_ratio=).",
        ),
        (
            checks.NotNull("a", quarantine=True, max_failures=0),
            "(severity='warning'), or tolerate some rows (max_failures=, max_ratio=).",
        ),
    ],
)
def test_only_what_the_failing_checks_take_is_advised(
    world: Any, check: checks.DataCheck, advice: str
) -> None:
    """A check that holds or not tolerates no rows, and one that has quarantine= is not told it."""
    world.fill(*ROWS)
    with pytest.raises(ChecksFailed) as failed:
        world.pipe(world.table(), mode="merge", checks=[check]).sync()
    assert str(failed.value).endswith(advice)


def test_a_failed_run_keeps_what_its_checks_found(world: Any) -> None:
    """The history of a refused run has every check with its outcome and a few keys."""
    world.fill(*ROWS)
    pipeline = world.pipe(
        world.table(),
        mode="merge",
        checks=[checks.NotNull("a"), checks.RowCount(max=9), checks.SQLCheck("n", "b > -9")],
    )
    with pytest.raises(ChecksFailed):
        pipeline.sync()
    ((status, details),) = world.run("SELECT status, details FROM pgflow.runs")
    assert status == "failed"
    assert outcomes(details) == {
        "a not null": ("failed", 1), "row count": ("passed", 0), "n": ("passed", 0),
    }  # fmt: skip
    assert details["checks"][0]["sample_keys"] == [{"id": "2"}]


def test_checks_are_kept_when_the_run_fails_for_another_reason(world: Any) -> None:
    """Warnings of a run that later meets repeated keys are in its history."""
    world.fill((1, None, 1), (1, "x", 2))
    pipeline = world.pipe(
        world.table(), mode="merge", checks=[checks.NotNull("a", severity="warning")]
    )
    with pytest.raises(DuplicateKeys):
        pipeline.sync()
    ((details,),) = world.run("SELECT details FROM pgflow.runs")
    assert outcomes(details) == {"a not null": ("warned", 1)}


def test_warnings_go_on(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A check of severity warning is told in result, log and history, and the rows are written."""
    world.fill(*ROWS)
    pipeline = world.pipe(
        world.table(),
        mode="merge",
        checks=[checks.SQLCheck("positive", "b > 0", severity="warning")],
    )
    with caplog.at_level(logging.WARNING, "pgflow"):
        result = pipeline.sync()
    told = "check 'positive': 2 of 4 rows (id=2, id=4)"
    assert result.inserted == 4
    assert result.targets[0].warnings == (told,)
    assert told in caplog.text
    assert outcomes(result.targets[0].details) == {"positive": ("warned", 2)}
    assert world.run("SELECT details->'checks'->0->>'outcome' FROM pgflow.runs") == [("warned",)]


def test_null_passes_as_with_check(world: Any) -> None:
    """NULL fails NotNull alone: conditions, accepted values, uniqueness and relations let it."""
    world.fill((1, None, None), (2, None, None))
    table = world.table()
    pipeline = world.pipe(
        table,
        mode="merge",
        checks=[
            checks.SQLCheck("c", "b > 0 AND a = 'x'"),
            checks.AcceptedValues("a", ["x"]),
            checks.Unique("a", "b"),
            checks.Relationship("b", to=table),
            checks.QueryCheck("sum", "SELECT sum(b) > 0 FROM batch", returns="boolean"),
        ],
    )
    assert pipeline.sync().inserted == 2


@pytest.mark.parametrize(
    ("terms", "passes"),
    [
        ({"max_failures": 2}, True),
        ({"max_failures": 1}, False),
        ({"max_ratio": 0.5}, True),
        ({"max_ratio": 0.49}, False),
        ({"max_failures": 2, "max_ratio": 0.1}, False),
        ({"quarantine": True, "max_failures": 1}, False),
    ],
)
def test_limits(world: Any, terms: dict[str, Any], passes: bool) -> None:
    """So many failing rows, or such a share, are tolerated; of two limits both must hold."""
    world.fill(*ROWS)
    pipeline = world.pipe(
        world.table(), mode="merge", checks=[checks.SQLCheck("positive", "b > 0", **terms)]
    )
    if passes:
        result = pipeline.sync()
        assert outcomes(result.targets[0].details) == {"positive": ("tolerated", 2)}
        assert result.inserted == 4
    else:
        with pytest.raises(ChecksFailed):
            pipeline.sync()
        assert world.run("SELECT count(*) FROM pgflow.quarantine") == [(0,)]


def test_unique_counts_every_row_that_shares(world: Any) -> None:
    """Unique counts the rows with shared values, and names them."""
    world.fill((1, "x", 1), (2, "x", 1), (3, "y", 1))
    pipeline = world.pipe(world.table(), mode="merge", checks=[checks.Unique("a")])
    with pytest.raises(ChecksFailed, match=r"'a unique': 2 of 3 rows \(id=1, id=2\)"):
        pipeline.sync()


def test_relationships_look_at_current_versions_and_the_batch(world: Any) -> None:
    """A closed version is no counterpart; in a table that refers to itself the batch counts."""
    history = world.table("history", mode="scd2")
    dimension = world.pipe(history, name="d", mode="scd2", handle_deletes="soft")
    world.fill((1, "x", 1), (2, "x", 1))
    dimension.sync()
    world.fill((1, "x", 1))
    dimension.sync()
    facts = world.table("facts", sa.Column("ref", sa.BigInteger))
    pipeline = world.pipe(
        facts,
        "SELECT * FROM (VALUES (7::bigint, 1::bigint), (8, 2), (9, NULL)) AS v (id, ref)",
        name="f",
        mode="merge",
        checks=[checks.Relationship("ref", to=history)],
    )
    with pytest.raises(ChecksFailed, match=r"'ref relationship': 1 of 3 rows \(id=8\)"):
        pipeline.sync()
    tree = world.table("tree", sa.Column("parent", sa.BigInteger))
    rows = "SELECT * FROM (VALUES (1::bigint, NULL::bigint), (2, 1), (3, 9)) AS v (id, parent)"
    check = checks.Relationship("parent", to=tree, quarantine=True)
    result = world.pipe(tree, rows, name="t", mode="merge", checks=[check]).sync()
    assert (result.inserted, result.rejected) == (2, 1)


@pytest.mark.parametrize(("age", "passes"), [("1 hour", True), ("3 hours", False), (None, False)])
def test_freshness(world: Any, age: str | None, passes: bool) -> None:
    """The newest value must be recent; a batch without any value is not fresh."""
    if age is not None:
        world.run(f"INSERT INTO w.s (id, u) VALUES (1, now() - interval '{age}')")
        world.run("INSERT INTO w.s (id, u) VALUES (2, now() - interval '9 days')")
    pipeline = world.pipe(
        world.table("t", sa.Column("u", sa.DateTime(timezone=True))),
        "SELECT id, u FROM w.s",
        mode="merge",
        checks=[checks.Freshness("u", within=timedelta(hours=2))],
    )
    if passes:
        assert pipeline.sync().inserted == 2
    else:
        with pytest.raises(ChecksFailed, match="'u freshness': (the newest|there is no value)"):
            pipeline.sync()


def test_a_query_finds_rows_or_says_false(world: Any) -> None:
    """A query sees the batch, whatever it begins with, and its rows or its answer count."""
    world.fill(*ROWS)
    pipeline = world.pipe(
        world.table(),
        mode="merge",
        checks=[
            checks.QueryCheck(
                "low", "WITH x AS (SELECT * FROM batch) SELECT id FROM x WHERE b < 0"
            ),
            checks.QueryCheck("sum", "SELECT sum(b) > 99 FROM batch -- all", returns="boolean"),
            checks.QueryCheck("other", "SELECT 1 WHERE EXISTS (SELECT FROM w.t)"),
        ],
    )
    with pytest.raises(ChecksFailed) as failed:
        pipeline.sync()
    assert "'low': its query finds 2 rows (id=2, id=4); 'sum': its query says false" in str(
        failed.value
    )
    assert failed.value.failed == ("low", "sum")


def test_plugins_add_checks(world: Any) -> None:
    """Checks come from plugins too, also from those of the configuration, and are one list."""
    world.fill(*ROWS)
    config = pgflow.Config([CheckPlugin(checks.NotNull("a"))])
    pipeline = world.pipe(
        world.table(),
        mode="merge",
        config=config,
        checks=[checks.RowCount(min=5)],
        extra_plugins=[CheckPlugin(checks.SQLCheck("positive", "b > 0"))],
    )
    with pytest.raises(ChecksFailed) as failed:
        pipeline.sync()
    assert set(failed.value.failed) == {"row count", "a not null", "positive"}


def test_replaced_plugins_do_not_lose_checks(world: Any) -> None:
    """checks= holds although plugins= replaces the default plugins."""
    world.fill(*ROWS)
    pipeline = world.pipe(
        world.table(),
        mode="merge",
        plugins=list(pgflow.Pipeline.DEFAULT_PLUGINS),
        checks=[checks.NotNull("a")],
    )
    with pytest.raises(ChecksFailed):
        pipeline.sync()


def test_a_dry_run_evaluates_and_leaves_no_trace(world: Any) -> None:
    """dry_run has the counts and outcomes of the next run, and nothing stays."""
    world.fill(*ROWS)
    check = checks.SQLCheck("positive", "b > 0", quarantine=True)
    pipeline = world.pipe(world.table(), mode="merge", checks=[check])
    result = pipeline.dry_run()
    assert (result.inserted, result.rejected, result.read) == (2, 2, 4)
    assert "evaluate the check 'positive' on the staged rows" in str(pipeline.preview())
    assert world.run("SELECT (SELECT count(*) FROM w.t), (SELECT count(*) FROM pgflow.runs),"
                     " (SELECT count(*) FROM pgflow.quarantine)") == [(0, 0, 0)]  # fmt: skip


@pytest.mark.parametrize("mode", ["merge", "append", "scd2", "truncate", "scd1"])
def test_every_mode_reads_the_checked_rows(world: Any, mode: str) -> None:
    """In every mode rejected rows stay out, and count as rejected and read."""
    world.fill(*ROWS)
    check = checks.SQLCheck("positive", "b > 0", quarantine=True)
    pipeline = world.pipe(world.table(), mode=mode, checks=[check])
    result = pipeline.sync()
    assert (result.inserted, result.rejected, result.read) == (2, 2, 4)
    assert world.run("SELECT id FROM w.t ORDER BY id") == [(1,), (3,)]


def test_a_column_that_is_not_delivered_is_refused(world: Any) -> None:
    """A check of an unknown column stops the run before it reads, and names the columns."""
    pipeline = world.pipe(world.table(), mode="merge", checks=[checks.NotNull("c")])
    with pytest.raises(SourceMismatch, match="'c not null' is about 'c'.*delivers: id, a, b"):
        pipeline.sync()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: checks.NotNull(), "give the names of columns"),
        (lambda: checks.AcceptedValues("a", "xyz"), "as a list"),
        (lambda: checks.AcceptedValues("a", [None]), "NULL passes anyway"),
        (lambda: checks.RowCount(), "give min=, max=, max_decrease= or"),
        (lambda: checks.RowCount(max_decrease=2), "is no share: give a number 0 to 1"),
        (lambda: checks.RowCount(max_increase=-1), "is no share: give a number that is not neg"),
        (lambda: checks.AcceptedValues("a", [[1]]), "write the list as text"),
        (lambda: checks.Freshness("a", within=timedelta(1), timezone=" "), "no time zone"),
        (lambda: checks.RowCount(min=3, max=2), "more than max=2"),
        (lambda: checks.Unique("a", quarantine=True), "keeps single rows out"),
        (lambda: checks.SQLCheck("x", " "), "give SQL text"),
        (lambda: checks.NotNull("a", severity="bad"), "must be 'error' or 'warning'"),
        (lambda: checks.NotNull("a", max_ratio=2), "no share"),
        (lambda: checks.NotNull("a", quarantin=True), "takes no 'quarantin'"),
        (lambda: checks.Freshness("a", within=3), "must be a timedelta"),
        (lambda: CheckPlugin("a"), "is no check of rows"),
    ],
)
def test_a_check_that_cannot_work_is_refused(make: Any, sentence: str) -> None:
    """Mistakes are told where the check is written."""
    with pytest.raises(InvalidCheck, match=sentence):
        make()


def test_two_checks_of_one_name_are_refused(world: Any) -> None:
    """Results could not be told apart."""
    given = [checks.SQLCheck("x", "a = 'a'"), checks.SQLCheck("x", "a = 'b'")]
    with pytest.raises(InvalidCheck, match="two checks are called 'x'"):
        world.pipe(world.table(), mode="merge", checks=given)


@pytest.mark.parametrize("by", ["pipeline", "config"])
def test_keys_are_nowhere_if_they_must_not_be_shown(world: Any, by: str) -> None:
    """sample_keys=False keeps keys and values out of errors, results, logs and the history."""
    world.fill((4711, None, 1), (4711, "x", 2))
    given: dict[str, Any] = {"sample_keys": False}
    if by == "config":
        given = {"config": pgflow.Config(sample_keys=False)}
    table = world.table()
    warned = [checks.NotNull("a", severity="warning")]
    pipeline = world.pipe(table, mode="merge", checks=warned, **given)
    with pytest.raises(DuplicateKeys, match="keys are not shown") as failed:
        pipeline.sync()
    assert "4711" not in str(failed.value)
    broken = world.pipe(
        table,
        "SELECT 1::bigint AS id, '4711x'::text::int::text AS a",
        name="q",
        mode="merge",
        **given,
    )
    with pytest.raises(StatementFailed, match="InvalidTextRepresentation") as refused:
        broken.sync()
    assert refused.value.__cause__ is None
    ((found,),) = world.run("SELECT string_agg(r::text, ' ') FROM pgflow.runs AS r")
    assert "4711" not in found
    assert "warned" in found


def test_a_factory_and_a_decorator_say_the_same() -> None:
    """Equal checks make equal options."""
    assert checks.NotNull("a", quarantine=True) == checks.NotNull("a", quarantine=True)
    assert checks.NotNull("a") != checks.NotNull("b")
