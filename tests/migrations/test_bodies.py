"""What statements and bodies name is found, whatever stands around it, and nothing raises."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow.alembic.bodies import Mentioned, mentions, references
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier


def named(found: Mentioned) -> tuple[set[str], set[str], set[str]]:
    """Write relations, functions and types as `schema.name`; those of the server are left out."""
    kinds = (found.relations, found.functions, found.types)
    relations, functions, types = (
        {f"{schema}.{name}" for schema, name in names if schema is not None} for names in kinds
    )
    return relations, functions, types


def names(text: str) -> set[str]:
    return {f"app.{name}" for name in text.split()}


STATEMENTS = {
    "view": (
        "CREATE VIEW app.v AS SELECT a.x, app.f(b.y), 'q'::app.mood FROM app.a "
        "JOIN app.b USING (id) WHERE EXISTS (SELECT FROM app.c)",
        "a b c",
        "f",
        "mood",
    ),
    "quoted": ('CREATE VIEW app.v AS SELECT * FROM app."A b" AS c, app.Big', "A_b big", "", ""),
    "trigger": (
        "CREATE TRIGGER t BEFORE INSERT ON app.t FOR EACH ROW WHEN (app.ok(new.a)) "
        "EXECUTE FUNCTION app.f()",
        "t",
        "f ok",
        "",
    ),
    "policy": (
        "CREATE POLICY p ON app.t USING (a IN (SELECT b FROM app.u WHERE app.f(b)))",
        "t u",
        "f",
        "",
    ),
    "table": (
        "CREATE TABLE app.t (a app.mood DEFAULT app.f(), b integer REFERENCES app.u, "
        "c bigint DEFAULT nextval('app.s'), d bigint DEFAULT nextval('app.\"S 2\"'::regclass), "
        "CHECK (app.g(b)), FOREIGN KEY (b) REFERENCES app.w (x))",
        "u s S_2 w",
        "f g",
        "mood",
    ),
    "partition": ("CREATE TABLE app.p1 PARTITION OF app.p FOR VALUES IN (1)", "p", "", ""),
    "parents": ("CREATE TABLE app.t (LIKE app.l) INHERITS (app.i)", "l i", "", ""),
    "alter": ("ALTER TABLE app.t ADD FOREIGN KEY (a) REFERENCES app.u", "t u", "", ""),
    "index": ("CREATE INDEX i ON app.t (app.f(a)) WHERE app.g(b)", "t", "f g", ""),
    "aggregate": (
        "CREATE AGGREGATE app.a(app.x) (SFUNC = app.f, STYPE = app.y)",
        "",
        "f y",
        "x y f",
    ),
    "domain": ("CREATE DOMAIN app.d AS app.b CHECK (app.f(VALUE))", "", "f", "b"),
    "composite": ("CREATE TYPE app.c AS (a app.d, b app.e[])", "", "", "d e"),
    "range": (
        "CREATE TYPE app.r AS RANGE (SUBTYPE = app.s, SUBTYPE_DIFF = app.f)",
        "",
        "s f",
        "s f",
    ),
    "sequence": ("CREATE SEQUENCE app.s OWNED BY app.t.a", "t", "", ""),
    "statistics": ("CREATE STATISTICS app.s ON a, b FROM app.t", "t", "", ""),
    "rule": (
        "CREATE RULE r AS ON INSERT TO app.v DO ALSO DELETE FROM app.t WHERE app.f()",
        "v t",
        "f",
        "",
    ),
    "materialized view": ("CREATE MATERIALIZED VIEW app.m AS TABLE app.t", "t", "", ""),
    "comment on a column": ("COMMENT ON COLUMN app.t.c IS 'app.x'", "t", "", ""),
    "comment on a trigger": ("COMMENT ON TRIGGER x ON app.t IS ''", "t", "", ""),
    "comment on a function": ("COMMENT ON FUNCTION app.f(app.d) IS ''", "", "f", "d"),
    "comment on a type": ("COMMENT ON TYPE app.d IS ''", "", "", "d"),
    "grant": ("GRANT SELECT ON app.t, app.u TO public", "t u", "", ""),
    "grant on a function": ("GRANT EXECUTE ON FUNCTION app.f(app.d) TO public", "", "f", "d"),
    "grant on a type": ("GRANT USAGE ON TYPE app.d TO public", "", "", "d"),
    "grant on a schema": ("GRANT USAGE ON SCHEMA app TO public", "", "", ""),
    "registry types": (
        "CREATE VIEW app.v AS SELECT 'app.f(integer)'::regprocedure, 'app.t'::regclass, "
        "'app.d'::regtype, 'app.g'::regproc",
        "t",
        "f g",
        "d",
    ),
    "atomic": (
        "CREATE FUNCTION app.f(a app.x) RETURNS TABLE (b app.y) LANGUAGE sql "
        "BEGIN ATOMIC SELECT * FROM app.t; DELETE FROM app.u; END",
        "t u",
        "",
        "x y",
    ),
    "sql body": (
        "CREATE FUNCTION app.f() RETURNS void LANGUAGE sql AS 'SELECT app.g() FROM app.t'",
        "t",
        "g",
        "",
    ),
    "column type": (
        "CREATE FUNCTION app.f(a app.t.c%TYPE) RETURNS void LANGUAGE sql AS ''",
        "t",
        "",
        "",
    ),
    "several": (
        "CREATE VIEW app.a AS TABLE app.t; CREATE VIEW app.b AS TABLE app.a",
        "t a",
        "",
        "",
    ),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_what_a_statement_names(case: str) -> None:
    """Every kind of declared statement tells which objects it needs, and not what it makes."""
    sql, relations, functions, types = STATEMENTS[case]
    found = tuple({one.replace(" ", "_") for one in kind} for kind in named(references(sql)))
    assert found == (names(relations), names(functions), names(types))


WITH = {
    "a query's name is no relation": ("WITH t AS (SELECT 1) SELECT * FROM t, u", {"u"}),
    "queries see those before them": (
        "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b",
        {"b"},
    ),
    "recursive ones see all": (
        "WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b",
        set(),
    ),
    "names end with their query": (
        "SELECT (WITH t AS (SELECT 1) SELECT * FROM t), (SELECT 1 FROM t)",
        {"t"},
    ),
    "inner queries see outer names": (
        "WITH t AS (SELECT 1) SELECT * FROM (SELECT * FROM t WHERE a IN (SELECT b FROM t)) AS x",
        set(),
    ),
    "what is written to is a table": (
        "WITH t AS (SELECT 1) INSERT INTO t SELECT * FROM t",
        {"t"},
    ),
    "a qualified name is a relation": ("WITH t AS (SELECT 1) SELECT * FROM public.t", {"public.t"}),
}


@pytest.mark.parametrize("case", WITH)
def test_names_of_with_queries(case: str) -> None:
    """A WITH query hides a relation of its name where the server says so, and only there."""
    sql, expected = WITH[case]
    found = references(sql).relations
    assert {name if schema is None else f"{schema}.{name}" for schema, name in found} == expected


HEAD = (
    "CREATE FUNCTION app.f(a app.p1, b integer[], OUT c app.p2, INOUT d numeric) LANGUAGE plpgsql"
)
BODY = """
declare
  r app.r1%rowtype; x app.r2.col%type := app.f1(1); -- begin
  y constant app.t1 := null; /* ; z app.no */
  "Q q" app."T 2"[]; k unknown_one[]; n numeric(3, 2) not null default 1;
  e record; s alias for a;
  cur cursor (i integer) for select * from app.r3 where id = i;
