"""Changes of schemas, types, extensions and rights."""

from __future__ import annotations

from sqlalchemy import Column, Enum, MetaData, Text
from sqlalchemy.dialects.postgresql import DOMAIN

from pgflow.alembic import declare_sql
from tests.migrations.matrix.case import Case, Declaration, both, declares, items, plain

DOMAIN_SQL = "CREATE DOMAIN app.amount AS numeric CONSTRAINT positive CHECK (VALUE > 0)"
GRANT = "GRANT SELECT ON app.items TO {reader}"
DEFAULTS = "ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO {reader}"


def mood(
    *labels: str, name: str = "mood", view: str | None = None, default: str | None = None
) -> Declaration:
    """Declare a column of an enum, perhaps with a default and a view that tests it."""

    def declare(metadata: MetaData) -> None:
        kind = Enum(*labels, name=name, schema="app")
        items(metadata, Column("mood", kind, server_default=default))
        if view is not None:
            declare_sql(
                metadata, f"CREATE VIEW app.v AS SELECT id FROM app.items WHERE mood = '{view}'"
            )

    return declare


def amount(check: str) -> Declaration:
    """Declare a column of a domain by SQLAlchemy's own type."""

    def declare(metadata: MetaData) -> None:
        kind = DOMAIN("short", Text(), check=check, schema="app", constraint_name="brief")
        items(metadata, Column("brief", kind))

    return declare


CASES = [
    Case("schema added", plain, declares("CREATE SCHEMA extra"), ["create schema extra"]),
    Case("schema removed", declares("CREATE SCHEMA extra"), plain, ["drop schema extra"]),
    Case(
        "schema comment changed",
        declares("CREATE SCHEMA extra"),
        declares("CREATE SCHEMA extra", "COMMENT ON SCHEMA extra IS 'Extra.'"),
        ["alter schema extra"],
    ),
    Case(
        "extension added",
        plain,
        declares("CREATE EXTENSION hstore SCHEMA app"),
        ["create extension hstore"],
    ),
    Case(
        "extension removed",
        declares("CREATE EXTENSION hstore SCHEMA app"),
        plain,
        ["drop extension hstore"],
    ),
    Case(
        "enum added",
        plain,
        mood("sad", "ok"),
        ["create enum app.mood", "create column app.items.mood"],
    ),
    Case(
        "enum value added at the end, and used",
        mood("sad", "ok"),
        mood("sad", "ok", "happy", view="happy", default="happy"),
        ["alter enum app.mood", "create default app.items.mood", "create view app.v"],
    ),
    Case(
        "enum values added in the middle",
        mood("sad", "happy"),
        mood("worst", "sad", "so-so", "ok:ish", "happy"),
        ["alter enum app.mood"],
    ),
    Case(
        "enum value removed",
        mood("sad", "ok", "happy", default="ok"),
        mood("sad", "ok", default="ok"),
        ["drop default app.items.mood", "alter enum app.mood", "create default app.items.mood"],
    ),
    Case(
        "enum values in another order, under a view",
        mood("sad", "ok", view="ok"),
        mood("ok", "sad", view="ok"),
        ["drop view app.v", "alter enum app.mood", "create view app.v"],
    ),
    Case(
        "enum removed",
        mood("sad", "ok"),
        plain,
        ["drop column app.items.mood", "drop enum app.mood"],
        keeps_rows=False,
    ),
    Case("domain added", plain, declares(DOMAIN_SQL), ["create domain app.amount"]),
    Case(
        "domain changed",
        declares(DOMAIN_SQL),
        declares(DOMAIN_SQL.replace("VALUE > 0", "VALUE >= 0") + " NOT NULL"),
        ["alter domain app.amount"],
    ),
    Case(
        "domain of a column changed",
        amount("VALUE <> ':x'"),
        amount("length(VALUE) < 100"),
        ["alter domain app.short"],
    ),
    Case("domain removed", declares(DOMAIN_SQL), plain, ["drop domain app.amount"]),
    Case(
        "domain renamed",
        declares(DOMAIN_SQL),
        both(
            plain,
            lambda m: declare_sql(
                m, DOMAIN_SQL.replace("amount", "money_amount"), renamed_from="amount"
            ),
        ),
        ["rename domain app.amount"],
    ),
    Case(
        "composite type added",
        plain,
        declares('CREATE TYPE app.pair AS (a integer, "b c" text COLLATE "C")'),
        ["create composite app.pair"],
    ),
    Case(
        "composite type changed",
        declares("CREATE TYPE app.pair AS (a integer, b text)"),
        declares("CREATE TYPE app.pair AS (a bigint, c text)"),
        ["alter composite app.pair"],
    ),
    Case(
        "composite type removed",
        declares("CREATE TYPE app.pair AS (a integer)"),
        plain,
        ["drop composite app.pair"],
    ),
    Case(
        "range type added",
        plain,
        declares("CREATE TYPE app.span AS RANGE (subtype = float8, subtype_diff = float8mi)"),
        ["create range app.span"],
    ),
    Case("grant added", plain, declares(GRANT), ["alter table app.items"]),
    Case(
        "grant changed",
        declares(GRANT),
        declares(GRANT.replace("SELECT", "SELECT (id, label), INSERT")),
        ["alter table app.items"],
    ),
    Case("grant removed", declares(GRANT), plain, ["alter table app.items"]),
    Case(
        "grant on a new view",
        plain,
        declares(
            "CREATE VIEW app.v AS SELECT id FROM app.items", "GRANT SELECT ON app.v TO {reader}"
        ),
        ["create view app.v"],
    ),
    Case(
        "execution taken from everybody",
        declares("CREATE FUNCTION app.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'"),
        declares(
            "CREATE FUNCTION app.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "REVOKE EXECUTE ON FUNCTION app.one() FROM PUBLIC",
            "GRANT EXECUTE ON FUNCTION app.one() TO {reader}",
        ),
        ["alter function app.one()"],
    ),
    Case(
        "default privileges added",
        plain,
        declares(DEFAULTS),
        [
            "alter schema app",
            "alter table app.items",
            'create default_privileges app."postgres/tables"',
        ],
    ),
    Case(
        "default privileges removed",
        declares(DEFAULTS),
        plain,
        [
            "alter schema app",
            "alter table app.items",
            'drop default_privileges app."postgres/tables"',
        ],
    ),
]
