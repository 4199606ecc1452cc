"""`pgflow history` and `pgflow connections`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow.connections.registry import unregister

if TYPE_CHECKING:
    from conftest import Invoke, Place


def test_history_shows_the_latest_runs_first(ready: Place, invoke: Invoke) -> None:
    """Each run is a line; a failed one shows its error and no counts."""
    assert invoke("sync", "--all").code == 0
    ready.execute("INSERT INTO warehouse.raw (id, v) VALUES (99, 'y')")
    ready.execute("ALTER TABLE warehouse.raw ADD CHECK (id < 100) NOT VALID")
    assert invoke("sync", "raw", "-p", "amount=200").code == 1
    ran = invoke("history")
    assert ran.code == 0
    assert [(row[1], row[4]) for row in ran.rows[1:]] == [
        ("raw", "failed"),
        ("report", "success"),
        ("raw", "success"),
    ]
    assert ran.rows[1][5:12] == ["-"] * 7
    assert "violates check constraint" in ran.out.splitlines()[1]
    assert ran.out.count("\n") == 4, "an error of several lines stays on one"


def test_a_failure_has_the_same_words_everywhere(ready: Place, invoke: Invoke) -> None:
    """What the result says of an error the history says, also of one that has hardly a text."""
    ready.write(
        "from sqlalchemy import text\n"
        "def lacking(conn): raise KeyError('id')\n"
        "def asking(conn): conn.execute(text('SELECT * FROM nowhere WHERE x = :x'), {'x': 4711})\n"
        'a = pgflow.Pipeline("lacking", target=raw, mode="merge", body=lacking)\n'
        'b = pgflow.Pipeline("asking", target=raw, mode="merge", body=asking)\n'
    )
    words = ("sync", "lacking", "asking", "--continue", "--format", "json")
    told = {each["pipeline"]: each["targets"][0]["error"] for each in invoke(*words).json}
    assert told["lacking"] == "KeyError: 'id'"
    assert told["asking"].startswith('relation "nowhere" does not exist\nLINE 1: SELECT')
    kept = invoke("history", "--format", "json").json
    assert {each["pipeline"]: each["error"] for each in kept} == told
    shown = invoke("history").out
    assert all(" ".join(error.split()) in " ".join(shown.split()) for error in told.values())
    assert "4711" not in shown


def test_runs_on_parts_of_one_table_are_told_apart(ready: Place, invoke: Invoke) -> None:
    """The preview of several targets and the history name the scope of each."""
    ready.write(
        "parts = [pgflow.target(raw, scope='id > 5'), pgflow.target(raw, scope='id  <= 5')]\n"
        'p = pgflow.Pipeline("p", targets=parts, mode="merge", continue_on_failure=True,'
        " source=\"SELECT 7 AS id, 'x' AS v\")\n"
    )
    lines = invoke("preview", "p").out.splitlines()
    assert [line.split("  ")[1:3] for line in lines[1:3]] == [
        ["✓ warehouse.raw", "scope=id > 5"],
        ["✓ warehouse.raw", "scope=id <= 5"],
    ]
    assert invoke("sync", "p").code == 1
    heading, *runs = invoke("history", "p").out.splitlines()
    at = heading.index("  scope ") + 2
    assert sorted(run[at:].split("  ")[0] for run in runs) == ["id <= 5", "id > 5"]


def test_history_of_one_pipeline_limited_as_json(ready: Place, invoke: Invoke) -> None:
    """NAME, --limit and --format choose what is shown, and JSON has every column."""
    for amount in ("1", "2", "3"):
        invoke("sync", "raw", "report", "-p", f"amount={amount}")
    data = invoke("history", "raw", "--limit", "2", "--format", "json").json
    assert [(each["pipeline"], each["parameters"]) for each in data] == [
        ("raw", {"amount": 3}),
        ("raw", {"amount": 2}),
    ]
    assert data[0]["inserted"] == 1
    assert data[0]["started_at"].endswith("+00:00")


def test_history_asks_the_connection_of_the_pipeline(ready: Place, invoke: Invoke) -> None:
    """A pipeline on another connection is looked up there; --connection names one by hand."""
    settings = ready.directory / "pgflow.toml"
    settings.write_text(settings.read_text().replace("connections.default", "connections.wh"))
    ready.write('p = pgflow.Pipeline("p", target=raw, mode="merge", connection="wh",'
                ' source="SELECT 1 AS id, NULL AS v")\n')  # fmt: skip
    assert invoke("sync", "p").code == 0
    assert invoke("history", "p").rows[1][1] == "p"
    assert invoke("history", "--connection", "wh").rows[1][1] == "p"
    ran = invoke("history")
    assert ran.code == 3
    assert "No connection is called 'default'." in ran.err


def test_history_of_a_pipeline_that_is_gone_is_still_there(ready: Place, invoke: Invoke) -> None:
    """The history outlives the code; a name that neither knows is an error with a suggestion."""
    invoke("sync", "raw")
    (ready.directory / "pgflow.toml").write_text(
        f'[connections.default]\ndsn = "{ready.database}"\n'
    )
    assert invoke("history", "raw").rows[1][1] == "raw"
    for more in ((), ("--format", "json")):
        ran = invoke("history", "rwa", *more)
        assert (ran.code, ran.out) == (2, "")
        assert (
            "neither the project nor the history in 'default' has a pipeline 'rwa'. Did you mean "
            "'raw'? They have: raw."
        ) in ran.err


def test_history_of_a_pipeline_that_has_not_run_is_no_error(ready: Place, invoke: Invoke) -> None:
    """A name that the project knows has no runs yet, or none that fits."""
    ran = invoke("history", "report")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "no run of 'report' is in the history\n"
    assert invoke("history", "report", "--format", "json").json == []
    invoke("sync", "raw")
    assert invoke("history", "raw", "--status", "failed").code == 0


def test_history_without_its_table_is_a_clear_error(place: Place, invoke: Invoke) -> None:
    """A database without pgflow's tables says how they are made."""
    ran = invoke("history")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(
        "pgflow: the database has no table pgflow.runs (connection 'default': postgresql database "
    )
    assert ran.err.endswith(
        "), so there is no history. Run alembic upgrade head or pgflow.create_all(), or name the "
        "connection and schema that have it.\n"
    )


