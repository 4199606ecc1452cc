"""Enums, domains, composite types and ranges: made as they were, and altered in place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError

from pgflow.alembic.entity import Entity, Mark, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kind import Kind
from pgflow.alembic.kinds import enums
from pgflow.alembic.kinds.composites import COMPOSITE
from pgflow.alembic.kinds.domains import DOMAIN
from pgflow.alembic.kinds.enums import ENUM
from pgflow.alembic.kinds.ranges import RANGE
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Hazard
from tests.migrations.kinds.catalogue import Catalogue, check_change, check_round_trip

ROUND_TRIPS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "enum": (ENUM, (r"CREATE TYPE app.e AS ENUM ('it''s', E'a\\b', '%s', ':x', 'ü', '')",)),
    "enum without values": (ENUM, ('CREATE TYPE app."Big One" AS ENUM ()',)),
    "domain": (DOMAIN, ("CREATE DOMAIN app.d AS numeric(12, 2)",)),
    "domain with everything": (
        DOMAIN,
        (
            "CREATE DOMAIN app.d AS varchar(9) COLLATE \"C\" DEFAULT 'x' || 'y' NOT NULL "
            "CONSTRAINT filled CHECK (VALUE <> '') CONSTRAINT \"Short\" CHECK (length(VALUE) < 9)",
            "ALTER DOMAIN app.d ADD CONSTRAINT later CHECK (VALUE <> 'no') NOT VALID",
            "COMMENT ON CONSTRAINT filled ON DOMAIN app.d IS 'it''s a must'",
        ),
    ),
    "domain over an array": (DOMAIN, ("CREATE DOMAIN app.d AS integer[]",)),
    "composite": (
        COMPOSITE,
        (
            'CREATE TYPE app.c AS (a integer, "B b" text COLLATE "C", c numeric(5, 1)[])',
            "COMMENT ON COLUMN app.c.a IS 'first'",
        ),
    ),
    "composite without attributes": (COMPOSITE, ("CREATE TYPE app.c AS ()",)),
    "range": (RANGE, ("CREATE TYPE app.r AS RANGE (subtype = float8, subtype_diff = float8mi)",)),
    "range with a named multirange": (
        RANGE,
        (
            'CREATE TYPE app.r AS RANGE (subtype = text, collation = "C", '
            'multirange_type_name = app."All r", subtype_opclass = text_pattern_ops)',
        ),
    ),
}


@pytest.mark.parametrize("case", ROUND_TRIPS)
def test_a_type_is_dropped_and_made_again(catalogue: Catalogue, case: str) -> None:
    """What is made from a type that was read prints as that type did."""
    kind, statements = ROUND_TRIPS[case]
    check_round_trip(catalogue, kind, *statements)


CHANGES: dict[str, tuple[Kind, str, str, list[str]]] = {
    "default set": (
        DOMAIN,
        "CREATE DOMAIN app.d AS integer",
        "CREATE DOMAIN app.d AS integer DEFAULT 1 + 1",
        ["ALTER DOMAIN app.d SET DEFAULT (1 + 1)"],
    ),
    "not null": (
        DOMAIN,
        "CREATE DOMAIN app.d AS integer",
        "CREATE DOMAIN app.d AS integer NOT NULL",
        ["ALTER DOMAIN app.d SET NOT NULL"],
    ),
    "check added": (
        DOMAIN,
        "CREATE DOMAIN app.d AS integer",
        "CREATE DOMAIN app.d AS integer CONSTRAINT p CHECK (VALUE > 0)",
        ["ALTER DOMAIN app.d ADD CONSTRAINT p CHECK ((VALUE > 0))"],
    ),
    "check changed, with its comment": (
        DOMAIN,
        "CREATE DOMAIN app.d AS integer CONSTRAINT p CHECK (VALUE > 0); "
        "COMMENT ON CONSTRAINT p ON DOMAIN app.d IS 'one'",
        "CREATE DOMAIN app.d AS integer CONSTRAINT p CHECK (VALUE > 1); "
        "COMMENT ON CONSTRAINT p ON DOMAIN app.d IS 'one'",
        [
            "ALTER DOMAIN app.d DROP CONSTRAINT p",
            "ALTER DOMAIN app.d ADD CONSTRAINT p CHECK ((VALUE > 1))",
            "COMMENT ON CONSTRAINT p ON DOMAIN app.d IS 'one'",
        ],
    ),
    "check renamed": (
        DOMAIN,
        "CREATE DOMAIN app.d AS integer CONSTRAINT p CHECK (VALUE > 0)",
        'CREATE DOMAIN app.d AS integer CONSTRAINT "Q" CHECK (VALUE > 0)',
        ['ALTER DOMAIN app.d RENAME CONSTRAINT p TO "Q"'],
    ),
    "check validated": (
        DOMAIN,
        "CREATE DOMAIN app.d AS integer; "
        "ALTER DOMAIN app.d ADD CONSTRAINT p CHECK (VALUE > 0) NOT VALID",
        "CREATE DOMAIN app.d AS integer CONSTRAINT p CHECK (VALUE > 0)",
        ["ALTER DOMAIN app.d VALIDATE CONSTRAINT p"],
    ),
    "another base type": (
        DOMAIN,
        "CREATE DOMAIN app.d AS integer",
        "CREATE DOMAIN app.d AS bigint",
        [
            "ALTER DOMAIN app.d RENAME TO d_before",
            "CREATE DOMAIN app.d AS bigint",
            "DROP DOMAIN app.d_before",
        ],
    ),
    "attributes": (
        COMPOSITE,
        "CREATE TYPE app.c AS (a integer, b text)",
        'CREATE TYPE app.c AS (a integer, b varchar(3), "C" date)',
        ['ALTER TYPE app.c ALTER ATTRIBUTE b TYPE character varying(3), ADD ATTRIBUTE "C" date'],
    ),
    "attribute dropped at the end": (
        COMPOSITE,
        "CREATE TYPE app.c AS (a integer, b text)",
        "CREATE TYPE app.c AS (a integer)",
        ["ALTER TYPE app.c DROP ATTRIBUTE b"],
    ),
    "attribute commented": (
        COMPOSITE,
        "CREATE TYPE app.c AS (a integer)",
        "CREATE TYPE app.c AS (a integer); COMMENT ON COLUMN app.c.a IS 'x'",
        ["COMMENT ON COLUMN app.c.a IS 'x'"],
    ),
    "multirange renamed": (
        RANGE,
        "CREATE TYPE app.r AS RANGE (subtype = date)",
        'CREATE TYPE app.r AS RANGE (subtype = date, multirange_type_name = app."R s")',
        ['ALTER TYPE app.r_multirange RENAME TO "R s"'],
    ),
    "another subtype": (
        RANGE,
        'CREATE TYPE app.r AS RANGE (subtype = date, multirange_type_name = app."R ""s")',
        'CREATE TYPE app.r AS RANGE (subtype = timestamptz, multirange_type_name = app."R ""s")',
        [
            "DROP TYPE app.r",
            "CREATE TYPE app.r AS RANGE (SUBTYPE = timestamp with time zone, "
            'MULTIRANGE_TYPE_NAME = app."R ""s")',
        ],
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_type_becomes_what_is_declared_and_back(catalogue: Catalogue, case: str) -> None:
    """A change leads exactly to the declared type, and the reverse change to the old one."""
    kind, old, new, expected = CHANGES[case]
    assert check_change(catalogue, kind, old, new) == expected


def test_attributes_in_another_order_need_a_new_type(catalogue: Catalogue) -> None:
    """PostgreSQL adds attributes at the end only."""
    [new] = catalogue.tried(COMPOSITE, "CREATE TYPE app.c AS (b text, a integer)")
    catalogue.run("CREATE TYPE app.c AS (a integer)")
    [old] = catalogue.read(COMPOSITE)
    assert COMPOSITE.change(old, new, (catalogue.world(), catalogue.world())) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("'b'", "'a', 'b', 'c'"),
        ("'b', 'e'", "'a', 'a2', 'b', 'c', 'd', 'e', 'f'"),
        ("", "'x', 'y'"),
        ("'it''s'", "'it''s', 'that''s'"),
    ],
)
def test_values_are_added_where_they_belong(catalogue: Catalogue, before: str, after: str) -> None:
    """New values of an enum stand in the declared order, several next to each other too."""
    [new] = catalogue.tried(ENUM, f"CREATE TYPE app.e AS ENUM ({after})")
    catalogue.run(f"CREATE TYPE app.e AS ENUM ({before})")
    [old] = catalogue.read(ENUM)
    change = catalogue.alter(ENUM, old, new)
    assert [each.facts for each in catalogue.read(ENUM)] == [new.facts]
    assert not change.disturbs
    for statement in change.statements:
        assert statement.autocommit
        assert statement.hazards == (Hazard.NO_TRANSACTION,)
        assert statement.sql.startswith("ALTER TYPE app.e ADD VALUE IF NOT EXISTS ")
    assert len(change.statements) == len(new.facts["values"]) - len(old.facts["values"])  # type: ignore[arg-type]  # tuples, as the enum's facts are


def _column(table: str, name: str, type_: str) -> Entity:
    return Entity(EntityIdentifier("app", name, kind="column", table=table), {"type": type_})


class TestRebuild:
    """An enum that loses, renames or moves values is put in place under the columns that use it."""

    @pytest.fixture
    def worlds(self, catalogue: Catalogue) -> tuple[Snapshot, Snapshot]:
        """Two worlds with two tables that use `app.e`, one of them in an array."""
        catalogue.run(
            "CREATE TYPE app.e AS ENUM ('a', 'b', 'c')",
            "COMMENT ON TYPE app.e IS 'states [pgflow]'",
            'CREATE TABLE app.t (id integer, e app.e, "All" app.e[])',
            "CREATE TABLE app.u (e app.e)",
            "INSERT INTO app.t VALUES (1, 'a', '{a,b}'), (2, NULL, NULL)",
        )
        columns = [_column("t", "e", "app.e"), _column("t", "All", "app.e[]")]
        columns.append(_column("u", "e", "app.e"))
        old = catalogue.named(ENUM, "e")
        needs = {column.id: frozenset({old.id}) for column in columns}
        before = replace(catalogue.world([old, *columns]), depends=needs)
        return before, replace(before)

    def test_rows_keep_their_values(
        self, catalogue: Catalogue, worlds: tuple[Snapshot, Snapshot]
    ) -> None:
        """Columns and arrays of the type move over; its comment, mark and rights stay."""
        catalogue.run("CREATE ROLE pgflow_types_r", "GRANT USAGE ON TYPE app.e TO pgflow_types_r")
        catalogue.run("REVOKE USAGE ON TYPE app.e FROM PUBLIC")
        old = catalogue.named(ENUM, "e")
        new = replace(old, facts={"values": ("z", "b", "a")})
        change = ENUM.change(old, new, worlds)
        assert change.disturbs
        catalogue.run(*change.statements)
        rows = catalogue.connection.exec_driver_sql('SELECT e::text, "All"::text FROM app.t')
        assert rows.all() == [("a", "{a,b}"), (None, None)]
        after = catalogue.named(ENUM, "e")
        assert after == new
        assert after.mark == Mark()
        assert after.privileges == {Privilege("pgflow_types_r", "USAGE")}
        assert catalogue.names(ENUM) == {"e"}
        moves = [each for each in change.statements if each.sql.startswith("ALTER TABLE")]
        assert [each.hazards for each in moves] == [(Hazard.REWRITES, Hazard.EXCLUSIVE)] * 2

    def test_a_removed_value_in_use_stops_it(
        self, catalogue: Catalogue, worlds: tuple[Snapshot, Snapshot]
    ) -> None:
        """The error names the value that rows still hold, and nothing is changed."""
        old = catalogue.named(ENUM, "e")
        new = replace(old, facts={"values": ("b", "c")})
        savepoint = catalogue.connection.begin_nested()
        with pytest.raises(DBAPIError, match='invalid input value for enum app.e: "a"'):
            catalogue.run(*enums.rebuild(old, new, worlds).statements)
        savepoint.rollback()
        assert catalogue.named(ENUM, "e") == old

    def test_a_column_that_goes_is_not_moved(
        self, catalogue: Catalogue, worlds: tuple[Snapshot, Snapshot]
    ) -> None:
        """Columns that the migration drops are gone before."""
        before, after = worlds
        gone = EntityIdentifier("app", "e", kind="column", table="u")
        left = {key: value for key, value in after.entities.items() if key != gone}
        old = catalogue.named(ENUM, "e")
        new = replace(old, facts={"values": ("a", "b")})
        change = ENUM.change(old, new, (before, replace(after, entities=left)))
        assert not any("app.u" in each.sql for each in change.statements)

    def test_the_spare_name_is_free(self, catalogue: Catalogue) -> None:
        """The old type steps aside to a name that nothing has."""
        catalogue.run("CREATE TYPE app.e AS ENUM ('a')", "CREATE TYPE app.e_before AS ENUM ('a')")
        entities = catalogue.read(ENUM)
        old = catalogue.named(ENUM, "e")
        new = replace(old, facts={"values": ()})
        worlds = (catalogue.world(entities), catalogue.world(entities))
        catalogue.run(*ENUM.change(old, new, worlds).statements)
        assert catalogue.names(ENUM) == {"e", "e_before"}


def test_columns_keep_their_ranges(catalogue: Catalogue) -> None:
    """A range that is made again finds the values of its columns."""
    catalogue.run(
        "CREATE TYPE app.r AS RANGE (subtype = integer)",
        "CREATE TABLE app.t (r app.r, rs app.r[])",
        "INSERT INTO app.t VALUES ('[1,4)', '{\"[1,2)\",empty}')",
    )
    [new] = catalogue.tried(
        RANGE,
        "DROP TABLE app.t; DROP TYPE app.r; CREATE TYPE app.r AS RANGE (subtype = numeric)",
    )
    [old] = catalogue.read(RANGE)
    columns = [_column("t", "r", "app.r"), _column("t", "rs", "app.r[]")]
    needs = {column.id: frozenset({old.id}) for column in columns}
    world = replace(catalogue.world([old, *columns]), depends=needs)
    catalogue.run(*RANGE.change(old, new, (world, world)).statements)
    rows = catalogue.connection.exec_driver_sql("SELECT r::text, rs::text FROM app.t")
    assert rows.all() == [("[1,4)", '{"[1,2)",empty}')]
    assert catalogue.read(RANGE) == [new]


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (ENUM, "CREATE TYPE app.x AS ENUM ('a')"),
        (DOMAIN, "CREATE DOMAIN app.x AS integer"),
        (COMPOSITE, "CREATE TYPE app.x AS (a integer)"),
        (RANGE, "CREATE TYPE app.x AS RANGE (subtype = date)"),
    ],
)
def test_a_type_is_renamed_and_moved(catalogue: Catalogue, kind: Kind, statement: str) -> None:
    """A type gets a new name and another schema."""
    catalogue.run("CREATE SCHEMA other", statement)
    [old] = catalogue.read(kind)
    new = replace(old.id, schema="other", name="New x")
    catalogue.run(*kind.rename(old.id, new) or ())
    assert [each.id for each in catalogue.read(kind, "app", "other")] == [new]


def test_types_of_extensions_and_tables_are_not_read(catalogue: Catalogue) -> None:
    """Row types of tables and the types of an extension belong to those."""
    catalogue.run("CREATE TABLE app.t (a integer)", "CREATE EXTENSION hstore SCHEMA app")
    for kind in (ENUM, DOMAIN, COMPOSITE, RANGE):
        assert catalogue.read(kind) == []


def test_a_composite_type_is_read_with_its_rights(catalogue: Catalogue) -> None:
    """PUBLIC may use a type unless somebody revokes it."""
    catalogue.run("CREATE TYPE app.c AS (a integer)")
    assert catalogue.named(COMPOSITE, "c").privileges == {Privilege("", "USAGE")}
    catalogue.run("REVOKE USAGE ON TYPE app.c FROM PUBLIC")
    assert catalogue.named(COMPOSITE, "c").privileges == frozenset()
