"""Previews of every mode and path, with the database up and down: text, JSON, Markdown, EXPLAIN."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import InvalidBody, InvalidOption
from pgflow.observe.listing import printable
from tests.sync.conftest import World
from tests.sync.preview_schema import check

EVERYTHING = "SELECT id, a, b, u FROM w.s"
MODES: dict[str, dict[str, Any]] = {
    "append": {},
    "truncate": {},
    "truncate scope": {"scope": "id < 100"},
    "merge": {},
    "merge incremental": {"incremental_column": "u", "lookback": timedelta(days=1)},
    "merge order": {"order_by": "u", "on_duplicate": "last"},
    "scd1": {"handle_deletes": "soft"},
    "scd2": {"handle_deletes": "soft"},
    "scd2 event": {"event_timestamp_column": "u"},
    "scd2 ttl": {"event_timestamp_column": "u", "ttl": timedelta(days=3)},
}
TRACES = (
    "SELECT ctid::text, xmin::text, t::text FROM w.t AS t",
    "SELECT ctid::text, xmin::text, s::text FROM w.s AS s",
    "SELECT count(*) FROM pgflow.runs",
    "SELECT count(*) FROM pgflow.watermarks",
    "SELECT oid FROM pg_class ORDER BY oid",
)
ROOT = str(Path(__file__).parents[2])
DOWN = "postgresql://nobody:hush@localhost:1/none"


def table(world: Any, case: str, name: str = "t") -> Any:
    """A target that has all columns of the source but the event's or the position's."""
    columns = [sa.Column("a", sa.Text), sa.Column("b", sa.Numeric(10, 2))]
    if case in ("merge order", "scd2 event", "scd2 ttl"):
        columns.append(sa.Column("u", sa.DateTime(timezone=True)))
    return world.table(name, *columns)


class Undeclared(World):
    """A world without a database, in which tables can be declared."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # nobody asks it anything


def source(case: str) -> str:
    """A query that delivers what the mode needs."""
    return EVERYTHING if MODES[case].keys() - {"keys", "scope", "handle_deletes"} else (
        "SELECT id, a, b FROM w.s"
    )  # fmt: skip


def traces(world: Any) -> list[Any]:
    return [world.run(query) for query in TRACES]


def looked_at(pipeline: Any, analyze: bool = False) -> Any:
    """A preview, with what every preview has to be."""
    preview = pipeline.preview(analyze=analyze)
    text, markdown = preview.render(verbose=True), preview.to_markdown()
    data = json.loads(preview.to_json())
    check(data)
    assert preview.to_json() == pipeline.preview(analyze=analyze).to_json()
    assert "hush" not in str(preview) + text + markdown + preview.to_json()
    assert "\x1b" not in text + markdown
    for target in preview.targets:
        for subject, decision in target.decisions:
            assert subject in text
            assert decision.reason or decision.value in ("not known", False), subject
        steps = [statement for statement, _ in target.steps]
        assert all(printable(s.text) in markdown for s in steps)
        assert all(printable(line) in text for s in steps for line in s.text.splitlines())
        assert markdown.count("```sql") >= len(steps)
    return preview


@pytest.mark.parametrize(
    ("case", "path"),
    [
        *((case, "here") for case in MODES),
        ("merge incremental", "elsewhere"),
        ("scd2", "elsewhere"),
        ("truncate", "rows"),
        ("merge incremental", "rows"),
        ("scd2 event", "rows"),
    ],
)
def test_every_mode_and_path_is_shown_and_leaves_no_trace(
    world: Any, far: Any, case: str, path: str
) -> None:
    """Before the first run and after it: every statement, the same bytes twice, nothing written."""
    options = dict(MODES[case])
    given: Any = source(case)
    if path == "elsewhere":
        options["source_connection"] = far.engine
    elif path == "rows":
        names = re.findall(r"\b[abu]\b|\bid\b", given.partition(" FROM")[0])
        row = {"id": 1, "a": "x", "b": 1, "u": "2024-01-02T00:00:00Z"}
        types = {"u": "timestamptz"} if "u" in names else {}
        given = pgflow.Rows([{n: row[n] for n in names}], types=types)
    pipeline = world.pipe(table(world, case), given, mode=case.split()[0], **options)
    for database in (world, far):
        database.run("INSERT INTO w.s VALUES (1, 'x', 1, '2024-01-01')")
    for ran in (False, True):
        before = traces(world)
        preview = looked_at(pipeline, analyze=True)
        (target,) = preview.targets
        assert preview.ok, target.problem
        assert (target.problem, target.unknown) == ("", ())
        assert target.decision("path") == {"here": "same_db", "elsewhere": "copy"}.get(path, "rows")
        assert (target.source == "") == (path == "here")
        assert traces(world) == before
        if not ran:
            result = pipeline.sync()
            assert result.plan is not None
            shown = [statement.text for statement, _ in target.steps]
            assert result.plan.statements[0].text in shown


