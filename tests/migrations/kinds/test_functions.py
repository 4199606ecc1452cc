"""Functions, procedures and aggregates: made to the byte, replaced where the server allows it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError

from pgflow.alembic.entity import Entity, Mark, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kind import Kind
from pgflow.alembic.kinds.functions import AGGREGATE, FUNCTION, PROCEDURE
from pgflow.alembic.statement import Statement
from tests.migrations.kinds.catalogue import Catalogue, check_change, check_round_trip

TABLE = "CREATE TABLE app.t (id integer, name varchar(20))"

FUNCTIONS = {
    "no arguments": "app.f() RETURNS void LANGUAGE sql AS ''",
    "defaults": "app.f(a integer, b text DEFAULT 'x''$$', c varchar(9)[] DEFAULT ARRAY['q']) "
    "RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "out": "app.f(a integer, OUT b integer, INOUT c numeric DEFAULT 1) LANGUAGE plpgsql "
    "AS 'begin b := a; end'",
    "variadic": "app.f(VARIADIC a integer[]) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1'",
    "table": "app.f() RETURNS TABLE (a integer, b app.t) LANGUAGE sql ROWS 5 "
    "AS 'SELECT 1, t FROM app.t'",
    "setof": "app.f() RETURNS SETOF app.t LANGUAGE sql AS 'SELECT * FROM app.t'",
    "polymorphic": "app.f(anyelement, anyarray DEFAULT NULL::int[]) RETURNS anyelement "
    "LANGUAGE sql AS 'SELECT $1'",
    "all options": "app.f(a integer) RETURNS integer LANGUAGE plpgsql STABLE STRICT LEAKPROOF "
    "SECURITY DEFINER PARALLEL SAFE COST 7 SET search_path = app, \"A b\", '' "
    "SET work_mem = '64MB' SET \"my.own\" = 'it''s' AS 'begin return a; end'",
    "window": "app.f() RETURNS bigint LANGUAGE internal WINDOW AS 'window_row_number'",
    "support": "app.f(anynonarray) RETURNS SETOF anynonarray LANGUAGE sql "
    "SUPPORT array_unnest_support AS 'SELECT $1'",
    "internal": "app.f(text) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'textlen'",
    "c": "app.f() RETURNS trigger LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator'",
    "trigger": "app.f() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end'",
    "event trigger": "app.f() RETURNS event_trigger LANGUAGE plpgsql AS 'begin end'",
    "return": "app.f(a integer) RETURNS integer LANGUAGE sql RETURN a + 1",
    "atomic": "app.f(id integer) RETURNS TABLE (name text) LANGUAGE sql BEGIN ATOMIC "
    "SELECT t.name FROM app.t WHERE t.id = f.id AND t.name IN ('a', 'b'); END",
    "quoted": 'app."F (x"("a, b" integer) RETURNS integer LANGUAGE sql AS \'SELECT 1\'',
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_a_function_is_dropped_and_made_again(catalogue: Catalogue, case: str) -> None:
    """What is made from a function that was read prints as that function did."""
    catalogue.run(TABLE)
    check_round_trip(catalogue, FUNCTION, f"CREATE FUNCTION {FUNCTIONS[case]}")


PROCEDURES = {
    "plain": "app.p() LANGUAGE plpgsql AS 'begin commit; end'",
    "out": "app.p(a integer, OUT b integer, INOUT c text DEFAULT 'x') LANGUAGE plpgsql "
    "AS 'begin b := a; end'",
    "atomic": "app.p() LANGUAGE sql BEGIN ATOMIC INSERT INTO app.t VALUES (1); "
    "DELETE FROM app.t WHERE name IN (SELECT 'a'); END",
}


@pytest.mark.parametrize("case", PROCEDURES)
def test_a_procedure_is_dropped_and_made_again(catalogue: Catalogue, case: str) -> None:
    """What is made from a procedure that was read prints as that procedure did."""
    catalogue.run(TABLE)
    check_round_trip(catalogue, PROCEDURE, f"CREATE PROCEDURE {PROCEDURES[case]}")


BODY = '-- $$ $function$ $function\r\n\tit\'s "x" """ \\ \\\\ %s %% :name ::int ü 😀\r\n  ends in $'


