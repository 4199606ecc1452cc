"""`pgflow history` with filters and over several databases, `show` and `prune`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pgflow.alembic.apply import create_all
from pgflow.connections.registry import engine
from pgflow.project import Project

if TYPE_CHECKING:
    from conftest import Invoke, Place

#: A pipeline whose target is in another database.
ELSEWHERE = """
far_metadata = MetaData()
far = pgflow.SimpleTable("far", "warehouse", far_metadata, [Column("v", Text)],
                         plugins=[ColumnPKPlugin(Column("id", BigInteger))])
away = pgflow.Pipeline("away", target=far, mode="merge", connection="other",
                       source="SELECT 1 AS id, 'x' AS v")
"""


@pytest.fixture
def two(place: Place, make_database: Callable[[], str]) -> str:
    """The project with a second connection and a pipeline on it, all tables created."""
    url = make_database()
    path = place.directory / "pgflow.toml"
    path.write_text(f'{path.read_text()}[connections.other]\ndsn = "{url}"\n')
    place.write(ELSEWHERE)
    for metadata in Project.load().metadatas:
        names = {table.name for table in metadata.tables.values()}
        create_all(metadata, connection=engine("other" if "far" in names else "default"))
    return url


def age(place: Place, days: int) -> None:
    """Let every run have been so many days ago."""
    place.execute(
        f"UPDATE pgflow.runs SET started_at = started_at - interval '{days} days',"
        f" finished_at = finished_at - interval '{days} days'"
    )


def test_runs_are_chosen_by_status_and_age(ready: Place, invoke: Invoke) -> None:
    """--status and --since narrow the list, in text and in JSON."""
    invoke("sync", "--all")
    age(ready, 10)
    ready.execute("ALTER TABLE warehouse.raw ADD CHECK (id < 100) NOT VALID")
    assert invoke("sync", "raw", "-p", "amount=200").code == 1
    assert [row[4] for row in invoke("history", "--status", "failed").rows[1:]] == ["failed"]
    both = invoke("history", "--status", "failed", "--status", "success")
    assert len(both.rows) == 4
    assert [row[4] for row in invoke("history", "--since", "5d").rows[1:]] == ["failed"]
    data = invoke("history", "raw", "--since", "2w", "--format", "json").json
    assert [each["status"] for each in data] == ["failed", "success"]
    assert {each["connection"] for each in data} == {"default"}
    assert len(invoke("history", "--since", "2000-01-01T00:00:00Z").rows) == 4


@pytest.mark.parametrize(
    "words",
    [
        ("history", "--status", "lost"),
        ("history", "--since", "yesterday"),
        ("history", "--since", "2024-01-01"),
        ("history", "--connection", "a", "--all-connections"),
        ("history", "raw", "report"),
        ("history", "show"),
        ("history", "prune"),
        ("history", "prune", "--older-than", "soon"),
        ("history", "prune", "--older-than", "90d", "--keep-last", "0"),
    ],
)
def test_wrong_usage_ends_with_2(ready: Place, invoke: Invoke, words: tuple[str, ...]) -> None:
    """A command line that cannot be understood asks no database."""
    ran = invoke(*words)
    assert ran.code == 2
    assert "Usage: pgflow history" in ran.err


def test_all_databases_of_the_project_are_one_list(ready: Place, two: str, invoke: Invoke) -> None:
    """--all-connections reads every target's database, and a column says which has the run."""
    for name in ("raw", "away", "report"):
        assert invoke("sync", name).code == 0
    assert len(invoke("history").rows) == 3, "by default only one"
    ran = invoke("history", "--all-connections")
    assert (ran.code, ran.err) == (0, "")
    assert ran.rows[0][:3] == ["started", "connection", "pipeline"]
    assert [row[1:3] for row in ran.rows[1:]] == [
        ["default", "report"], ["other", "away"], ["default", "raw"],
    ]  # fmt: skip
    named = invoke("history", "--connection", "other", "--connection", "default", "--limit", "2")
    assert [row[1:3] for row in named.rows[1:]] == [["default", "report"], ["other", "away"]]
    data = invoke("history", "--all-connections", "--format", "json").json
    assert [each["connection"] for each in data] == ["default", "other", "default"]
    assert invoke("history", "away").rows[1][1] == "away", "a pipeline's own database is asked"


def test_a_database_that_is_down_is_named(ready: Place, two: str, invoke: Invoke) -> None:
    """The others are shown all the same, and the exit code says that something is missing."""
    invoke("sync", "raw")
    path = ready.directory / "pgflow.toml"
    path.write_text(path.read_text().replace(two, "postgresql://me:hush@127.0.0.1:1/db"))
    ran = invoke("history", "--all-connections")
    assert ran.code == 3
    assert [row[1:3] for row in ran.rows[1:]] == [["default", "raw"]]
    assert ran.err.startswith("pgflow: other: the database cannot be reached (connection 'other': ")
    assert "hush" not in ran.out + ran.err
    data = invoke("history", "--all-connections", "--format", "json")
    assert (data.code, [each["pipeline"] for each in data.json]) == (3, ["raw"])
    pruned = invoke("history", "prune", "--older-than", "1d", "--all-connections")
    assert (pruned.code, pruned.out.startswith("default: ")) == (3, True)
    assert pruned.err.startswith("pgflow: other: the database cannot be reached")


