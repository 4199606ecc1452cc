"""`pgflow forget` and `pgflow quarantine`: numbers first, then the question, then the deed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Invoke, Place

CHECKED = """
from pgflow import checks

def rows(conn):
    return "SELECT i AS id, CASE WHEN i > 1 THEN 'x' END AS v FROM generate_series(1, 3) AS i"

checked = pgflow.Pipeline("checked", target=make("people"), mode="merge", body=rows,
                          checks=[checks.NotNull("v", quarantine=True)])
two = pgflow.SimpleTable("two", "warehouse", metadata, [Column("v", Text)], plugins=[
    ColumnPKPlugin(Column("a", Text), Column("b", Text))])
"""


@pytest.fixture
def filled(place: Place, invoke: Invoke) -> Place:
    """A project with rows in a table, and one in quarantine."""
    place.write(CHECKED)
    place.create()
    assert invoke("sync", "checked").code == 0
    return place


def test_a_key_is_erased(filled: Place, invoke: Invoke) -> None:
    """--yes asks nothing; what is said holds numbers and not the key."""
    ran = invoke("forget", "people", "2", "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "warehouse.people: erased 1 row of the table, 0 of the quarantine, 0 quotations in the "
        "history of runs\n"
    )
    assert filled.execute("SELECT id FROM warehouse.people") == [(3,)]
    done = invoke("forget", "warehouse.people", "id=1", "--yes", "--format", "json")
    assert {k: done.json[k] for k in ("versions", "quarantined", "samples")} == {
        "versions": 0, "quarantined": 1, "samples": 1,
    }  # fmt: skip


def test_a_dry_run_only_counts(filled: Place, invoke: Invoke) -> None:
    """--dry-run shows the numbers, and erases nothing."""
    ran = invoke("forget", "people", "2", "--dry-run")
    assert (ran.code, "would erase 1 row of the table" in ran.out) == (0, True)
    assert filled.execute("SELECT count(*) FROM warehouse.people") == [(2,)]


def test_without_a_terminal_it_must_be_said(filled: Place, invoke: Invoke) -> None:
    """Nobody can be asked: nothing is erased, and the numbers and --yes are named."""
    ran = invoke("forget", "people", "2")
    assert ran.code == 1
    assert "Nothing was erased. warehouse.people: would erase 1 row of" in ran.err
    assert "--yes" in ran.err
    assert filled.execute("SELECT count(*) FROM warehouse.people") == [(2,)]


def test_a_terminal_is_asked(
    filled: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A no leaves everything as it is, a yes erases."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, left in ((False, 2), (True, 1)):
        monkeypatch.setattr("typer.confirm", lambda *_, answer=answer, **__: answer)
        assert invoke("forget", "people", "2").code == (0 if answer else 1)
        assert filled.execute("SELECT count(*) FROM warehouse.people") == [(left,)]


def test_keys_of_several_columns(filled: Place, invoke: Invoke) -> None:
    """column=value names each; --null is for NULL; one bare value is refused."""
    filled.execute("INSERT INTO warehouse.two (a, b) VALUES ('x', 'y=z'), ('x', '')")
    assert invoke("forget", "two", "x", "--yes").code == 1
    assert invoke("forget", "two", "a=x", "z", "--yes").code == 2
    assert invoke("forget", "two", "--yes").code == 2
    assert invoke("forget", "two", "a=x", "b=y=z", "--yes").code == 0
    assert invoke("forget", "people", "-5", "--yes").code == 2
    assert "erased 0 rows" in invoke("forget", "people", "id=-5", "--yes").out
    assert filled.execute("SELECT a, b FROM warehouse.two") == [("x", "")]
    assert "erased 0 rows" in invoke("forget", "two", "a=x", "--null", "v", "b=q", "--yes").out
    assert "erased 1 row of" in invoke("forget", "two", "a=x", "--null", "v", "--yes").out


def test_a_table_that_the_project_does_not_declare(filled: Place, invoke: Invoke) -> None:
    """Any table of the database can be named with its schema; an unknown one is told."""
    filled.execute("CREATE TABLE warehouse.old AS SELECT 1 AS id")
    assert "erased 1 row of" in invoke("forget", "warehouse.old", "id=1", "--yes").out
    assert "no table warehouse.none" in invoke("forget", "warehouse.none", "id=1", "--yes").err
    assert invoke("forget", "none", "id=1", "--yes").code == 2


def test_the_quarantine_is_shown_and_purged(filled: Place, invoke: Invoke) -> None:
    """show lists the rows with their check; purge deletes them, and asks unless they are old."""
    (_, row) = invoke("quarantine", "show", "checked").rows
    assert row[1:] == ["checked", "warehouse.people", "v", "not", "null", "id=1", '{"v":', "null,",
                       '"id":', "1}"]  # fmt: skip
    (plain,) = invoke("quarantine", "show", "--format", "json").json
    assert (plain["check_name"], plain["row"]) == ("v not null", {"id": 1, "v": None})
    assert "deleted 0 rows" in invoke("quarantine", "purge", "--older-than", "1").out
    asked = invoke("quarantine", "purge", "checked")
    assert (asked.code, "1 row of the quarantine would be deleted" in asked.err) == (1, True)
    assert "deleted 1 row of" in invoke("quarantine", "purge", "checked", "--yes").out
    assert "no row is in quarantine" in invoke("quarantine", "show").err
