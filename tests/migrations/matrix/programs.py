"""Changes of views, functions, triggers, rules and policies."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, Numeric, Text
from sqlalchemy_declarative_extensions import View, register_view

from pgflow.alembic import declare_sql
from tests.migrations.matrix.case import Case, Declaration, both, declares, items, plain

VIEW = "CREATE VIEW app.v AS SELECT id, label FROM app.items"
WIDER = "CREATE VIEW app.v AS SELECT id, label, quantity FROM app.items"
RETYPED = (
    "CREATE VIEW app.v AS SELECT id, upper(label) || ':x 100%' AS label, 1 AS n FROM app.items"
)
NARROWER = "CREATE VIEW app.v AS SELECT label FROM app.items"
STACKED = "CREATE VIEW app.w AS SELECT label FROM app.v"
SUMMARY = "CREATE MATERIALIZED VIEW app.m AS SELECT status, count(*) AS n FROM app.items GROUP BY 1"
SUMMARY_INDEX = "CREATE UNIQUE INDEX m_status ON app.m (status)"
NOTIFY = """CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE NOTICE '% :x \\ %%', NEW.label;
    RETURN NEW;
END
$body$"""
TRIGGER = (
    "CREATE TRIGGER touch BEFORE INSERT ON app.items FOR EACH ROW EXECUTE FUNCTION app.touch()"
)
INSTEAD = "CREATE TRIGGER put INSTEAD OF INSERT ON app.v FOR EACH ROW EXECUTE FUNCTION app.touch()"
DOUBLE = (
    "CREATE FUNCTION app.double(a integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a * 2'"
)
OUTS = (
    "CREATE FUNCTION app.f(a numeric(10,2), OUT b text, INOUT c "
    "bigint[] DEFAULT '{1}') LANGUAGE sql AS $$SELECT 'b', c$$"
)
PARSED = (
    "CREATE FUNCTION app.n() RETURNS bigint LANGUAGE sql "
    "BEGIN ATOMIC SELECT count(*) FROM app.items; END"
)
CLEAN = "CREATE PROCEDURE app.clean(a integer) LANGUAGE sql AS 'DELETE FROM app.items WHERE id < a'"
HALF = "ALTER TABLE app.items ADD COLUMN half integer GENERATED ALWAYS AS (quantity / 2) STORED"
POLICY = "CREATE POLICY visible ON app.items USING (quantity > 0)"


def view_of_new_column(metadata: MetaData) -> None:
    """Declare a new column, and the view with that column in it."""
    items(metadata, Column("note", Text))
    declare_sql(metadata, "CREATE VIEW app.v AS SELECT id, label, note FROM app.items")


def view_by_sde(definition: str) -> Declaration:
    """Declare a view as sqlalchemy-declarative-extensions does."""

    def declare(metadata: MetaData) -> None:
        items(metadata)
        register_view(metadata, View("v", definition, schema="app"))

    return declare


def retyped(metadata: MetaData) -> None:
    """Declare another type for a column that a view with a trigger and grants shows."""
    items(metadata, replace=[Column("price", Numeric(14, 4))])
    declare_sql(metadata, "CREATE VIEW app.v AS SELECT label, price FROM app.items")


def defaulting(function: str) -> Declaration:
    """Declare a column whose default calls a function."""

    def declare(metadata: MetaData) -> None:
        declare_sql(metadata, function)
        declare_sql(
            metadata, "ALTER TABLE app.items ALTER COLUMN quantity SET DEFAULT app.double(1)"
        )

    return both(plain, declare)


CASES = [
    Case("view added", plain, declares(VIEW), ["create view app.v"]),
    Case(
        "view added by sde",
        plain,
        view_by_sde("SELECT id FROM app.items WHERE label = ':x'"),
        ["create view app.v"],
    ),
    Case("view gains a column", declares(VIEW), declares(WIDER), ["alter view app.v"]),
    Case(
        "view loses a column",
        declares(VIEW),
        declares(NARROWER),
        ["drop view app.v", "create view app.v"],
    ),
    Case("view computes otherwise", declares(VIEW), declares(RETYPED), ["alter view app.v"]),
    Case("view removed", declares(VIEW), plain, ["drop view app.v"]),
    Case(
        "view of a new column",
        declares(VIEW),
        view_of_new_column,
        ["create column app.items.note", "alter view app.v"],
    ),
    Case(
        "view below another changes",
        declares(WIDER, STACKED),
        declares(NARROWER, STACKED),
        ["drop view app.w", "drop view app.v", "create view app.v", "create view app.w"],
    ),
    Case(
        "type of a column that a view shows",
        declares("CREATE VIEW app.v AS SELECT label, price FROM app.items"),
        retyped,
        ["drop view app.v", "alter column app.items.price", "create view app.v"],
    ),
    Case(
        "view options changed",
        declares(VIEW),
        declares(
            VIEW.replace(" AS", " WITH (security_invoker = true, security_barrier = true) AS")
        ),
        ["alter view app.v"],
    ),
    Case(
        "view comment added",
        declares(VIEW),
        declares(VIEW, "COMMENT ON VIEW app.v IS 'it''s \\ 100% :x'"),
        ["alter view app.v"],
    ),
    Case(
        "view with a trigger is rebuilt",
        declares(NOTIFY, VIEW, INSTEAD),
        declares(NOTIFY, NARROWER, INSTEAD),
        ["drop view app.v", "create view app.v", "create trigger app.v.put"],
    ),
    Case(
        "view renamed",
        declares(VIEW),
        lambda m: (items(m), declare_sql(m, VIEW.replace("app.v", "app.seen"), renamed_from="v")),
        ["rename view app.v"],
    ),
    Case(
        "materialized view added",
        plain,
        declares(SUMMARY, SUMMARY_INDEX),
        ["create materialized_view app.m", "create index app.m.m_status"],
    ),
    Case(
        "materialized view changed",
        declares(SUMMARY, SUMMARY_INDEX),
        declares(SUMMARY.replace("count(*)", "sum(quantity)"), SUMMARY_INDEX),
        [
            "drop materialized_view app.m",
            "create materialized_view app.m",
            "create index app.m.m_status",
        ],
    ),
    Case(
        "materialized view's index removed",
        declares(SUMMARY, SUMMARY_INDEX),
        declares(SUMMARY),
        ["drop index app.m.m_status"],
    ),
    Case(
        "materialized view removed",
        declares(SUMMARY, SUMMARY_INDEX),
        plain,
        ["drop materialized_view app.m"],
    ),
    Case("function added", plain, declares(DOUBLE), ["create function app.double(integer)"]),
    Case(
        "function body changed",
        declares(DOUBLE),
        declares(DOUBLE.replace("'SELECT a * 2'", '$x$SELECT a + a -- """ \\ %% :a $$\n$x$')),
        ["alter function app.double(integer)"],
    ),
    Case(
        "function returns another type",
        declares(DOUBLE),
        declares(DOUBLE.replace("RETURNS integer", "RETURNS bigint")),
        ["drop function app.double(integer)", "create function app.double(integer)"],
    ),
    Case(
        "function gets a search path",
        declares(DOUBLE),
        declares(
            DOUBLE.replace(
                "IMMUTABLE", "IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, app"
            )
        ),
        ["alter function app.double(integer)"],
    ),
    Case(
        "function of a default changes its type",
        defaulting(DOUBLE),
        defaulting(
            DOUBLE.replace("RETURNS integer", "RETURNS smallint").replace("a * 2", "2::smallint")
        ),
        [
            "drop default app.items.quantity",
            "drop function app.double(integer)",
            "create function app.double(integer)",
            "create default app.items.quantity",
        ],
    ),
    Case(
        "overload added",
        declares(DOUBLE),
        declares(
            DOUBLE,
            DOUBLE.replace("a integer", "a numeric, b text DEFAULT 'x:y'").replace("a * 2", "1"),
        ),
        ["create function app.double(numeric, text)"],
    ),
    Case(
        "overload removed",
        declares(DOUBLE, DOUBLE.replace("integer", "bigint")),
        declares(DOUBLE),
        ["drop function app.double(bigint)"],
    ),
    Case(
        "function with OUT parameters",
        plain,
        declares(OUTS),
        ["create function app.f(numeric, bigint[])"],
    ),
    Case(
        "function with a parsed body",
        plain,
        declares(PARSED),
        ["create function app.n()"],
    ),
    Case("function removed", declares(DOUBLE), plain, ["drop function app.double(integer)"]),
    Case(
        "procedure added",
        plain,
        declares(CLEAN),
        ["create procedure app.clean(integer)"],
    ),
    Case(
        "procedure changed",
        declares("CREATE PROCEDURE app.clean() LANGUAGE sql AS 'DELETE FROM app.items'"),
        declares(
            "CREATE PROCEDURE app.clean() LANGUAGE sql AS 'DELETE FROM app.items WHERE false'"
        ),
        ["alter procedure app.clean()"],
    ),
    Case(
        "procedure removed",
        declares("CREATE PROCEDURE app.clean() LANGUAGE sql AS 'DELETE FROM app.items'"),
        plain,
        ["drop procedure app.clean()"],
    ),
    Case(
        "trigger added",
        declares(NOTIFY),
        declares(NOTIFY, TRIGGER),
        ["create trigger app.items.touch"],
    ),
    Case(
        "trigger changed",
        declares(NOTIFY, TRIGGER),
        declares(
            NOTIFY,
            TRIGGER.replace("INSERT", "UPDATE OF label").replace(
                "ROW EXEC", "ROW WHEN (NEW.label <> OLD.label) EXEC"
            ),
        ),
        ["alter trigger app.items.touch"],
    ),
    Case(
        "trigger disabled",
        declares(NOTIFY, TRIGGER),
        declares(NOTIFY, TRIGGER, "ALTER TABLE app.items DISABLE TRIGGER touch"),
        ["alter trigger app.items.touch"],
    ),
    Case(
        "trigger removed",
        declares(NOTIFY, TRIGGER),
        declares(NOTIFY),
        ["drop trigger app.items.touch"],
    ),
    Case(
        "trigger renamed",
        declares(NOTIFY, TRIGGER),
        declares(NOTIFY, TRIGGER.replace("TRIGGER touch", "TRIGGER feel")),
        ["drop trigger app.items.touch", "create trigger app.items.feel"],
    ),
    Case(
        "constraint trigger added",
        declares(NOTIFY),
        declares(
            NOTIFY,
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.items "
            "DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION app.touch()",
        ),
        ["create trigger app.items.late"],
    ),
    Case(
        "trigger with a transition table added",
        declares(NOTIFY),
        declares(
            NOTIFY,
            "CREATE TRIGGER seen AFTER UPDATE ON app.items REFERENCING NEW TABLE AS fresh "
            "FOR EACH STATEMENT EXECUTE FUNCTION app.touch()",
        ),
        ["create trigger app.items.seen"],
    ),
    Case(
        "rule added",
        declares(VIEW),
        declares(VIEW, "CREATE RULE quiet AS ON INSERT TO app.v DO INSTEAD NOTHING"),
        ["create rule app.v.quiet"],
    ),
    Case(
        "rule removed",
        declares(VIEW, "CREATE RULE quiet AS ON INSERT TO app.v DO INSTEAD NOTHING"),
        declares(VIEW),
        ["drop rule app.v.quiet"],
    ),
    Case("policy added", plain, declares(POLICY), ["create policy app.items.visible"]),
    Case(
        "policy changed",
        declares(POLICY),
        declares(POLICY.replace("quantity > 0", "quantity > 1 OR label = ':x'")),
        ["alter policy app.items.visible"],
    ),
    Case(
        "policy for another command",
        declares(POLICY),
        declares(POLICY.replace("USING", "FOR SELECT USING")),
        ["drop policy app.items.visible", "create policy app.items.visible"],
    ),
    Case("policy removed", declares(POLICY), plain, ["drop policy app.items.visible"]),
    Case(
        "column under a generated one changes its type",
        lambda m: (
            items(m),
            declare_sql(
                m,
                HALF,
            ),
        ),
        lambda m: (
            items(m, replace=[Column("quantity", Numeric)]),
            declare_sql(
                m,
                HALF,
            ),
        ),
        [
            "drop column app.items.half",
            "alter column app.items.quantity",
            "create column app.items.half",
        ],
        keeps_rows=False,
    ),
]
