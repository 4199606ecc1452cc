"""`pgflow drift`: where a database is not as declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from conftest import Invoke, Place


def test_no_drift_is_said_and_ends_with_0(ready: Place, invoke: Invoke) -> None:
    """A database as declared: one line, exit code 0."""
    ran = invoke("drift")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("No drift: postgresql database ")
    assert ran.out.count("\n") == 1
    assert invoke("drift", "--json").json == []


def test_each_difference_is_one_line_with_both_sides(ready: Place, invoke: Invoke) -> None:
    """What is missing, what is not declared, and what differs, with what is declared and live."""
    ready.execute("DROP TABLE warehouse.report")
    ready.execute("ALTER TABLE warehouse.raw ALTER COLUMN v TYPE varchar(7)")
    ready.execute("ALTER TABLE warehouse.raw ADD COLUMN extra int DEFAULT 3")
    ran = invoke("drift")
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert "missing: table warehouse.report" in lines
    assert any(
        line.startswith("differs: column warehouse.raw.v (")
        and "declared text, live character varying(7)" in line
        for line in lines
    )
    assert "not declared: column warehouse.raw.extra" in lines
    # What belongs to a table that is missing is not told apart.
    assert not any("warehouse.report." in line for line in lines)


def test_as_json_the_sides_are_fields(ready: Place, invoke: Invoke) -> None:
    """Programs need not read sentences."""
    ready.execute("ALTER TABLE warehouse.raw ALTER COLUMN v TYPE varchar(7)")
    (found,) = invoke("drift", "--json").json
    assert (found["kind"], found["schema"], found["table"], found["name"], found["state"]) == (
        "column",
        "warehouse",
        "raw",
        "v",
        "differs",
    )
    assert {"declared": "text", "live": "character varying(7)"} in found["facts"].values()


def test_other_people_s_objects_are_never_mentioned(ready: Place, invoke: Invoke) -> None:
    """A foreign view in our schema, and a foreign schema, are no drift."""
    ready.execute("CREATE VIEW warehouse.theirs AS SELECT id FROM warehouse.raw")
    ready.execute("CREATE SCHEMA other; CREATE TABLE other.t (a int)")
    assert invoke("drift").code == 0


@pytest.mark.parametrize("words", [("nowhere",), ("--module", "no_such_module")])
def test_an_error_is_no_difference(ready: Place, invoke: Invoke, words: tuple[str, ...]) -> None:
    """Exit code 2 tells scripts that nothing was found out."""
    ran = invoke("drift", *words)
    assert ran.code == 2
    assert ran.err.startswith("pgflow: ")
    assert ran.out == ""


def test_a_reader_compares_in_another_database(
    ready: Place, invoke: Invoke, make_database: Callable[[], str]
) -> None:
    """Without the right to create schemas it says how: --shadow; with it, all works."""
    role = f"reader_{uuid4().hex[:8]}"
    ready.execute(f"CREATE ROLE {role} LOGIN")
    ready.execute(f"GRANT USAGE ON SCHEMA warehouse, pgflow TO {role}")
    try:
        reading = ready.database.replace("://", f"://{role}@", 1).replace(
            f"{role}@postgres@", f"{role}@"
        )
        ran = invoke("drift", reading)
        assert ran.code == 2
        assert "shadow" in ran.err
        ran = invoke("drift", reading, "--shadow", make_database())
        assert ran.code == 0, ran.out + ran.err
    finally:
        ready.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


_REFUSED = (
    # somebody's view needs a column that has to change
    (
        "ALTER TABLE warehouse.raw ALTER COLUMN v TYPE varchar(7);"
        "CREATE VIEW warehouse.theirs AS SELECT v FROM warehouse.raw",
        "differs: column warehouse.raw.v (type: declared text, live character varying(7))",
        "view warehouse.theirs needs it",
    ),
    # a column without a value for the rows that are there
    (
        "ALTER TABLE warehouse.raw ADD COLUMN w text; INSERT INTO warehouse.raw (id) VALUES (1);"
        "DELETE FROM warehouse.report; ALTER TABLE warehouse.raw DROP COLUMN id CASCADE",
        "missing: column warehouse.raw.id",
        "its table has rows",
    ),
)


@pytest.mark.parametrize("sql, difference, refusal", _REFUSED)
def test_a_difference_that_no_migration_removes_is_told(
    ready: Place, invoke: Invoke, sql: str, difference: str, refusal: str
) -> None:
    """The list and exit code 1, and at the end why no migration can be made; also as data."""
    ready.execute(sql)
    ran = invoke("drift")
    assert ran.code == 1, ran.err
    assert difference in ran.out.splitlines()
    assert ran.err.startswith("No migration can be made of this. ")
    assert refusal in ran.err
    ran = invoke("drift", "--json")
    assert ran.code == 1
    assert len(ran.json) == len(invoke("drift").out.splitlines())


def test_without_a_plan_the_same_differences_are_told(ready: Place, invoke: Invoke) -> None:
    """What can be planned is told in the same lines beside something that cannot."""
    ready.execute(
        "DROP TABLE warehouse.report; ALTER TABLE warehouse.raw ADD COLUMN extra int DEFAULT 3;"
        "COMMENT ON COLUMN warehouse.raw.v IS 'x'; GRANT SELECT ON warehouse.raw TO PUBLIC"
    )
    before = set(invoke("drift").out.splitlines())
    ready.execute("ALTER TABLE warehouse.raw SET UNLOGGED")
    ready.execute("ALTER TABLE warehouse.raw DROP COLUMN id CASCADE")
    ready.execute("INSERT INTO warehouse.raw (v) VALUES ('x')")
    after = invoke("drift")
    assert "No migration can be made of this" in after.err
    assert before < set(after.out.splitlines())