def test_connections_are_listed_without_passwords(place: Place, invoke: Invoke) -> None:
    """Every known connection is a line with its place; nothing is opened and nothing given away."""
    settings = place.directory / "pgflow.toml"
    settings.write_text(
        settings.read_text()
        + '[connections.far]\ndsn = "postgresql://me:hidden@far.example/db"\n'
        + '[connections.unset]\ndsn = "${PGFLOW_NOT_SET}"\n'
    )
    ran = invoke("connections", "list")
    assert ran.code == 0
    assert [row[0] for row in ran.rows] == ["connection", "default", "far", "unset"]
    assert "hidden" not in ran.out
    assert "postgresql+psycopg://me:***@far.example/db" in ran.out
    assert "cannot be used: " in ran.out.splitlines()[3]
    data = invoke("connections", "list", "--format", "json").json
    assert [each["name"] for each in data] == ["default", "far", "unset"]


def test_connections_that_modules_register_are_known(place: Place, invoke: Invoke) -> None:
    """list, check and --connection import the project's modules; a broken one is only noted."""
    said = (
        "from pgflow.connections.registry import register\n"
        'register("crm", "postgresql://me:hidden@127.0.0.1:1/crm")\n'
        'register("sure", "sqlite://")\n'
    )
    place.write(said)
    try:
        ran = invoke("connections", "list")
        assert [row[0] for row in ran.rows] == ["connection", "crm", "default", "sure"]
        assert "register() in " in ran.out
        assert "pipelines.py:" in ran.out
        assert "hidden" not in ran.out
        checked = invoke("connections", "check")
        assert [row[:2] for row in checked.rows[1:]] == [
            ["crm", "failed"],
            ["default", "success"],
            ["sure", "success"],
        ]
        unregister("crm")
        place.write(said)
        asked = invoke("history", "--connection", "crm")
        assert "(connection 'crm': postgresql database 'crm' at 127.0.0.1:1 as me)" in asked.err
        near = invoke("history", "--connection", "crn")
        assert "Did you mean 'crm' (register() in " in near.err
        place.write("nonsense\n", head="")
        broken = invoke("connections", "check", "default")
        assert broken.code == 0
        assert "module 'pipelines' cannot be imported: NameError" in broken.err
    finally:
        unregister("crm")
        unregister("sure")


def test_connections_are_checked_by_opening_them(place: Place, invoke: Invoke) -> None:
    """A connection that answers is named with its server; one that does not ends with 3."""
    good = invoke("connections", "check", "default")
    assert good.code == 0
    assert good.rows[1][:3] == ["default", "success", "postgresql"]
    settings = place.directory / "pgflow.toml"
    settings.write_text(
        settings.read_text() + '[connections.x]\ndsn = "postgresql://me:hidden@127.0.0.1:1/db"\n'
    )
    both = invoke("connections", "check")
    assert both.code == 3
    assert [row[:2] for row in both.rows[1:]] == [["default", "success"], ["x", "failed"]]
    assert (
        "pgflow: the database cannot be reached (connection 'x': postgresql database 'db' at "
        "127.0.0.1:1 as me): " in both.err
    )
    assert "hidden" not in both.err + both.out
    assert invoke("connections", "check", "nothing").code == 3


def test_no_connection_at_all_is_said(place: Place, invoke: Invoke) -> None:
    """Without any entry the command says so instead of printing an empty table."""
    (place.directory / "pgflow.toml").unlink()
    ran = invoke("connections", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "no connection is known" in ran.err
