"""`pgflow list`, `explain` and `preview`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Invoke, Place


def test_list_shows_pipelines_with_mode_schedule_and_parameters(
    place: Place, invoke: Invoke
) -> None:
    """Piped, each pipeline is one line whose columns do not depend on the width."""
    ran = invoke("list")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "pipeline  targets           modes  reads          schedule   tags     parameters    "
        "description",
        "report    warehouse.report  scd2   warehouse.raw  0 * * * *  nightly  -             -",
        "raw       warehouse.raw     merge  -              -          -        amount:int=3  "
        "Fill the raw table.",
    ]


def test_list_says_what_is_read_as_far_as_it_is_known(place: Place, invoke: Invoke) -> None:
    """What a function computes is a question mark; a table of another connection has its name."""
    place.write(
        "def computed(conn): return f'SELECT {1}'\n"
        "def literal(src, tgt): return 'SELECT * FROM a JOIN \"B\".c USING (id)'\n"
        'p = pgflow.Pipeline("p", target=raw, mode="merge", body=computed)\n'
        'q = pgflow.Pipeline("q", target=raw, mode="merge", body=literal,'
        ' source_connection="crm")\n'
        'r = pgflow.Pipeline("r", target=raw, mode="merge", body=literal,'
        ' source_connection="postgresql://me:secret@host/db")\n'
        'broken = pgflow.Pipeline("broken", target=raw, mode="merge", source="SELEC 1")\n'
        'filed = pgflow.Pipeline("filed", target=raw, mode="merge",'
        ' source=pgflow.CSV(["a.csv", "b/*.csv"]))\n'
    )
    told = {each["name"]: each for each in invoke("list", "--format", "json").json["pipelines"]}
    assert (told["p"]["reads"], told["p"]["reads_known"]) == ([], False)
    assert told["q"]["reads"] == ['"B".c (crm)', "public.a (crm)"]
    assert told["r"]["reads"] == ['"B".c (elsewhere)', "public.a (elsewhere)"]
    assert told["broken"]["reads_known"] is False
    assert (told["filed"]["reads"], told["filed"]["files"]) == ([], ["a.csv", "b/*.csv"])
    listed = invoke("list")
    assert "a.csv,b/*.csv" in listed.out
    assert listed.rows[3][3] == "?"
    assert "secret" not in listed.out
    place.write(
        "def one(): return pgflow.CSV('a.csv')\n"
        "def dated(*, day: str): return pgflow.CSV(f'{day}.csv')\n"
        'p = pgflow.Pipeline("p", target=raw, mode="merge", body=one)\n'
        'q = pgflow.Pipeline("q", target=raw, mode="merge", body=dated)\n'
    )
    told = {each["name"]: each for each in invoke("list", "--format", "json").json["pipelines"]}
    assert (told["p"]["files"], told["p"]["files_known"]) == (["a.csv"], True)
    assert (told["q"]["files"], told["q"]["files_known"]) == ([], False)
    assert told["q"]["reads_known"] is True
    listed = invoke("list").out.splitlines()
    assert listed[3].split()[3] == "a.csv"
    assert "  (files: asked when it runs)  " in listed[4]


def test_list_shows_tables_when_asked(place: Place, invoke: Invoke) -> None:
    """--tables adds every table with its key and the pipelines that fill it."""
    ran = invoke("list", "--tables")
    assert [row[0] for row in ran.rows if row] == [
        "pipeline", "report", "raw", "table", "warehouse.raw", "warehouse.report",
    ]  # fmt: skip
    assert ran.out.splitlines()[-1].split() == ["warehouse.report", "8", "id,valid_from", "report"]


def test_list_as_json_is_json_only(place: Place, invoke: Invoke) -> None:
    """--format json writes one document with everything that the text shows."""
    data = invoke("list", "--tables", "--format", "json").json
    assert data["pipelines"][0] == {
        "name": "report",
        "targets": ["warehouse.report"],
        "modes": ["scd2"],
        "reads": ["warehouse.raw"],
        "reads_known": True,
        "files": [],
        "files_known": True,
        "schedule": "0 * * * *",
        "parameters": [],
        "tags": ["nightly"],
        "description": "",
    }
    assert data["tables"][0]["name"] == "warehouse.raw"
    assert data["tables"][0]["pipelines"] == ["raw"]


def test_module_takes_the_place_of_the_projects_modules(place: Place, invoke: Invoke) -> None:
    """--module looks in the named file alone."""
    (place.directory / "other.py").write_text(
        "import pgflow\nimport pipelines as p\n"
        'o = pgflow.Pipeline("other", target=p.make("o"), mode="merge", source="SELECT 1 id")\n'
    )
    assert [row[0] for row in invoke("list", "-m", "./other.py").rows] == ["pipeline", "other"]
    both = invoke("list", "-m", "other", "-m", "pipelines")
    assert [row[0] for row in both.rows] == ["pipeline", "other", "report", "raw"]


def test_explain_shows_the_plugins_of_a_pipeline_and_of_a_table(
    place: Place, invoke: Invoke
) -> None:
    """A pipeline comes first where both have the name; the qualified name gives the table."""
    pipeline, table = invoke("explain", "raw"), invoke("explain", "warehouse.raw")
    assert "MergeKeysPlugin" in pipeline.out
    assert "why here" in pipeline.out
    assert "ColumnPKPlugin" in table.out
    assert invoke("explain", "report", "--format", "json").json[0]["name"] == (
        "report -> warehouse.report"
    )


def test_explain_of_an_unknown_name_offers_the_nearest(place: Place, invoke: Invoke) -> None:
    """Names of tables are offered as well as those of pipelines."""
    ran = invoke("explain", "warehouse.rw")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "pgflow: there is no pipeline or table 'warehouse.rw'. Did you mean 'warehouse.raw'? "
        "The project has: report, raw, warehouse.raw, warehouse.report.\n"
    )


def test_preview_shows_decisions_and_sql_and_writes_nothing(ready: Place, invoke: Invoke) -> None:
    """The preview of a pipeline is its plan with reasons; the target stays empty."""
    ran = invoke("preview", "raw", "--param", "amount=7")
    assert ran.code == 0
    assert "merge key   id" in ran.out
    assert "with amount=7" in ran.out
    assert "INSERT INTO warehouse.raw" in ran.out
    assert ready.execute("SELECT count(*) FROM warehouse.raw") == [(0,)]


def test_preview_is_compact_for_several_targets(place: Place, invoke: Invoke) -> None:
    """One line a target, until -v asks for every statement."""
    place.write(
        'fan = pgflow.Pipeline("fan", targets=[make("a"), make("b")], mode="merge",'
        ' source="SELECT 1 AS id, NULL AS v")'
    )
    place.create()
    compact, full = invoke("preview", "fan"), invoke("preview", "fan", "-v")
    assert compact.out.splitlines()[:3] == [
        "fan  targets: 2",
        "  ✓ warehouse.a  mode=merge  keys=(id)  path=same_db",
        "  ✓ warehouse.b  mode=merge  keys=(id)  path=same_db",
    ]
    assert compact.out.splitlines()[3:] == [
        "  the source is read once for 2 targets",
        "  -v (verbose=True) shows every decision and statement",
    ]
    assert "INSERT INTO" not in compact.out
    assert all(f"INSERT INTO warehouse.{name} " in full.out for name in "ab")
    several = invoke("preview", "raw", "report").out.splitlines()
    assert several == [
        "raw",
        "  with amount=3",
        "  ✓ warehouse.raw  mode=merge  keys=(id)  path=same_db",
        "report  schedule: 0 * * * *",
        "  ✓ warehouse.report  mode=scd2  keys=(id)  path=same_db",
        "  -v (verbose=True) shows every decision and statement",
    ], "so it is of several pipelines"
    ready = place.execute("ALTER TABLE warehouse.b DROP COLUMN v")
    assert ready == []
    refused = invoke("preview", "fan")
    assert refused.code == 1
    assert "warehouse.b itself" not in refused.out, "nobody knows what it could share"
    shown = next(line for line in refused.out.splitlines() if "refused" in line)
    assert shown.startswith("    refused: ")
    assert len(shown) <= 100
    whole = invoke("preview", "fan", "-v").out
    assert shown.strip().removesuffix(" ...") in whole.replace("fan -> warehouse.b: ", "")
    assert len(next(line for line in whole.splitlines() if "refused" in line)) > len(shown)


def test_preview_as_json(ready: Place, invoke: Invoke) -> None:
    """Each preview is one object with targets, decisions and statements."""
    data = invoke("preview", "--all", "--format", "json").json
    assert [each["pipeline"] for each in data] == ["raw", "report"]
    assert data[0]["targets"][0]["decisions"]["mode"]["value"] == "merge"


def test_a_preview_that_would_be_refused_ends_with_1(place: Place, invoke: Invoke) -> None:
    """Without its table a run would fail, and so does the preview, which says why."""
    ran = invoke("preview", "raw")
    assert ran.code == 1
    assert "refused: raw: the database has no table warehouse.raw" in ran.out


def test_preview_with_the_servers_plans(ready: Place, invoke: Invoke) -> None:
    """--analyze adds what the server would do, in every format."""
    assert "the server's plan" not in invoke("preview", "raw").out
    assert "-- the server's plan:" in invoke("preview", "raw", "--analyze").out
    (data,) = invoke("preview", "raw", "--analyze", "--format", "json").json
    (target,) = data["targets"]
    assert target["statements"][0]["server_plan"]["data"]["Plan"]["Node Type"] == "ModifyTable"


def test_preview_as_markdown(ready: Place, invoke: Invoke) -> None:
    """For pull requests: a heading a pipeline, the SQL folded away."""
    ran = invoke("preview", "--all", "--format", "markdown")
    assert ran.code == 0
    heads = [line for line in ran.out.splitlines() if line.startswith("#")]
    assert heads == ["### `raw`", "#### `warehouse.raw`: ✅ `merge`", "### `report`",
                     "#### `warehouse.report`: ✅ `scd2`"]  # fmt: skip
    assert ran.out.count("<details>") == ran.out.count("</details>") == 2