@pytest.mark.parametrize("opening", ["", "\n", "\r\n", "  "], ids=repr)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n\r\n", "\t"], ids=repr)
def test_a_body_is_kept_to_the_byte(catalogue: Catalogue, opening: str, ending: str) -> None:
    """Line ends, quotes, dollars, backslashes and blanks of a body survive."""
    body = f"{opening}{BODY}{ending}"
    quoted = body.replace("'", "''")
    function = check_round_trip(
        catalogue,
        FUNCTION,
        "SET check_function_bodies = off",
        f"CREATE FUNCTION app.f() RETURNS void LANGUAGE plpgsql AS '{quoted}'",
    )
    assert function.notes == {"language": "plpgsql", "body": body}
    assert catalogue.scalar("SELECT prosrc FROM pg_proc WHERE proname = 'f'") == body


def test_overloads_are_told_apart(catalogue: Catalogue) -> None:
    """Functions of one name have their argument types as part of their identity."""
    catalogue.run(
        'CREATE TYPE app."My type" AS (a integer)',
        "CREATE FUNCTION app.f(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION app.f(a numeric(9, 2), OUT b text) LANGUAGE sql AS 'SELECT ''x'''",
        'CREATE FUNCTION app.f(app."My type", VARIADIC text[]) RETURNS integer LANGUAGE sql '
        "AS 'SELECT 1'",
    )
    arguments = [entity.id.arguments for entity in catalogue.read(FUNCTION)]
    assert sorted(map(str, arguments)) == ['app."My type", text[]', "integer", "numeric"]
    [label] = [FUNCTION.label(e.id) for e in catalogue.read(FUNCTION) if "My" in str(e.id)]
    catalogue.run(f"COMMENT ON {label} IS 'x'", f"DROP {label}")
    assert len(catalogue.read(FUNCTION)) == 2


def test_what_is_known_of_a_function_beside_its_text(catalogue: Catalogue) -> None:
    """Owner, mark, comment and rights are read with it; PUBLIC may execute unless told not to."""
    catalogue.run(
        "CREATE ROLE caller",
        "CREATE FUNCTION app.f() RETURNS void LANGUAGE sql AS ''",
        "CREATE FUNCTION app.g() RETURNS void LANGUAGE sql AS ''",
        "COMMENT ON FUNCTION app.f() IS 'mine [pgflow]'",
        "REVOKE EXECUTE ON FUNCTION app.f() FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION app.f() TO caller WITH GRANT OPTION",
    )
    f, g = catalogue.read(FUNCTION)
    assert (f.comment, f.mark) == ("mine", Mark())
    assert f.privileges == {Privilege("caller", "EXECUTE", grantable=True)}
    assert g.privileges == {Privilege("", "EXECUTE")}


def test_functions_that_come_with_types_and_extensions_are_not_read(catalogue: Catalogue) -> None:
    """Constructors of ranges and functions of extensions belong to those."""
    catalogue.run(
        "CREATE TYPE app.r AS RANGE (subtype = float8)", "CREATE EXTENSION pg_trgm SCHEMA app"
    )
    assert [entity.id for kind in (FUNCTION, PROCEDURE) for entity in catalogue.read(kind)] == []


def test_making_a_function_never_replaces_another(catalogue: Catalogue) -> None:
    """A function that somebody else made in the meantime is not overwritten."""
    [function] = catalogue.tried(
        FUNCTION, "CREATE FUNCTION app.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'"
    )
    catalogue.run("CREATE FUNCTION app.f() RETURNS integer LANGUAGE sql AS 'SELECT 2'")
    [statement] = FUNCTION.create(function, catalogue.world())
    with pytest.raises(DBAPIError, match="already exists"):
        catalogue.run(statement)


def test_a_function_is_replaced_in_place(catalogue: Catalogue) -> None:
    """Another body and other options keep the function, its rights and what is built on it."""
    old = "CREATE FUNCTION app.f(a integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'"
    new = (
        "CREATE FUNCTION app.f(a integer DEFAULT 3) RETURNS integer LANGUAGE plpgsql STABLE "
        "SET search_path = '' AS 'begin return 2; end'"
    )
    [after] = catalogue.tried(FUNCTION, new)
    catalogue.run(old, "CREATE VIEW app.v AS SELECT app.f(1)")
    [before] = catalogue.read(FUNCTION)
    change = catalogue.alter(FUNCTION, before, after)
    assert [s.sql.partition("\n")[0] for s in change.statements] == [
        "CREATE OR REPLACE FUNCTION app.f(a integer DEFAULT 3)"
    ]
    assert catalogue.read(FUNCTION) == [after]