@pytest.mark.parametrize("case", MODES)
def test_without_the_database_every_mode_is_shown_and_says_what_it_does_not_know(
    case: str,
) -> None:
    """The decisions, the reason why not more is known, and what that is."""
    pipeline = pgflow.Pipeline(
        "p", target=table(Undeclared(), case), source=source(case), mode=case.split()[0],
        connection=DOWN, **MODES[case],
    )  # fmt: skip
    preview = looked_at(pipeline, analyze=True)
    (target,) = preview.targets
    assert preview.ok
    assert target.decision("mode") == case.split()[0]
    assert target.connection == "postgresql database 'none' at localhost:1 as nobody"
    assert target.unknown[:2] == (
        "which columns the source delivers, and of which types",
        "whether the target is as declared, and how many rows it has",
    )
    assert ("how far the source was read" in target.unknown) == ("incremental" in case)
    assert "not known: " in str(preview)
    assert "so it is not known which columns" in str(preview)
    assert preview.targets[0].summary.startswith("? w.t")
    assert target.steps


def test_a_source_that_is_down_is_not_a_refusal(world: Any) -> None:
    """The target answers, the source does not: the path is not known, and nothing is refused."""
    pipeline = world.pipe(world.table(), mode="merge", source_connection=DOWN)
    (target,) = looked_at(pipeline).targets
    assert not target.refused
    assert "how the rows get to the target" in target.unknown
    assert target.decision("path") == "not known"


def test_what_can_be_told_without_the_database_is_told(tmp_path: Path) -> None:
    """A function that needs no connection is called; a file that is missing is a refusal."""
    target = Undeclared().table()

    def rows() -> Any:
        return pgflow.Rows([{"id": 1}])

    def needs(conn: Any) -> Any:
        return f"SELECT {conn.exec_driver_sql('SELECT 1').scalar()} AS id"

    def preview(**options: Any) -> Any:
        options = {"mode": "merge", "connection": DOWN, **options}
        return looked_at(pgflow.Pipeline("p", target=target, **options)).targets[0]

    assert preview(body=rows).decision("path") == "rows"
    assert preview(source_table="w.s").decision("path") == "same_db"
    assert preview(source_table="w.s", source_connection="sqlite://").decision("path") != "same_db"
    asked = preview(body=needs)
    assert not asked.refused
    assert "the function needs its connection, which cannot be had" in asked.problem
    missing = preview(source=pgflow.CSV(tmp_path / "none.csv"))
    assert missing.refused
    assert missing.problem.count("there is no file") == 1


def test_rows_that_can_be_read_once_are_left_to_the_run(world: Any) -> None:
    """A preview looks at no row of Python's."""
    rows = iter([{"id": 1, "a": "x", "b": 1}])
    pipeline = world.pipe(world.table(), pgflow.Rows(rows), mode="merge")
    assert looked_at(pipeline, analyze=True).ok
    assert pipeline.sync().inserted == 1


def test_a_function_that_works_itself_writes_nothing_in_a_preview(world: Any) -> None:
    """What it does through its connection is rolled back, whatever it returns."""

    def body(conn: Any) -> Any:
        conn.exec_driver_sql("INSERT INTO w.t (id) VALUES (1)")
        return {"inserted": 1}

    pipeline = world.pipe(world.table(), None, body=body, mode="append")
    preview = looked_at(pipeline, analyze=True)
    assert preview.targets[0].decision("path") == "function"
    assert "function does the work itself" in preview.to_markdown()
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    pipeline.sync()
    assert world.run("SELECT count(*) FROM w.t") == [(1,)]


def test_a_function_is_called_once(world: Any) -> None:
    """Also where the run would be refused: what it does besides is done once."""
    calls: list[int] = []

    def body(conn: Any) -> Any:
        calls.append(1)
        return "SELECT id, a, 1 AS z FROM w.s"

    pipeline = world.pipe(world.table(), None, body=body, mode="merge")
    assert not pipeline.preview().ok
    assert calls == [1]


# -- EXPLAIN ---------------------------------------------------------------------------


def plans(preview: Any) -> dict[str, Any]:
    """The server's plans by what their statements are for; the first of a purpose."""
    return {s.purpose: told for s, told in reversed(preview.targets[0].steps)}