begin
  a.field := 4; b[1] := app.f2(); c := (select max(z) from app.r4); e.x.y := 3;
  for e in select * from app.r5 loop
    insert into app.r6 values (e.id, NEXTVAL('app.seq'));
    perform app.f3() from app.r7 where app.r7.x = 'app.no';
  end loop;
  for e in execute 'select * from app.r8' loop null; end loop;
  execute 'select app.f4() from app.r9 where x = $1' using app.f5();
  execute format('delete from app.r10 where %I = 1', 'x');
  if exists (select from app.r11) or app.f6() then
    raise notice '% %', app.f7(), (select 1 from app.r12);
  end if;
  call app.f8(1);
  with app as (select 1) select * into e from app, app.r13;
  open cur(app.f9());
  begin
    update app.r14 set a = 1;
  exception when unique_violation then
    truncate app.r15;
  end;
  return;
end
"""


def test_what_a_plpgsql_body_names() -> None:
    """Statements, expressions, declarations, cursors and constant EXECUTE texts are all read."""
    sql = f"{HEAD} AS $x${BODY}$x$"
    relations, functions, types = named(references(sql))
    assert relations == {f"app.r{number}" for number in range(1, 16)} | {"app.seq"}
    assert functions == {f"app.f{number}" for number in range(1, 10)}
    # What only looks like SQL may name a type wherever it names a relation.
    assert types == {"app.p1", "app.p2", "app.t1", "app.T 2", "app.r10"}


@pytest.mark.parametrize(
    "head",
    [
        "FUNCTION app.f() RETURNS trigger",
        "FUNCTION app.f() RETURNS event_trigger",
        "FUNCTION app.f() RETURNS void",
        "FUNCTION app.f(app.x, VARIADIC app.y[]) RETURNS app.z",
        "FUNCTION app.f() RETURNS SETOF app.z",
        "FUNCTION app.f() RETURNS TABLE (a app.z, b integer)",
        "FUNCTION app.f(a integer, OUT b app.z, INOUT c integer) RETURNS SETOF record",
        "FUNCTION app.f(OUT b app.z)",
        "PROCEDURE app.f(a app.z, INOUT b app.x)",
        'FUNCTION app.f("a b" anyelement, "select" app.x[]) RETURNS anyelement',
    ],
)
def test_every_sort_of_routine_is_read(head: str) -> None:
    """A body is understood whatever its function takes and gives, so that no variable is named."""
    body = "declare v app.v; begin v.x := 1; perform v.a from app.t where v.b = 2; end"
    found = references(f"CREATE {head} LANGUAGE plpgsql AS '{body}'")
    assert found.relations == {("app", "t")}


def test_the_body_of_a_function_that_was_read() -> None:
    """Of a function's entity only what its body names counts: the server knows its types."""
    entity = Entity(
        EntityIdentifier("app", "f", kind="function", arguments="app.p1, integer[], numeric"),
        facts={"definition": HEAD.removeprefix("CREATE FUNCTION app.f") + " AS $x$$x$"},
    )
    found = named(mentions(entity, "plpgsql", BODY))
    assert found == (
        *named(references(f"{HEAD} AS $x${BODY}$x$"))[:2],
        {"app.t1", "app.T 2", "app.r10"},
    )
    assert named(mentions(entity, "sql", "SELECT * FROM app.t")) == ({"app.t"}, set(), set())
    assert mentions(entity, "c", "app.t") == Mentioned()


