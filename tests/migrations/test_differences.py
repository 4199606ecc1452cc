"""What `pgflow drift` calls a difference, and what it does not."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, MetaData

from pgflow.alembic import declare_sql
from pgflow.alembic.drift import examine
from tests.migrations.journey import Journey, State, metadata_of

BEFORE = (
    "CREATE TYPE app.mood AS ENUM ('sad', 'glad')",
    "CREATE TABLE app.t (id integer PRIMARY KEY, mood app.mood)",
    "CREATE VIEW app.v AS SELECT mood FROM app.t",
    "GRANT USAGE ON TYPE app.mood TO pg_monitor",
)


@pytest.fixture
def journey(engine: Engine) -> Journey:
    """A table with an enum and a view, on which others have rights."""
    journey = Journey(engine)
    journey.go(*BEFORE)
    journey.run("GRANT USAGE ON TYPE app.mood TO pg_read_all_stats")
    journey.run("GRANT SELECT ON app.v, app.t TO pg_read_all_stats")
    return journey


def _differences(journey: Journey, *states: State) -> list[str]:
    with journey.engine.connect() as connection:
        return [str(each) for each in examine(connection, [metadata_of(*states)]).differences]


@pytest.mark.parametrize(
    ("values", "told"), [("'sad', 'glad', 'wild'", "[sad, glad, wild]"), ("'sad'", "[sad]")]
)
def test_rights_of_others_are_no_difference(journey: Journey, values: str, told: str) -> None:
    """Beside a pending change, what others may do with the object, or with what is made anew."""
    changed = BEFORE[0].replace("'sad', 'glad'", values)
    assert _differences(journey, changed, *BEFORE[1:]) == [
        f"differs: enum app.mood (values: declared {told}, live [sad, glad])"
    ]


def test_a_declared_right_that_is_missing_is_one(journey: Journey) -> None:
    """What was revoked is told with what is there, the rights of others included."""
    journey.run("REVOKE USAGE ON TYPE app.mood FROM pg_monitor")
    assert _differences(journey, *BEFORE) == [
        "differs: enum app.mood (privileges: declared USAGE to PUBLIC, USAGE to pg_monitor, "
        "USAGE to pg_read_all_stats, live USAGE to PUBLIC, USAGE to pg_read_all_stats)"
    ]


def test_what_has_another_name_is_not_missing(journey: Journey) -> None:
    """A rename is one difference, and what else changes is told under the new name."""

    def renamed(metadata: MetaData) -> None:
        declare_sql(
            metadata, "CREATE TYPE app.state AS ENUM ('sad', 'glad', 'wild')", renamed_from="mood"
        )
        table = "CREATE TABLE more.u (id bigint CONSTRAINT t_pkey PRIMARY KEY, mood app.state)"
        declare_sql(metadata, table, renamed_from="app.t")
        declare_sql(metadata, "CREATE VIEW app.v AS SELECT mood FROM more.u")
        declare_sql(metadata, "GRANT USAGE ON TYPE app.state TO pg_monitor")

    assert sorted(_differences(journey, renamed)) == [
        "differs: column more.u.id (type: declared bigint, live integer)",
        "differs: enum app.state (values: declared [sad, glad, wild], live [sad, glad])",
        "missing: schema more",
        "named otherwise: enum app.mood (name: declared state, live mood)",
        "named otherwise: table app.t (name: declared more.u, live app.t)",
    ]