def test_the_server_is_asked_for_its_plans_and_executes_nothing(world: Any) -> None:
    """With the values of the run bound; what reads a table that is made before says so."""
    world.run("CREATE SEQUENCE w.calls")
    query = "SELECT id, a, b, u FROM w.s WHERE nextval('w.calls') > 0"
    pipeline = world.pipe(world.table(), query, mode="merge", incremental_column="u")
    world.fill((1, "a", 1))
    world.run("UPDATE w.s SET u = '2024-01-01'")
    pipeline.sync()
    calls = world.run("SELECT last_value FROM w.calls")
    preview = pipeline.preview(analyze=True)
    assert world.run("SELECT last_value FROM w.calls") == calls
    told = plans(preview)
    stage = told["put the source's rows into a stage"]
    assert any("Seq Scan on s" in line for line in stage.lines)
    assert any("'2024-01-01T00:00:00+00:00'" in line for line in stage.lines), "values are bound"
    assert stage.data["Plan"]["Node Type"]
    assert told["tell the planner what is in the stage"].missing == "EXPLAIN takes no ANALYZE"
    update = told["update changed rows"]
    assert (update.lines, update.data) == ((), None)
    assert update.missing == "it reads pg_temp.pgflow_delta, which the run makes before"
    assert "-- the server's plan:" in str(preview)
    assert "The server's plan:\n\n```text\n" in preview.to_markdown()
    assert all(told is None for _, told in pipeline.preview().targets[0].steps)


def test_what_planning_locks_is_let_go_of(world: Any, database: str) -> None:
    """After each statement has been planned, the preview holds no lock of a writer."""
    world.run(
        "CREATE FUNCTION w.locks() RETURNS bigint STABLE LANGUAGE sql AS $$ SELECT count(*) FROM"
        " pg_locks WHERE pid = pg_backend_pid() AND mode = 'RowExclusiveLock' $$"
    )
    pipeline = world.pipe(world.table(), mode="append")
    seen: list[int] = []

    @sa.event.listens_for(world.engine, "rollback_savepoint")
    def look(connection: Any, *_: object) -> None:
        seen.append(1)

    @sa.event.listens_for(world.engine, "rollback")
    def last(connection: Any) -> None:
        cursor = connection.connection.driver_connection.execute("SELECT w.locks()")
        seen.append(-cursor.fetchone()[0])

    pipeline.preview(analyze=True)
    assert seen[-1] == 0
    assert sum(seen) >= 1, "statements were planned"


def test_the_planner_may_not_write_either(world: Any) -> None:
    """A function that lies about itself is called by the planner, which is told to read only."""
    world.run("CREATE SEQUENCE w.calls")
    world.run(
        "CREATE FUNCTION w.liar() RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN nextval('w.calls'); END $$"
    )
    pipeline = world.pipe(world.table(), "SELECT w.liar() AS id, a, b FROM w.s", mode="append")
    told = plans(pipeline.preview(analyze=True))["load the empty target"]
    assert "cannot execute nextval() in a read-only transaction" in told.missing


def test_the_sources_server_is_asked_for_its_plan(world: Any, far: Any) -> None:
    """Of a copy the query is explained where it will run."""
    pipeline = world.pipe(world.table(), mode="merge", source_connection=far.engine)
    told = plans(pipeline.preview(analyze=True))["copy the source's rows into the stage"]
    assert told.missing == "EXPLAIN takes no COPY"
    assert any("Seq Scan on s" in line for line in told.feed.lines)
    assert "the source's server's plan:" in str(pipeline.preview(analyze=True))


def test_a_plan_that_the_server_refuses_is_no_refusal_of_the_preview(world: Any) -> None:
    """A role that may not write is told so by the server already here."""
    pipeline = world.pipe(world.table(), mode="append")
    role = f"reader_{os.getpid()}"
    world.run(f"CREATE ROLE {role}")
    try:
        world.run(f"GRANT USAGE ON SCHEMA w, pgflow TO {role}")
        world.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA w, pgflow TO {role}")

        @sa.event.listens_for(world.engine, "connect")
        def as_reader(connection: Any, _: object) -> None:
            connection.execute(f"SET ROLE {role}")
            connection.commit()

        told = plans(pipeline.preview(analyze=True))["load the empty target"]
        assert told.missing == "the server refuses: permission denied for table t"
    finally:
        sa.event.remove(world.engine, "connect", as_reader)
        world.run(f"DROP OWNED BY {role}")
        world.run(f"DROP ROLE {role}")


def test_the_instant_is_left_out_of_the_servers_plans(world: Any) -> None:
    """Two previews of one state do not differ, although the server plans with an instant."""
    pipeline = world.pipe(world.table(), mode="scd2")
    world.fill((1, "a", 1))
    pipeline.sync()
    one, two = (pipeline.preview(analyze=True).to_json() for _ in range(2))
    assert one == two
    assert "$instant" in one


