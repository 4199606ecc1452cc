"""Values from another database arrive as they are, or are refused before any row."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import SourceFailed, StatementFailed
from pgflow.types import Raw

#: What both databases have by the same names, but under other numbers and in another order.
TYPES = (
    "CREATE TYPE w.mood AS ENUM ('sad', 'ok', 'hap,py')",
    "CREATE DOMAIN w.price AS numeric(10, 2) CHECK (VALUE >= 0)",
    "CREATE TYPE w.pair AS (n integer, t text, m w.mood, d timestamptz)",
    "CREATE TYPE w.floats AS RANGE (subtype = float8)",
    "CREATE EXTENSION hstore SCHEMA public",
    "CREATE EXTENSION citext SCHEMA public",
)

#: Type of the source, type of the target, values of the source.
CASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("int4", "bigint", ("1", "-2147483648", "2147483647")),
    ("int2", "integer", ("-32768", "32767")),
    ("int8", "integer", ("-2147483648", "7")),
    ("int8", "numeric(30, 2)", ("9223372036854775807",)),
    ("varchar(10)", "text", ("''", "'abc'", r"'\N'", r"'\.'", "'NULL'")),
    ("text", "varchar(10)", ("''", "'  ab  '", "'äöü€😀'")),
    ("text", "char(6)", ("'ab'", "'ab '", "''")),
    ("char(6)", "char(6)", ("'ab'", "''")),
    ("char(6)", "text", ("'ab'",)),
    ("text", "text", (r"E'a\nb\tc\rd\\e'", "'\"'", "repeat('x', 200000)", r"E'\\.'", "','")),
    ("numeric", "numeric(12, 3)", ("1.0005", "-0.1", "0", "123456789.999")),
    ("numeric(10, 1)", "numeric", ("'NaN'", "1.5", "-99999999.9")),
    ("numeric", "numeric", ("'Infinity'", "'-Infinity'", "1e100", "1.000", "1e-50")),
    ("float8", "float8", ("'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0.1 + 0.2", "1e308")),
    ("float4", "float8", ("0.1", "3.4e38", "'NaN'")),
    ("float8", "numeric", ("0.1", "123.456")),
    ("bool", "boolean", ("true", "false")),
    ("jsonb", "jsonb", ("""'{"a": [1, null, "\\u00e4"]}'""", "'null'", "'1.50'")),
    ("json", "jsonb", ("""'{"b":1,  "a":2}'""",)),
    ("json", "json", ("""'{"b":1,  "a":2, "a":3}'""",)),
    ("int4[]", "int4[]", ("'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[2:3]={7,8}'")),
    ("int4[]", "bigint[]", ("'{1,NULL}'",)),
    ("text[]", "text[]", ("""'{"a,b",NULL,"NULL","","\\\\N"}'""", "'{{a,b},{c,d}}'")),
    ("w.mood", "w.mood", ("'sad'", "'hap,py'")),
    ("w.mood[]", "w.mood[]", ("""'{ok,NULL,"hap,py"}'""", "'{{ok,sad},{sad,ok}}'")),
    ("w.mood", "text", ("'ok'",)),
    ("text", "w.mood", ("'ok'",)),
    ("w.price", "w.price", ("1.50", "0")),
    ("numeric", "w.price", ("1.50",)),
    ("w.price[]", "w.price[]", ("'{1.50,NULL}'",)),
    ("w.pair", "w.pair", ("ROW(1, E'a\"b\\nc', 'hap,py', '2020-01-01 12:00:00.123456+02')",)),
    ("w.pair[]", "w.pair[]", ("ARRAY[ROW(1, '', NULL, NULL)::w.pair, NULL]",)),
    ("int4range", "int4range", ("'[1,5)'", "'empty'", "'(,3)'")),
    ("tstzrange", "tstzrange", ("'[2020-01-01 00:00+00,infinity)'",)),
    ("w.floats", "w.floats", ("'[0.1,0.30000000000000004]'",)),
    ("datemultirange", "datemultirange", ("'{[2020-01-01,2020-02-01),[2021-01-01,)}'",)),
    ("bytea", "bytea", (r"'\x'", r"'\x00ff5c0a'")),
    ("date", "date", ("'9999-12-31'", "'infinity'", "'-infinity'", "'0044-03-15 BC'")),
    ("date", "timestamptz", ("'2020-07-01'",)),
    ("timestamp", "timestamp", ("'9999-12-31 23:59:59.999999'", "'infinity'", "'0001-01-01 BC'")),
    ("timestamptz", "timestamptz", ("'2020-07-01 12:00:00.123456+05:30'", "'-infinity'")),
    ("timestamp", "timestamptz", ("'2020-07-01 12:00:00'",)),
    ("timestamptz", "timestamptz(3)", ("'2020-07-01 12:00:00.123556+00'",)),
    ("time", "time", ("'24:00:00'", "'00:00:00.000001'")),
    ("timetz", "timetz", ("'12:00:00+05:30'",)),
    ("interval", "interval", ("'-1 year +2 mons -3 days 04:05:06.7'", "'0'", "'1 mon -1 day'")),
    ("interval", "text", ("'-1 year +2 mons -3 days 04:05:06.7'",)),
    ("timestamptz", "text", ("'2020-07-01 12:00:00+00'",)),
    ("float8", "text", ("0.1 + 0.2",)),
    ("bytea", "text", (r"'\x00ff'",)),
    ("uuid", "uuid", ("'00000000-0000-0000-0000-00000000000a'",)),
    ("inet", "inet", ("'10.0.0.1/8'", "'::1'")),
    ("cidr", "cidr", ("'10.0.0.0/8'",)),
    ("macaddr", "macaddr", ("'08:00:2b:01:02:03'",)),
    ("bit(3)", "bit(3)", ("B'101'",)),
    ("varbit", "varbit(8)", ("B'1011'", "B''")),
    ("money", "money", ("1234.56::money", "(-0.05)::money")),
    ("money[]", "money[]", ("ARRAY[1.5::money, NULL]",)),
    ("money", "numeric", ("1234.56::money",)),
    ("text", "xml", ("'<a b=\"1\">x</a>'", "'text only'")),
    ("xml", "xml", ("'<a b=\"1\">x</a>'", "'text only'")),
    ("tsvector", "tsvector", ("'''a b'':1A c:2,3'",)),
    ("tsquery", "tsquery", ("'a & !b'",)),
    ("point", "point", ("'(0.1,1e300)'",)),
    ("box", "box", ("'(1,2),(0,0)'",)),
    ("path", "path", ("'[(0,0),(1,1)]'",)),
    ("polygon", "polygon", ("'((0,0),(1,1),(0,1))'",)),
    ("circle", "circle", ("'<(1,2),3>'",)),
    ("hstore", "hstore", ("""'"a"=>"1", "b"=>NULL, "c"=>""'""",)),
    ("hstore", "text", ("""'"a"=>"1"'""",)),
    ("citext", "citext", ("'AbC'",)),
    ("text", "citext", ("'AbC'",)),
    ("citext", "text", ("'AbC'",)),
    ("citext[]", "citext[]", ("'{AbC,NULL}'",)),
    ("regtype", "regtype", ("'w.mood'", "'integer'")),
    ("name", "text", ("'n'",)),
    ("name", "name", ("'n'", "repeat('x', 63)")),
    ("name[]", "name[]", ("'{n,NULL}'",)),
    ('"char"', "text", ("'x'",)),
    ("xid8", "xid8", ("'18446744073709551615'",)),
    ("pg_lsn", "pg_lsn", ("'16/B374D848'",)),
    ("jsonpath", "jsonpath", ("'$.a[*] ? (@ > 1)'",)),
    ("int2vector", "int2vector", ("'1 2 3'",)),
    ("oid", "bigint", ("4294967295",)),
)

#: What the roles of the two sides may be set to; no value may depend on it.
SETTINGS = {
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "TimeZone": "'Asia/Kolkata'",
    "xmloption": "document",
}


def _prepare(world: Any, far: Any) -> None:
    for each in TYPES:
        far.run(each.replace("('sad', 'ok', 'hap,py')", "('hap,py', 'sad', 'ok')"))
        world.run(each)


def _cases(world: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    """All cases, but xml only where the server was built with it."""
    with world.engine.connect() as connection:
        try:
            connection.exec_driver_sql("SELECT '<a/>'::xml")
        except sa.exc.NotSupportedError:
            return [case for case in CASES if case[1] != "xml"]
    return list(CASES)


def _pipeline(world: Any, far: Any, **options: Any) -> Any:
    cases = _cases(world)
    columns = [sa.Column(f"c{i}", Raw[kind]) for i, (_, kind, _) in enumerate(cases)]
    spelt = ", ".join(f"c{i} {kind}" for i, (kind, _, _) in enumerate(cases))
    far.run(f"CREATE TABLE w.v (id bigint, {spelt})")
    for row in range(max(len(values) for _, _, values in cases)):
        given = [(i, v[row]) for i, (_, _, v) in enumerate(cases) if row < len(v)]
        names = "".join(f", c{i}" for i, _ in given)
        values = "".join(f", {value}" for _, value in given)
        far.run(f"INSERT INTO w.v (id{names}) VALUES ({row}{values})".replace("%", "%%"))
    far.run("INSERT INTO w.v (id) VALUES (99)")
    return world.pipe(
        world.table("t", *columns), pgflow.SourceTable("w.v"), mode="merge",
        source_connection=far.engine, **options,
    )  # fmt: skip


def _expected(far: Any) -> dict[int, tuple[Any, ...]]:
    """What one database would make of the source: each value cast, and then spelt out."""
    cases = _cases(far)
    casts = ", ".join(f"(c{i}::{kind})::text" for i, (_, kind, _) in enumerate(cases))
    return {row[0]: row[1:] for row in far.run(f"SELECT id, {casts} FROM w.v ORDER BY id")}


def _arrived(world: Any) -> dict[int, tuple[Any, ...]]:
    cases = _cases(world)
    texts = ", ".join(f"c{i}::text" for i in range(len(cases)))
    return {row[0]: row[1:] for row in world.run(f"SELECT id, {texts} FROM w.t ORDER BY id")}


def _assert_equal(world: Any, far: Any) -> None:
    expected, arrived, cases = _expected(far), _arrived(world), _cases(world)
    assert expected.keys() == arrived.keys()
    for row, values in expected.items():
        for case, left, right in zip(cases, values, arrived[row], strict=True):
            assert left == right, (row, case)


def test_every_type_arrives_as_it_is(world: Any, far: Any, counts: Any) -> None:
    """Whatever the types are made of, each value is what one database would have made of it."""
    _prepare(world, far)
    pipeline = _pipeline(world, far)
    rows = far.run("SELECT count(*) FROM w.v")[0][0]
    assert counts(pipeline.sync()) == {"inserted": rows, "read": rows}
    _assert_equal(world, far)
    assert counts(pipeline.sync()) == {"unchanged": rows, "read": rows}


def test_settings_of_the_sources_role_change_no_value(world: Any, far: Any) -> None:
    """DateStyle, IntervalStyle, float digits, bytea output and time zone do not matter."""
    _prepare(world, far)
    pipeline = _pipeline(world, far)
    database = far.engine.url.database
    for setting, value in SETTINGS.items():
        far.run(f'ALTER DATABASE "{database}" SET {setting} = {value}')
    pipeline.sync()
    for setting in SETTINGS:
        far.run(f'ALTER DATABASE "{database}" RESET {setting}')
    _assert_equal(world, far)


def _into(world: Any, far: Any, kind: str, source: str, **options: Any) -> Any:
    table = world.table("t", sa.Column("v", Raw[kind]))
    return world.pipe(table, source, mode="merge", source_connection=far.engine, **options)


def test_what_is_too_long_fails(world: Any, far: Any) -> None:
    """A value is never cut to the target's length."""
    pipeline = _into(world, far, "varchar(3)", "SELECT 1::bigint AS id, 'abcd'::text AS v")
    with pytest.raises(StatementFailed, match="too long for type character varying"):
        pipeline.sync()
    world.metadata.clear()
    source = "SELECT 1::bigint AS id, 'abc   '::text AS v"
    _into(world, far, "varchar(3)", source, name="q").sync()
    assert world.run("SELECT v FROM w.t") == [("abc",)]


