"""`pgflow grants`: SQL for psql, derived from the project's tables and pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Invoke, Place

PIPELINES = """
import sqlalchemy as sa
from pgflow.checks import Relationship
fresh = pgflow.Pipeline("fresh", target=make("fresh"), mode="truncate",
                        source="SELECT id, v FROM source.users JOIN other USING (id)")
places = pgflow.SimpleTable("places", "warehouse", metadata,
                            [sa.Column("place", sa.Text)], keys=["place"], mode="scd2",
                            system_columns={"version_id": "version"})
kinds = sa.Table("kinds", metadata, sa.Column("kind", sa.Text, primary_key=True),
                 schema="lists")
versions = Column("place_version", BigInteger)
kept = pgflow.Pipeline("kept", target=make("kept", Column("v", Text), versions),
                       mode="append",
                       source="SELECT 1 AS id, 'x' AS v, now() AS at, 'here' AS place",
                       checks=[Relationship("v", to=kinds)],
                       lookups=[pgflow.Lookup(places, into="place_version", at="at", on="place")])
elsewhere = pgflow.Pipeline("elsewhere", target=make("elsewhere"), mode="append",
                            source="SELECT 1 AS id, 'x' AS v", target_connection="nowhere")

def literal(conn): return "SELECT id, v FROM source.told"
def computed(conn): return f"SELECT 1 AS id, 'x' AS v FROM {0}"
told = pgflow.Pipeline("told", target=raw, mode="merge", body=literal)
untold = pgflow.Pipeline("untold", target=raw, mode="merge", body=computed)
"""


def test_each_role_gets_what_it_needs(ready: Place, invoke: Invoke) -> None:
    """The loader may write targets as their modes need, and read sources; the reader reads."""
    ready.write(PIPELINES)
    ready.create()
    ready.execute(
        "CREATE SCHEMA source CREATE TABLE users (id int, v text)"
        " CREATE TABLE told (id int, v text)"
    )
    ready.execute("CREATE TABLE public.other (id int)")
    ran = invoke("grants", "--migrator", "postgres", "--loader", "Etl", "--reader", "report")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "-- The roles themselves."
    assert 'CREATE ROLE "Etl" LOGIN;' in lines
    remarks = [line for line in lines if "reads what its function says" in line]
    assert remarks == ["-- untold reads what its function says: grant SELECT on that as well."]
    loader = [line for line in lines if line.endswith('TO "Etl";')]
    assert [line.partition(" TO ")[0] for line in loader if " ON TABLE " in line] == [
        "GRANT SELECT ON TABLE lists.kinds",
        "GRANT SELECT, INSERT, UPDATE ON TABLE pgflow.backfills",
        "GRANT SELECT, INSERT ON TABLE pgflow.quarantine",
        "GRANT SELECT, INSERT, UPDATE ON TABLE pgflow.runs",
        "GRANT SELECT, INSERT, UPDATE ON TABLE pgflow.watermarks",
        "GRANT SELECT ON TABLE public.other",
        "GRANT SELECT ON TABLE source.told",
        "GRANT SELECT ON TABLE source.users",
        "GRANT SELECT, INSERT, DELETE, TRUNCATE ON TABLE warehouse.fresh",
        "GRANT SELECT, INSERT ON TABLE warehouse.kept",
        "GRANT SELECT ON TABLE warehouse.places",
        "GRANT SELECT, INSERT, UPDATE ON TABLE warehouse.raw",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE warehouse.report",
    ]
    later = "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA warehouse GRANT"
    assert f'{later} SELECT, INSERT, UPDATE, DELETE ON TABLES TO "Etl";' in lines
    assert f"{later} SELECT ON TABLES TO report;" in lines
    assert not any("pgflow." in line for line in lines if line.endswith("TO report;"))


def test_what_it_prints_is_sql(ready: Place, invoke: Invoke) -> None:
    """The output as a whole runs, twice."""
    ready.create()
    ran = invoke("grants", "--migrator", "postgres", "--loader", "postgres")
    ready.execute(ran.out)
    ready.execute(ran.out)


def test_a_role_must_be_named(ready: Place, invoke: Invoke) -> None:
    """Without a role there is nothing to say."""
    ran = invoke("grants")
    assert ran.code == 2
    assert "--migrator, --loader or --reader" in ran.err
