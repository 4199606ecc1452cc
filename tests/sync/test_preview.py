"""preview: what would be done and why, without a trace."""

from __future__ import annotations

import json
from typing import Any

import pgflow


def test_a_preview_tells_every_decision_with_its_reason(world: Any) -> None:
    """Keys, compared columns, path and watermark are shown with where they come from."""
    pipeline = world.pipe(
        world.table(), "SELECT id, a, b, u FROM w.s", mode="scd2", incremental_column="u"
    )
    text = " ".join(str(pipeline.preview()).split())
    for part in (
        "merge key    id  [pk()]",
        "compared     a, b  [every delivered column that is no key]",
        "path         same_db",
        "mode         scd2  [mode= of the pipeline]",
        "watermark    u  [incremental_column='u': rows from the last seen value on; NULLs too]",
        "last read    nothing read yet",
        "columns      id, a, b  [declared]",
        "_loaded_at, _batch_id, valid_from, valid_to, is_current, _closed_batch_id  [added",
        "INSERT INTO w.t",
    ):
        assert " ".join(part.split()) in text


def test_a_preview_is_the_same_for_the_same_state(world: Any) -> None:
    """JSON for machines holds no clock and no run id, byte for byte."""
    pipeline = world.pipe(world.table(), mode="merge", handle_deletes="hard")
    world.fill((1, "a", 1))
    assert pipeline.preview().to_json() == pipeline.preview().to_json()
    data = json.loads(pipeline.preview().to_json())
    (target,) = data["targets"]
    assert target["decisions"]["merge key"] == {"value": ["id"], "reason": "pk()", "warning": ""}
    purposes = [s["purpose"] for s in target["fallback"]]
    assert "delete rows that the source lacks" in purposes


def test_a_preview_writes_nothing(world: Any) -> None:
    """Target, history and watermarks are as before; nothing is locked for readers."""
    pipeline = world.pipe(world.table(), mode="truncate")
    world.fill((1, "a", 1))
    pipeline.sync()
    snapshot = "SELECT (SELECT count(*) FROM pgflow.runs), (SELECT array_agg(xmin::text) FROM w.t)"
    before = world.run(snapshot)
    pipeline.preview()
    pipeline.plan()
    assert world.run(snapshot) == before


def test_a_preview_shows_what_would_be_refused(world: Any) -> None:
    """A source that does not fit is told by the preview, beside everything that is known."""
    pipeline = world.pipe(world.table(), "SELECT id, a, 1 AS z FROM w.s", mode="merge")
    preview = pipeline.preview()
    assert not preview.ok
    assert "refused: p -> w.t: the source delivers 'z', which the target lacks" in str(preview)


def test_a_preview_works_without_the_database(world: Any) -> None:
    """With the server down the decisions are shown, and what could not be known is said."""
    table = world.table()
    pipeline = pgflow.Pipeline(
        "p",
        target=table,
        source="SELECT id, a, b FROM w.s",
        mode="scd2",
        connection="postgresql://nobody:secret@localhost:1/none",
    )
    preview = pipeline.preview()
    text = str(preview)
    assert preview.ok
    assert "not known: " in text
    assert "secret" not in text + preview.to_json()
    assert "merge key" in text
    assert preview.targets[0].decision("uniqueness") == "not known"
    assert "CREATE TEMPORARY TABLE" not in text, "what is guessed is not shown unasked"
    verbose = preview.render(verbose=True)
    assert verbose.index("as far as it can be told without") < verbose.index("CREATE TEMPORARY")


def test_several_targets_are_shown_in_one_line_each(world: Any) -> None:
    """Many targets are compact by default, and verbose when asked."""

    def body(connection: Any) -> str:
        connection.exec_driver_sql("SELECT 1")
        return "SELECT id, a, b FROM w.s"

    one, two = world.table("one"), world.table("two")
    pipeline = world.pipe(
        None,
        None,
        body=body,
        targets=[pgflow.target(one, mode="scd2"), pgflow.target(two, mode="append")],
        schedule="0 * * * *",
    )
    preview = pipeline.preview()
    assert str(preview).splitlines() == [
        "p  schedule: 0 * * * *  targets: 2",
        "  ✓ w.one  mode=scd2  keys=(id)  path=same_db",
        "  ✓ w.two  mode=append  keys=(id)  path=same_db",
        "  the source is read by each target, because the function uses its connection, so that"
        " each target's transaction calls it",
        "  -v (verbose=True) shows every decision and statement",
    ]
    assert "INSERT INTO" in preview.render(verbose=True)


def test_the_hazards_of_a_plan_are_told(world: Any) -> None:
    """TRUNCATE locks readers out: the preview says so."""
    pipeline = world.pipe(world.table(), mode="truncate")
    assert "hazard: TRUNCATE locks readers out" in str(pipeline.preview())


def test_a_proof_of_uniqueness_is_shown(world: Any) -> None:
    """Where the planner proves the keys unique, the batch is not checked for repeated keys."""
    table = world.table()
    proved = world.pipe(
        table, "SELECT id, max(a) AS a FROM w.s GROUP BY id", mode="merge", name="proved"
    )
    unproved = world.pipe(table, mode="merge", name="unproved")
    world.run("INSERT INTO w.t (id) VALUES (1)")
    assert proved.plan().decisions["uniqueness"].value is True
    assert "repeated" not in str(proved.plan())
    assert unproved.plan().decisions["uniqueness"].value is False
    assert "repeated" in str(unproved.plan())


def test_a_source_that_locks_rows_can_be_previewed(world: Any) -> None:
    """FOR UPDATE is a source like any other; a preview locks nothing."""
    pipeline = world.pipe(world.table(), "SELECT id, a, b FROM w.s FOR UPDATE", mode="merge")
    world.fill((1, "a", 1))
    preview = pipeline.preview()
    assert preview.ok, preview
    assert pipeline.sync().inserted == 1