#: Heads of functions with the same argument types, any two of which are tried as old and new.
HEADS = {
    "(a integer, b integer) RETURNS integer",
    "(integer, integer) RETURNS integer",
    "(a integer, integer) RETURNS integer",
    "(b integer, a integer) RETURNS integer",
    "(a integer, b integer) RETURNS bigint",
    "(a integer, b integer) RETURNS SETOF integer",
    "(a integer, b integer) RETURNS record",
    "(a integer, b integer DEFAULT 1) RETURNS integer",
    "(a integer DEFAULT 2, b integer DEFAULT 1) RETURNS integer",
    "(a integer, b integer, OUT c integer)",
    "(a integer, b integer, OUT d integer)",
    "(a integer, b integer, OUT c integer, OUT d text)",
    "(a integer, b integer, OUT c integer, OUT e text)",
    "(a integer, b integer, OUT c integer, OUT d varchar)",
    "(a integer, OUT c integer, b integer, OUT d text)",
    "(a integer, INOUT b integer)",
    "(a integer, INOUT b integer, OUT c text)",
    "(a integer, b integer) RETURNS TABLE (c integer)",
    "(a integer, b integer) RETURNS TABLE (d integer)",
    "(a integer, b integer) RETURNS TABLE (c integer, d text)",
    "(a integer, b integer, OUT c integer, OUT d text) RETURNS SETOF record",
}
PROCEDURE_HEADS = {
    "(a integer, b integer)",
    "(a integer, b integer DEFAULT 1)",
    "(a integer, c integer)",
    "(a integer, b integer, OUT c integer)",
    "(a integer, b integer, OUT d integer)",
    "(a integer, b integer, OUT c integer, OUT d text)",
    "(a integer, INOUT b integer)",
    "(a integer, INOUT b integer, OUT c integer)",
}
HEAD_SETS: dict[str, tuple[Kind, set[str]]] = {
    "functions": (FUNCTION, HEADS),
    "procedures": (PROCEDURE, PROCEDURE_HEADS),
}


@pytest.mark.parametrize("case", HEAD_SETS)
def test_what_can_be_replaced_is_what_the_server_replaces(catalogue: Catalogue, case: str) -> None:
    """For any two heads with the same arguments, pgflow and the server agree."""
    kind, heads = HEAD_SETS[case]
    catalogue.run("SET check_function_bodies = off")
    worlds = (catalogue.world(), catalogue.world())

    def made(head: str, verb: str = "CREATE") -> str:
        return f"{verb} {kind.name.upper()} app.f{head} LANGUAGE plpgsql AS 'begin end'"

    entities = {head: catalogue.tried(kind, made(head))[0] for head in sorted(heads)}
    said, done = {}, {}
    for old in entities:
        for new in entities:
            savepoint = catalogue.connection.begin_nested()
            catalogue.run(made(old))
            try:
                catalogue.run(made(new, "CREATE OR REPLACE"))
            except DBAPIError:
                done[old, new] = False
            else:
                done[old, new] = True
            savepoint.rollback()
            said[old, new] = kind.change(entities[old], entities[new], worlds) is not None
    assert said == done
    assert len({*done.values()}) == 2


def test_another_default_of_a_polymorphic_parameter_needs_another_function(
    catalogue: Catalogue,
) -> None:
    """The server would refuse a default of another type, so that none is tried."""
    worlds = (catalogue.world(), catalogue.world())
    none, number, text = (
        catalogue.tried(
            FUNCTION,
            f"CREATE FUNCTION app.f(a anyelement{default}) RETURNS integer LANGUAGE sql "
            "AS 'SELECT 1'",
        )[0]
        for default in ("", " DEFAULT 1", " DEFAULT 'x'::text")
    )
    assert FUNCTION.change(number, text, worlds) is None
    assert FUNCTION.change(none, number, worlds) is not None


def test_a_window_function_is_no_plain_one(catalogue: Catalogue) -> None:
    """A function cannot be turned into a window function."""
    head = "CREATE FUNCTION app.f() RETURNS bigint LANGUAGE internal"
    [plain] = catalogue.tried(FUNCTION, f"{head} AS 'pg_backend_pid'")
    [window] = catalogue.tried(FUNCTION, f"{head} WINDOW AS 'window_row_number'")
    assert FUNCTION.change(plain, window, (catalogue.world(), catalogue.world())) is None