@pytest.mark.parametrize("value", ["'x'::text", "left('x', g)"])
def test_a_value_that_cannot_be_cast_names_the_source(world: Any, far: Any, value: str) -> None:
    """The source's server says which value, pgflow which column, and nothing is written."""
    pipeline = _into(world, far, "integer", f"SELECT g::bigint AS id, {value} AS v"
                     " FROM generate_series(1, 10) AS g")  # fmt: skip
    database = far.engine.url.database
    with pytest.raises(SourceFailed, match="invalid input syntax for type integer") as caught:
        pipeline.sync()
    assert str(database) in caught.value.source
    assert str(database) in str(caught.value)
    assert caught.value.sqlstate == "22P02"
    assert str(caught.value).endswith("Columns read as integer: v. Nothing was written.")
    assert world.run("SELECT count(*) FROM w.t") == [(0,)]
    assert world.run("SELECT status FROM pgflow.runs") == [("failed",)]


def test_encodings_may_differ(world: Any, server: Any, counts: Any) -> None:
    """Text of a LATIN1 database arrives; what the target cannot hold is refused."""
    name = "test_latin1"
    with world.engine.connect() as connection:
        auto = connection.execution_options(isolation_level="AUTOCOMMIT")
        auto.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        auto.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc"
            " LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    there = sa.create_engine(world.engine.url.set(database=name), poolclass=sa.NullPool)
    try:
        with there.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE s (id bigint, v text)")
            connection.execute(sa.text("INSERT INTO s VALUES (1, 'äöü ß')"))
        table = world.table("t", sa.Column("v", sa.Text))
        pipeline = world.pipe(table, "SELECT * FROM s", mode="merge", source_connection=there)
        assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
        assert world.run("SELECT v FROM w.t") == [("äöü ß",)]
        _back(world, there)
    finally:
        with world.engine.connect() as connection:
            auto = connection.execution_options(isolation_level="AUTOCOMMIT")
            auto.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def _back(world: Any, there: Any) -> None:
    """The other way round, with a character that LATIN1 does not have."""
    metadata = sa.MetaData()
    target = pgflow.SimpleTable(
        "back", "public", metadata, [sa.Column("v", sa.Text)],
        plugins=[pgflow.plugins.ColumnPKPlugin(sa.Column("id", sa.BigInteger))],
    )  # fmt: skip
    back = pgflow.Pipeline(
        "back", target=target, source="SELECT id, v || '€' AS v FROM w.t", mode="merge",
        source_connection=world.engine, target_connection=there,
    )  # fmt: skip
    pgflow.create_all(metadata, connection=there)
    with pytest.raises(StatementFailed, match="has no equivalent in encoding"):
        back.sync()