UNREADABLE = [
    "begin this is no statement from app.t where app.f(1); end",
    "select $ from app.t, app . f (",
    "begin insert into app.t (a) values (app.f()",
    "'unfinished app.x' app.t \" app.f(",
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_parsed_is_searched_for_names(text: str) -> None:
    """A text that no parser takes still tells the qualified names in it."""
    entity = Entity(EntityIdentifier("app", "f", kind="function"), facts={"definition": "()"})
    for language in ("sql", "plpgsql"):
        found = mentions(entity, language, text)
        assert ("app", "t") in found.relations
        assert ("app", "f") in found.functions


@given(st.text(alphabet=st.sampled_from("abt. ;()'\"$%:=\\\n-/*[]{}ü0selctfrombgind,")))
def test_no_text_raises(text: str) -> None:
    """Whatever a body consists of, looking into it gives an answer."""
    entity = Entity(EntityIdentifier("app", "f", kind="function"), facts={"definition": text})
    for language in ("sql", "plpgsql"):
        assert isinstance(mentions(entity, language, text), Mentioned)
    assert isinstance(references(text), Mentioned)


def test_a_very_deep_expression_is_searched_all_the_same() -> None:
    """What is nested too deeply for Python's parser of JSON is searched like unparsable text."""
    deep = "SELECT " + "(" * 3000 + "app.f(1)" + ")" * 3000 + " FROM app.t"
    joined = "SELECT " + " || ".join(["a"] * 5000) + " || app.f(1) FROM app.t"
    for sql in (deep, joined):
        found = references(sql)
        assert ("app", "f") in found.functions
        assert ("app", "t") in found.relations


def test_an_ordinary_statement_takes_no_time() -> None:
    """Two hundred statements are looked into in far less than a second of processor time."""
    sql = STATEMENTS["view"][0]
    start = time.process_time()
    for _ in range(200):
        references(sql)
    assert time.process_time() - start < 1
