"""Objects of SQLAlchemy and of sqlalchemy-declarative-extensions, as SQL that a server accepts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    select,
    text,
)
from sqlalchemy_declarative_extensions import (
    Grants,
    Procedure,
    Row,
    Schema,
    View,
    ViewIndex,
    declare_database,
    register_function,
    register_procedure,
    register_trigger,
    register_view,
)
from sqlalchemy_declarative_extensions.dialects.postgresql import (
    DefaultGrant,
    Function,
    FunctionParam,
    FunctionReturn,
    FunctionSecurity,
    FunctionVolatility,
    Grant,
    GrantTypes,
    Role,
    Trigger,
)
from sqlalchemy_declarative_extensions.dialects.postgresql import (
    View as PostgresView,
)

from pgflow.alembic import worlds
from pgflow.alembic.entity import Entity, Privilege
from pgflow.errors import InvalidDeclaration

BODY = "\n\tBEGIN\r\n  -- $$ % %% :name \\ ''' \"\"\" ü\n  RETURN new;\nEND"


def _read(conn: Connection, metadata: MetaData) -> dict[str, Entity]:
    declared = worlds.compare(conn, metadata).declared
    return {str(identifier): entity for identifier, entity in declared.entities.items()}


def _orders() -> tuple[MetaData, Table]:
    metadata = MetaData()
    columns = (Column("id", BigInteger, primary_key=True), Column("note", Text))
    return metadata, Table("orders", metadata, *columns, schema="app")


def test_functions(conn: Connection) -> None:
    """Every form of function parameters and results is understood, and overloads are kept."""
    metadata, _ = _orders()
    for function in (
        Function("f", "SELECT 1", returns="int", parameters=["a int", "b bigint[] = '{}'"]),
        Function("f", "SELECT a", returns="numeric", parameters=[("a", "numeric(5,2)")]),
        Function(
            "outs",
            "BEGIN b := a; END",
            language="plpgsql",
            parameters=[
                FunctionParam.input("a", "integer", default=5),
                FunctionParam.output("b", "integer"),
                FunctionParam.inout("Order", "text", default="'x:y'"),
            ],
            security=FunctionSecurity.definer,
            volatility=FunctionVolatility.STABLE,
            strict=True,
        ),
        Function(
            "many",
            "SELECT id, note FROM app.orders",
            schema="app",
            parameters=[FunctionParam.variadic("v", "integer[]")],
            returns=FunctionReturn(table=[Column("id", BigInteger), ("note", "text")]),
        ),
        Function(
            "table_of",
            "BEGIN ATOMIC SELECT id FROM app.orders; END;",
            parameters=[FunctionParam.table("id", "bigint")],
        ),
        Function("nothing", "SELECT"),
    ):
        register_function(metadata, function)

    found = _read(conn, metadata)

    results = {name: e.facts["returns"] for name, e in found.items() if name[:8] == "function"}
    assert results == {
        "function app.many(integer[])": "TABLE(id bigint, note text)",
        "function public.f(integer, bigint[])": "integer",
        "function public.f(numeric)": "numeric",
        "function public.nothing()": "void",
        "function public.outs(integer, text)": "record",
        "function public.table_of()": "TABLE(id bigint)",
    }
    outs = str(found["function public.outs(integer, text)"].facts["definition"])
    assert "OUT b integer" in outs
    assert """INOUT "Order" text DEFAULT 'x:y'::text""" in outs
    assert "STABLE STRICT SECURITY DEFINER" in outs


def test_bodies(conn: Connection) -> None:
    """A body reaches the server byte by byte."""
    metadata, _ = _orders()
    register_function(
        metadata, Function("fire", BODY, returns="trigger", language="plpgsql", schema="app")
    )
    register_procedure(metadata, Procedure("tidy", BODY, language="plpgsql", schema="app"))

    found = _read(conn, metadata)

    assert found["function app.fire()"].notes["body"] == BODY
    assert found["procedure app.tidy()"].notes["body"] == BODY


def test_triggers(conn: Connection) -> None:
    """Triggers keep their condition, arguments and transition tables."""
    metadata, _ = _orders()
    register_function(
        metadata,
        Function("fire", "BEGIN RETURN new; END", returns="trigger", language="plpgsql"),
    )
    register_trigger(
        metadata,
        Trigger.before("insert", "update", on="app.orders", execute="fire", name="Before")
        .for_each_row()
        .when("NEW.note <> ':x'")
        .with_arguments("it's", "100 %"),
    )
    register_trigger(
        metadata,
        Trigger.after("update", on="app.orders", execute="public.fire", name="after")
        .referencing_old_table_as("old rows")
        .referencing_new_table_as("new_rows")
        .for_each_statement(),
    )

    found = _read(conn, metadata)

    before = found['trigger app.orders."Before"'].facts
    assert before["event"] == "BEFORE INSERT OR UPDATE"
    assert "WHEN ((new.note <> ':x'::text))" in str(before["action"])
    assert "public.fire('it''s', '100 %')" in str(before["action"])
    after = str(found["trigger app.orders.after"].facts["action"])
    assert 'REFERENCING OLD TABLE AS "old rows" NEW TABLE AS new_rows' in after


def test_views(conn: Connection) -> None:
    """Views are declared by text or by select(); materialized ones may have indexes."""
    metadata, orders = _orders()
    register_view(metadata, View("plain", "SELECT ':x %' AS a, id FROM app.orders;", schema="app"))
    register_view(
        metadata, View("built", select(orders.c.id).where(orders.c.note.like("a%b:c")), "app")
    )
    register_view(metadata, View("worded", text("SELECT ':x' AS a"), schema="app"))
    register_view(
        metadata,
        PostgresView(
            "stored",
            'SELECT id, note AS "Note" FROM app.orders',
            schema="app",
            materialized=True,
            constraints=[
                ViewIndex(["id"], unique=True),
                ViewIndex(["Note", 'upper("Note")'], "by_note"),
            ],
        ),
    )

    found = _read(conn, metadata)

    assert "':x %'::text AS a" in str(found["view app.plain"].facts["query"])
    assert "'a%b:c'::text" in str(found["view app.built"].facts["query"])
    assert "':x'::text" in str(found["view app.worded"].facts["query"])
    indexes = {n: e.facts for n, e in found.items() if n.startswith("index app.stored")}
    assert sorted(str(facts["unique"]) for facts in indexes.values()) == ["False", "True"]
    by_note = indexes["index app.stored.by_note"]["definition"]
    assert by_note == 'USING btree ("Note", upper("Note"))'
    assert found["materialized_view app.stored"].notes["populated"] is True


def test_access(conn: Connection) -> None:
    """Schemas, roles, grants and default grants are declared."""
    metadata, _ = _orders()
    declare_database(
        metadata,
        schemas=[Schema("other", use_role="d_boss")],
        roles=[
            Role("d_boss", createdb=True, connection_limit=5, inherit=False),
            Role(
                "d_clerk",
                login=True,
                in_roles=["d_boss"],
                valid_until=datetime(2040, 1, 1, tzinfo=UTC),
            ),
        ],
        grants=Grants().are(
            Grant.new("select", "insert", to="d_clerk").on_tables("app.orders"),
            Grant.new("usage", to="public").on_schemas("app"),
            Grant(("execute",), "public")
            .revoke()
            .on_objects("app.f(integer)", object_type=GrantTypes.function),
            DefaultGrant.on_tables_in_schema("app").grant("select", to="d_boss"),
        ),
        functions=[Function("f", "SELECT 1", returns="int", parameters=["a int"], schema="app")],
    )

    found = _read(conn, metadata)

    assert found["schema other"].owner == "d_boss"
    assert found["role d_clerk"].facts["login"] is True
    assert found["role d_boss"].facts["connection_limit"] == 5
    assert found["table app.orders"].privileges == {
        Privilege("d_clerk", "INSERT"),
        Privilege("d_clerk", "SELECT"),
        Privilege("d_boss", "SELECT"),
    }
    assert found["schema app"].privileges == {Privilege("", "USAGE")}
    assert found["function app.f(integer)"].privileges == frozenset()
    assert found["function app.f(integer)"].mark is not None
    assert found["function app.f(integer)"].mark.grantees == {""}
    assert 'default_privileges app."postgres/tables"' in found


def test_check_texts(conn: Connection) -> None:
    """What looks like a parameter or a format in a check or a default stays what it is."""
    metadata = MetaData()
    Table(
        "t",
        metadata,
        Column("a", Text, CheckConstraint("a <> ':x' AND a NOT LIKE '%s%%'", name="odd")),
        Column("b", Text, server_default=text("':y %(z)s'")),
        Column("c", Numeric(5, 2), CheckConstraint(text("c > :low").bindparams(low=5), name="low")),
        Column("percent %", Integer, comment="50 % :z"),
    )

    found = _read(conn, metadata)

    check = "CHECK (((a <> ':x'::text) AND (a !~~ '%s%%'::text)))"
    assert found["constraint public.t.odd"].facts["definition"] == check
    assert found["default public.t.b"].facts["expression"] == "':y %(z)s'::text"
    low = found["constraint public.t.low"].facts["definition"]
    assert low == "CHECK ((c > (5)::numeric))"
    assert found['column public.t."percent %"'].comment == "50 % :z"


@pytest.mark.parametrize(("noun", "value"), [("rows", [Row("t", a=1)]), ("databases", ["d"])])
def test_refused(conn: Connection, noun: str, value: object) -> None:
    """What migrations do not compare is refused, not forgotten."""
    metadata = MetaData()
    declare_database(metadata, **{noun: value})  # type: ignore[arg-type]  # one of them at a time

    with pytest.raises(InvalidDeclaration, match=f"declares {noun}"):
        _read(conn, metadata)


def test_view_index_refused(conn: Connection) -> None:
    """An index on a view that is not materialized is refused by name."""
    metadata = MetaData()
    register_view(
        metadata,
        PostgresView("v", "SELECT 1 AS a", schema="app", constraints=[ViewIndex(["a"], "i")]),
    )

    with pytest.raises(InvalidDeclaration, match=r"View app\.v declares indexes"):
        _read(conn, metadata)