def test_parameters_are_quoted_where_they_cannot_be_bound(world: Any, far: Any) -> None:
    """COPY takes no parameters: quotes, backslashes, signs and types survive all the same."""
    text = 'it\'s \\ a % "test" :x $1 €'
    query = pgflow.Query(
        "SELECT (:i - 1)::bigint AS id, :t || CASE WHEN :n::text IS NULL THEN '' ELSE 'x' END"
        " || (:f / 2)::text || (:d + 1)::text || array_to_string(:a::text[], '|') AS v",
        {"i": -1, "t": text, "n": None, "f": 0.5, "d": date(2024, 2, 28), "a": ["a'b", "c,d"]},
    )
    _into(world, far, "text", query).sync()
    assert world.run("SELECT id, v FROM w.t") == [(-2, f"{text}0.252024-02-29a'b|c,d")]


def test_numbers_of_money_are_read_by_each_sides_own_locale(world: Any, far: Any) -> None:
    """Money travels as numeric, so that no locale's number of decimals shifts it."""
    preview = str(_into(world, far, "money", "SELECT 1::bigint AS id, 1.5::money AS v").preview())
    assert "v numeric" in preview
    assert "s.v::numeric AS v" in preview


def test_extra_columns_travel_in_their_own_type(world: Any, far: Any, counts: Any) -> None:
    """order_by and ignored columns need no column of the target, nor a type that it has."""
    far.run("CREATE TYPE w.colour AS ENUM ('a')")
    far.run("INSERT INTO w.s VALUES (1, 'old', 1, '2020-01-01'), (1, 'new', 2, '2021-01-01')")
    pipeline = _into(
        world, far, "text", "SELECT id, a AS v, u, 'a'::w.colour AS c FROM w.s",
        order_by="u", on_duplicate="last", schema_mode="ignore_extra",
    )  # fmt: skip
    assert counts(pipeline.sync())["inserted"] == 1
    assert world.run("SELECT id, v FROM w.t") == [(1, "new")]
