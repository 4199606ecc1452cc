"""`pgflow migrate`: a database as declared, without migration files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Invoke, Place


class Terminal(io.StringIO):
    """Standard input of somebody who sits there."""

    def isatty(self) -> bool:
        return True


MORE = """
from pgflow.alembic import declare_sql
declare_sql(metadata, "CREATE VIEW warehouse.names AS SELECT v FROM warehouse.raw")
"""


def test_what_is_missing_is_shown_and_made(place: Place, invoke: Invoke) -> None:
    """Titles, hazards and SQL are printed; afterwards there is nothing to do."""
    place.write(MORE)
    ran = invoke("migrate")
    assert ran.code == 0, ran.err
    assert "-- Create table warehouse.raw\n" in ran.out
    assert "-- Create view warehouse.names\nCREATE VIEW warehouse.names AS\n" in ran.out
    assert "Done: " in ran.out
    assert place.execute("SELECT count(*) FROM warehouse.names") == [(0,)]
    assert place.execute("SELECT obj_description('warehouse.names'::regclass)") == [("[pgflow]",)]
    again = invoke("migrate")
    assert again.code == 0
    assert again.out.startswith("Nothing to do: postgresql database ")


def test_a_dry_run_leaves_no_trace(place: Place, invoke: Invoke) -> None:
    """--dry-run shows the same steps, and takes none."""
    ran = invoke("migrate", "--dry-run")
    assert ran.code == 0, ran.err
    assert "-- Create table warehouse.raw\n" in ran.out
    assert place.execute("SELECT to_regclass('warehouse.raw')") == [(None,)]
    assert place.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pgflow%'") == []


def test_what_it_made_and_is_declared_no_more_goes(place: Place, invoke: Invoke) -> None:
    """A view that leaves the module is dropped; one that somebody else made is not."""
    place.write(MORE)
    assert invoke("migrate").code == 0
    place.execute("CREATE VIEW warehouse.theirs AS SELECT 1 AS a")
    place.write("")
    ran = invoke("migrate", "--yes")
    assert ran.code == 0, ran.err
    assert "DROP VIEW warehouse.names" in ran.out
    assert "theirs" not in ran.out
    assert place.execute("SELECT a FROM warehouse.theirs") == [(1,)]


def test_hazards_need_a_yes(place: Place, invoke: Invoke) -> None:
    """Without a terminal what deletes data is refused, with its name, unless --yes is given."""
    place.write("\nmake('more')\n")
    assert invoke("migrate").code == 0
    place.write("")
    ran = invoke("migrate")
    assert ran.code == 1
    assert "Nothing was done, because some steps are hazardous for a database in use" in ran.err
    assert "deletes data" in ran.err
    assert "Drop table warehouse.more" in ran.err
    assert place.execute("SELECT count(*) FROM warehouse.more") == [(0,)]
    assert invoke("migrate", "--yes").code == 0
    assert place.execute("SELECT to_regclass('warehouse.more')") == [(None,)]


@pytest.mark.parametrize("answer, code", [("y\n", 0), ("n\n", 1)])
def test_on_a_terminal_it_asks(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """The answer decides."""
    place.write("\nmake('more')\n")
    assert invoke("migrate").code == 0
    place.write("")
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    ran = invoke("migrate")
    assert ran.code == code, ran.err
    assert "Go on?" in ran.err
    left = place.execute("SELECT to_regclass('warehouse.more') IS NOT NULL")
    assert left == [(code == 1,)]


def test_a_database_of_alembic_s_is_left_to_alembic(place: Place, invoke: Invoke) -> None:
    """A revision in alembic_version stops it, with the ways out; an empty table does not."""
    place.execute("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
    place.execute("INSERT INTO alembic_version VALUES ('4f1c')")
    ran = invoke("migrate")
    assert ran.code == 1
    assert "managed by Alembic: public.alembic_version holds a revision" in ran.err
    assert "--ignore-alembic" in ran.err
    assert invoke("migrate", "--dry-run").code == 0
    assert invoke("migrate", "--ignore-alembic").code == 0
    place.write("\nmake('more')\n")
    place.execute("DELETE FROM alembic_version")
    assert invoke("migrate").code == 0


def test_everything_is_undone_when_a_step_fails(place: Place, invoke: Invoke) -> None:
    """One transaction: a step that the server refuses leaves nothing of those before it."""
    assert invoke("migrate").code == 0
    place.execute("INSERT INTO warehouse.raw VALUES (1, 'x'), (2, 'x')")
    module = (place.directory / "pipelines.py").read_text()
    unique = 'raw.table.append_constraint(UniqueConstraint("v"))'
    head = f"from sqlalchemy import UniqueConstraint\n{module}"
    place.write(f"\nmake('more')\n{unique}\n", head=head)
    ran = invoke("migrate", "--yes")
    assert ran.code == 1
    assert "could not create unique index" in ran.err
    assert place.execute("SELECT to_regclass('warehouse.more')") == [(None,)]


def test_what_hurts_nobody_is_not_called_hazardous(place: Place, invoke: Invoke) -> None:
    """An index stops who writes to the table; nobody waits for a table that is made only now."""
    place.write("")
    assert "-- !" not in invoke("migrate", "--dry-run").out
    assert invoke("migrate").code == 0
    module = (place.directory / "pipelines.py").read_text()
    index = 'Index("raw_v", raw.table.c.v)'
    place.write(f"\n{index}\n", head=f"from sqlalchemy import Index\n{module}")
    told = invoke("migrate", "--dry-run").out
    assert "-- ! reads the whole table" in told
    assert "nobody writes to the table meanwhile" in told


class Thoughtful(Terminal):
    """Standard input of somebody before whose first answer something happens."""

    def __init__(self, answer: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(answer)
        self._meanwhile: Callable[[], object] | None = meanwhile

    def readline(self, *sizes: int) -> str:  # type: ignore[override]  # one size at most
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().readline(*sizes)


def test_nobody_waits_for_an_answer(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the question stands, others migrate; what is left to do is found out after it."""
    place.write("\nmake('more')\n")
    assert invoke("migrate").code == 0
    place.write("")

    def meanwhile() -> None:
        assert place.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
        place.execute("DROP TABLE warehouse.more")

    monkeypatch.setattr("sys.stdin", Thoughtful("y\n", meanwhile))
    ran = invoke("migrate")
    assert ran.code == 0, ran.err
    assert "Nothing to do: " in ran.out
    assert "Done: " not in ran.out


@pytest.mark.parametrize("second", ["y\n", "n\n"])
def test_an_answer_is_about_what_was_shown(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    """If something else has to be done after the answer, it is shown and asked for as well."""
    place.write("\nmake('more')\nmake('most')\n")
    assert invoke("migrate").code == 0
    place.write("\nmake('most')\n")

    def meanwhile() -> None:
        place.write("")
        place.execute("ALTER TABLE warehouse.raw ADD COLUMN extra text")

    monkeypatch.setattr("sys.stdin", Thoughtful(f"y\n{second}", meanwhile))
    ran = invoke("migrate")
    assert "The database has changed meanwhile" in ran.err
    assert ran.err.count("Go on?") == 2
    assert "DROP COLUMN extra" in ran.out
    assert ran.code == (0 if second == "y\n" else 1)
    left = place.execute("SELECT to_regclass('warehouse.more') IS NOT NULL")
    assert left == [(second == "n\n",)]