def test_no_function_can_take_what_a_preview_takes() -> None:
    """A run parameter whose value could not reach the function is refused at decoration."""
    target = Undeclared().table()
    for name in ("analyze", "effective_at"):
        scope: dict[str, Any] = {}
        exec(f"def body(conn, *, {name}: str = ''): return ''", scope)
        with pytest.raises(InvalidBody, match=f"run parameter '{name}', which sync"):
            pgflow.Pipeline("p", target=target, body=scope["body"], mode="merge")


# -- formats ---------------------------------------------------------------------------

HOSTILE = 'a|b`c``d"*_[x](y)<script>&</details>#'


def test_no_name_becomes_markup(world: Any) -> None:
    """Pipes, backticks, tags and line breaks of names stay what they are, in every format."""
    target = world.table("t|`x`\n\x1b[31m", sa.Column("v|`", sa.Text))
    name = "p|`" + HOSTILE
    pipeline = world.pipe(target, 'SELECT id, NULL AS "v|`" FROM w.s', name=name, mode="merge")
    preview = looked_at(pipeline)
    markdown = preview.to_markdown()
    head = markdown.splitlines()[0]
    assert head.startswith("### ```p|`a|b`c``d")
    assert head.endswith("```")
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) >= 8
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 4, row
    assert markdown.count("<details>") == markdown.count("</details>") - markdown.count(
        "</details>#"
    )


def test_a_fence_holds_any_sql(world: Any) -> None:
    """Backticks and tags in a query end neither the block nor the fold."""
    query = "SELECT id, '```\n</details>' AS a, b FROM w.s"
    preview = looked_at(world.pipe(world.table(), query, mode="append"))
    assert "\n````sql\n" in preview.to_markdown()


def test_hazards_come_first(world: Any) -> None:
    """What a reviewer must see stands above the tables; a refusal above all."""
    pipeline = world.pipe(world.table(), mode="truncate")
    text = pipeline.preview().to_markdown()
    assert text.index("> **⚠️ Hazard**: TRUNCATE locks readers out") < text.index("| | | why |")
    bad = world.pipe(world.table("u"), "SELECT id, 1 AS z FROM w.s", name="bad", mode="merge")
    told = bad.preview().to_markdown()
    assert "#### `w.u`: ❌ would be refused\n\n> **❌ Refused**: bad -&gt; w.u: the source" in told


def test_a_format_that_is_none_is_refused(world: Any) -> None:
    """The three formats are named."""
    preview = world.pipe(world.table(), mode="merge").preview()
    assert preview.render(format="json") == preview.to_json()
    assert preview.render(format="markdown") == preview.to_markdown()
    with pytest.raises(InvalidOption, match="none of 'text', 'markdown' and 'json'"):
        preview.render(format="html")


WIDE = """
import sqlalchemy as sa, pgflow
from pgflow.plugins import ColumnPKPlugin
m = sa.MetaData()
t = pgflow.SimpleTable("t", "w", m, [sa.Column(n, sa.Text) for n in "abcdefgh"],
                       plugins=[ColumnPKPlugin(sa.Column("id", sa.BigInteger))])
p = pgflow.Pipeline("p", target=t, mode="scd2", connection=url, handle_deletes="soft",
                    source="SELECT 1 AS id, " + ", ".join(f"'x' AS {n}" for n in "hgfedcba"))
"""


def test_the_bytes_depend_on_no_process(world: Any, database: str) -> None:
    """Another process, with another hash seed, writes the same JSON."""
    here: dict[str, Any] = {"url": database}
    exec(WIDE, here)
    pgflow.create_all(here["m"], connection=database)
    show = "sys.stdout.buffer.write(p.preview(analyze=True).to_json().encode())"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nurl = sys.argv[1]\n{WIDE}\n{show}", database],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ROOT},
        capture_output=True,
        check=True,
        timeout=60,
    )
    check(json.loads(done.stdout))
    assert done.stdout == here["p"].preview(analyze=True).to_json().encode()


def test_the_schema_is_held(world: Any) -> None:
    """A preview that has too much, too little or another type is found."""
    data = world.pipe(world.table(), mode="merge").preview().to_dict()
    check(data)
    breaks: list[Callable[[dict[str, Any]], Any]] = [
        lambda d: d.update(version=2),
        lambda d: d.update(more=1),
        lambda d: d.pop("ok"),
        lambda d: d["targets"][0].update(refused="no"),
        lambda d: d["targets"][0]["statements"][0].update(sql=None),
    ]
    for spoil in breaks:
        wrong = json.loads(json.dumps(data))
        spoil(wrong)
        with pytest.raises(AssertionError):
            check(wrong)