@pytest.mark.parametrize("kind", [FUNCTION, PROCEDURE, AGGREGATE], ids=lambda kind: kind.name)
def test_a_routine_is_renamed_and_moved(catalogue: Catalogue, kind: Kind) -> None:
    """A routine gets another name and schema; that changes none of its facts."""
    texts = {
        "function": "(a integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "procedure": "(a integer) LANGUAGE sql AS 'SELECT 1'",
        "aggregate": "(integer) (SFUNC = int4pl, STYPE = integer)",
    }
    catalogue.run("CREATE SCHEMA other", f"CREATE {kind.name} app.f{texts[kind.name]}")
    [before] = catalogue.read(kind)
    new = EntityIdentifier("other", "G", kind=kind.name, arguments="integer")
    catalogue.run(*(kind.rename(before.id, new) or ()))
    [after] = catalogue.read(kind, "other")
    assert after == replace(before, id=new)


AGGREGATES = {
    "plain": "app.a(integer) (SFUNC = int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = int4pl, "
    "PARALLEL = SAFE, SSPACE = 100)",
    "two arguments": 'app.a(x float8, "y z" float8) (SFUNC = float8_regr_accum, '
    "STYPE = float8[], FINALFUNC = float8_corr, FINALFUNC_MODIFY = SHAREABLE, "
    "INITCOND = '{0,0,0,0,0,0}')",
    "star": "app.a(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')",
    "moving": "app.a(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0', MSFUNC = int8inc, "
    "MINVFUNC = int8dec, MSTYPE = int8, MSSPACE = 8, MINITCOND = '0')",
    "moving with a final function": "app.a(numeric) (SFUNC = numeric_avg_accum, STYPE = internal, "
    "FINALFUNC = numeric_sum, SERIALFUNC = numeric_avg_serialize, COMBINEFUNC = "
    "numeric_avg_combine, DESERIALFUNC = numeric_avg_deserialize, MSFUNC = numeric_avg_accum, "
    "MINVFUNC = numeric_accum_inv, MSTYPE = internal, MFINALFUNC = numeric_sum, "
    "MFINALFUNC_MODIFY = READ_WRITE)",
    "sorted": "app.a(x integer) (SFUNC = int4larger, STYPE = int, SORTOP = OPERATOR(pg_catalog.>))",
    "variadic": "app.a(VARIADIC integer[]) (SFUNC = app.first, STYPE = int)",
    "ordered set": "app.a(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, "
    "STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA)",
    "hypothetical set": 'app.a(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = '
    "ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, "
    "HYPOTHETICAL)",
}


@pytest.mark.parametrize("case", AGGREGATES)
def test_an_aggregate_is_dropped_and_made_again(catalogue: Catalogue, case: str) -> None:
    """What is made from an aggregate that was read prints as that aggregate did."""
    catalogue.run(
        "CREATE FUNCTION app.first(integer, VARIADIC integer[]) RETURNS integer LANGUAGE sql "
        "AS 'SELECT $1'"
    )
    aggregate = check_round_trip(catalogue, AGGREGATE, f"CREATE AGGREGATE {AGGREGATES[case]}")
    catalogue.run(Statement(f"COMMENT ON {AGGREGATE.label(aggregate.id)} IS 'x [pgflow]'"))
    [marked] = catalogue.read(AGGREGATE)
    assert marked == replace(aggregate, comment="x", mark=Mark())


def test_an_aggregate_is_replaced_in_place(catalogue: Catalogue) -> None:
    """Another transition function or first value keeps the aggregate."""
    old = "CREATE AGGREGATE app.a(integer) (SFUNC = int4pl, STYPE = int, INITCOND = '0')"
    new = "CREATE AGGREGATE app.a(integer) (SFUNC = int4larger, STYPE = int)"
    [statement] = check_change(catalogue, AGGREGATE, old, new)
    assert statement.startswith("CREATE OR REPLACE AGGREGATE app.a(integer) (")


def test_another_result_needs_another_aggregate(catalogue: Catalogue) -> None:
    """What OR REPLACE refuses is said to be impossible in place."""
    worlds = (catalogue.world(), catalogue.world())

    def made(text: str) -> Entity:
        return catalogue.tried(AGGREGATE, f"CREATE AGGREGATE app.a{text}")[0]

    plain = made("(integer) (SFUNC = int4pl, STYPE = int)")
    named = made("(x integer) (SFUNC = int4pl, STYPE = int)")
    other = made("(integer) (SFUNC = int4pl, STYPE = int, FINALFUNC = int4abs)")
    assert AGGREGATE.change(plain, other, worlds) is not None
    wide = made("(integer) (SFUNC = int84pl, STYPE = int8, INITCOND = '0')")
    assert AGGREGATE.change(plain, wide, worlds) is None
    assert AGGREGATE.change(named, plain, worlds) is None