def test_a_circle_of_pipelines_keeps_nobody_from_the_history(ready: Place, invoke: Invoke) -> None:
    """What has run can be looked at and pruned, whether pipelines can be put in an order or not."""
    invoke("sync", "raw")
    ready.write(
        """
one, two = make("one"), make("two")
first = pgflow.Pipeline("first", target=one, mode="merge", source_table="warehouse.two")
second = pgflow.Pipeline("second", target=two, mode="merge", source_table="warehouse.one")
"""
    )
    assert invoke("sync", "--all").code == 3
    assert [row[1] for row in invoke("history", "--all-connections").rows[1:]] == ["raw"]
    assert invoke("history", "prune", "--older-than", "1d", "--all-connections").code == 0


def test_a_run_is_shown_whole(ready: Place, invoke: Invoke) -> None:
    """The first characters of the id, as the list shows them, are enough; the error is whole."""
    ready.execute("ALTER TABLE warehouse.raw ADD CHECK (id < 0) NOT VALID")
    assert invoke("sync", "raw").code == 1
    listed = invoke("history")
    run = listed.rows[1][listed.rows[0].index("run")]
    assert len(run) == 8
    ran = invoke("history", "show", run)
    assert ran.code == 0
    assert f"run_id       {run}" in ran.out
    assert '"amount": 3' in ran.out
    assert "violates check constraint" in ran.out
    assert ran.out.count("\n") > 10
    (data,) = invoke("history", "show", run, "--format", "json").json
    assert data["run_id"].startswith(run)
    assert data["error"].count("\n") >= 1
    unknown = invoke("history", "show", "00000000-0000")
    assert (unknown.code, unknown.out) == (2, "")
    assert "has no run 00000000-0000" in unknown.err
    assert invoke("history", "show", "what").code == 2


def test_a_run_is_looked_for_everywhere(ready: Place, two: str, invoke: Invoke) -> None:
    """With --all-connections nobody needs to know which database has it."""
    invoke("sync", "away")
    run = invoke("history", "away", "--format", "json").json[0]["run_id"]
    assert invoke("history", "show", run).code == 2
    ran = invoke("history", "show", run, "--all-connections")
    assert (ran.code, ran.err) == (0, "")
    assert ran.rows[0] == ["connection", "other"]


def test_old_runs_are_pruned(ready: Place, invoke: Invoke) -> None:
    """--dry-run counts, nothing is deleted without a yes, and what is needed stays."""
    for amount in ("1", "2", "3"):
        invoke("sync", "raw", "-p", f"amount={amount}")
    age(ready, 100)
    words = ("history", "prune", "--older-than", "90d")
    ran = invoke(*words, "--dry-run")
    assert ran.code == 0
    assert ran.out.startswith("would delete 2 runs from before ")
    assert ran.out.endswith("UTC; 1 other is still needed\n")
    refused = invoke(*words)
    assert (refused.code, refused.out) == (1, "")
    assert "Nothing was erased. 2 runs would be deleted." in refused.err
    assert "pgflow history prune" in refused.err
    assert len(invoke("history").rows) == 4
    done = invoke(*words, "--yes")
    assert done.out.startswith("deleted 2 runs from before ")
    assert [row[1] for row in invoke("history").rows[1:]] == ["raw"]
    (again,) = invoke(*words, "--format", "json").json
    assert (again["connection"], again["deleted"], again["kept"]) == ("default", 0, 1)


def test_several_databases_are_pruned(ready: Place, two: str, invoke: Invoke) -> None:
    """Each says what was deleted; too young an age is refused for all."""
    invoke("sync", "raw", "away")
    ran = invoke("history", "prune", "--older-than", "5w", "--all-connections", "--yes")
    assert [row[:3] for row in ran.rows] == [
        ["default:", "deleted", "0"], ["other:", "deleted", "0"],
    ]  # fmt: skip
    young = invoke("history", "prune", "--older-than", "2h", "--all-connections", "--yes")
    assert young.code == 2
    assert "is less than a day" in young.err


def test_a_database_that_is_down_keeps_no_other_from_being_pruned(
    ready: Place, two: str, invoke: Invoke
) -> None:
    """It is named; two names of one database are one."""
    for amount in ("1", "2"):
        invoke("sync", "raw", "-p", f"amount={amount}")
    age(ready, 100)
    path = ready.directory / "pgflow.toml"
    path.write_text(
        path.read_text().replace(two, "postgresql://me@127.0.0.1:1/db")
        + f'[connections.again]\ndsn = "{ready.database}"\n'
    )
    words = [f"--connection={name}" for name in ("other", "default", "again")]
    ran = invoke("history", "prune", "--older-than", "90d", "--yes", *words)
    assert ran.code == 3
    assert [row[:3] for row in ran.rows] == [["default:", "deleted", "1"]]
    assert ran.err.startswith("pgflow: other: the database cannot be reached (connection 'other': ")


def test_pipelines_may_be_called_as_commands_are(ready: Place, invoke: Invoke) -> None:
    """After -- every word is a pipeline's name; help shows options and commands."""
    ready.write('p = pgflow.Pipeline("show", target=raw, mode="merge",'
                ' source="SELECT 1 AS id, NULL AS v")\n')  # fmt: skip
    assert invoke("sync", "show").code == 0
    assert invoke("history", "--", "show").rows[1][1] == "show"
    assert invoke("history", "--limit", "1", "show").rows[1][1] == "show"
    ran = invoke("history", "--help")
    assert ran.code == 0
    for word in ("--status", "--since", "--all-connections", "\n  show ", "\n  prune "):
        assert word in ran.out
    assert invoke("history", "prune", "--help").code == 0
