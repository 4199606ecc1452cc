"""Names and SQL that look like something else: they are kept as they are, and never become SQL."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.observe.history import read_history
from pgflow.plugins import ColumnPKPlugin
from pgflow.testing import assert_scd2

NAMES = [
    'qu"ote',
    "apo'strophe",
    "two words",
    "MixedCase",
    "select",
    "per%cent",
    "%s",
    "%(name)s",
    ":x",
    "a::b",
    "$$",
    "$1",
    "{x}",
    "{}",
    "back\\slash",
    "/* comment */",
    "--",
    "dot.ted",
    "new\nline",
    "naïve ключ 表 🐘",
    "x" * 63,
    "y" * 70,
    "ж" * 40,
    "a" + "表" * 30,
    '"; DROP TABLE w.victim; --',
    "'; DROP TABLE w.victim; --",
    "*/; DROP TABLE w.victim; --",
]


#: As the server keeps it: 63 bytes, cut between characters.
def kept(name: str) -> str:
    return name.encode()[:63].decode(errors="ignore")


class Strange:
    """A table in a schema of its own, with columns and a pipeline named after `name`."""

    def __init__(self, engine: sa.Engine, name: str, mode: str, **options: Any) -> None:
        self.engine, self.metadata, self.mode = engine, sa.MetaData(), mode
        self.key, self.value = kept("k" + name), kept("v" + name)
        self.source = sa.Table(
            "source",
            self.metadata,
            sa.Column(self.key, sa.BigInteger),
            sa.Column(self.value, sa.Text),
            sa.Column("u", sa.Integer),
            schema="w",
        )
        self.factory = pgflow.SimpleTable(
            "t" + name,
            name,
            self.metadata,
            [sa.Column("v" + name, sa.Text)],
            plugins=[ColumnPKPlugin(sa.Column("k" + name, sa.BigInteger))],
        )
        if "scope" in options:
            options["scope"] = self.factory.table.c[self.key] < 100
        columns = [self.source.c[self.key], self.source.c[self.value]]
        if "incremental_column" in options:
            columns.append(self.source.c.u)
        self.pipeline = pgflow.Pipeline(
            # A pipeline's name stands on a command line.
            name.replace("\n", " "),
            target=self.factory,
            source=sa.select(*columns),
            connection=engine,
            mode=mode,
            **options,
        )
        pgflow.create_all(self.metadata, connection=engine)

    def fill(self, *rows: tuple[Any, ...]) -> None:
        """Put exactly these rows into the source."""
        with self.engine.begin() as connection:
            connection.execute(self.source.delete())
            for key, value, at in rows:
                connection.execute(
                    self.source.insert().values({self.key: key, self.value: value, "u": at})
                )

    def rows(self) -> list[tuple[Any, ...]]:
        """The target's rows, only the current ones where it keeps history."""
        table = self.factory.table
        query = sa.select(table.c[self.key], table.c[self.value]).order_by(table.c[self.key])
        if self.mode == "scd2":
            query = query.where(table.c.valid_to.is_(None))
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]


@pytest.fixture
def victim(world: Any) -> Any:
    """A world with a table that crafted names want to drop."""
    world.run("CREATE TABLE w.victim (id int)")
    yield world
    assert world.run("SELECT to_regclass('w.victim') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_works_with_history(victim: Any, counts: Any, name: str) -> None:
    """Schema, table, columns and pipeline of any name keep history, with deletes and a scope."""
    made = Strange(victim.engine, name, "scd2", handle_deletes="soft", scope=True)
    made.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    assert counts(made.pipeline.sync()) == {"inserted": 3, "read": 3}
    made.fill((1, "a", 1), (2, "B", 2), (4, "d", 4))
    expected = {"inserted": 2, "closed": 2, "deleted": 1, "unchanged": 1, "read": 3}
    assert [t.problem for t in made.pipeline.preview().targets] == [""]
    assert counts(made.pipeline.dry_run()) == expected
    assert counts(made.pipeline.sync()) == expected
    assert made.rows() == [(1, "a"), (2, "B"), (4, "d")]
    with victim.engine.connect() as connection:
        assert_scd2(connection, made.factory)
        entries = read_history(connection, made.pipeline.name)
    assert [e.status for e in entries] == ["success", "success"]
    made.fill((None, "a", 1))
    with pytest.raises(pgflow.PgflowError, match="NULL in the merge key"):
        made.pipeline.sync()


@pytest.mark.parametrize("name", NAMES)
def test_any_name_works_incrementally(victim: Any, counts: Any, name: str) -> None:
    """A pipeline of any name keeps its position, and its keys are checked."""
    made = Strange(victim.engine, name, "merge", incremental_column="u")
    made.fill((1, "a", 1), (2, "b", 2))
    assert counts(made.pipeline.sync()) == {"inserted": 2, "read": 2}
    made.fill((1, "old", 1), (2, "b", 2), (3, "c", 3))
    assert counts(made.pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}
    made.fill((5, "a", 5), (5, "b", 5))
    with pytest.raises(pgflow.PgflowError, match="different rows share a merge key"):
        made.pipeline.sync()
    assert made.rows() == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("mode", ["append", "truncate", "scd1"])
@pytest.mark.parametrize("name", [NAMES[0], NAMES[5], NAMES[8], NAMES[22], NAMES[24]])
def test_any_name_works_in_every_mode(victim: Any, counts: Any, mode: str, name: str) -> None:
    """The modes that the other tests leave out take such names too."""
    made = Strange(victim.engine, name, mode)
    made.fill((1, "a", 1))
    assert counts(made.pipeline.sync()) == {"inserted": 1, "read": 1}
    made.fill((1, "a", 1), (2, "b", 2))
    made.pipeline.sync()
    assert made.rows() == [(1, "a"), (2, "b")]


def test_a_pipeline_has_a_name_of_one_line(world: Any) -> None:
    """A pipeline's name without a printable character, or of two lines, is refused."""
    for name in ("", "two\nlines"):
        with pytest.raises(pgflow.PgflowError, match="cannot be the name of a pipeline"):
            world.pipe(world.table(f"t{len(name)}"), name=name, mode="merge")


def test_the_whole_long_name_is_found_in_sql(world: Any, counts: Any) -> None:
    """SQL text may spell a name that is longer than 63 bytes, as the server lets it."""
    long = "Ж" * 40
    world.run(f'CREATE TABLE w."{long}" (id bigint, "{long}" text)')
    world.run(f"INSERT INTO w.\"{long}\" VALUES (1, 'a')")
    table = world.table("t", sa.Column(long, sa.Text))
    pipeline = world.pipe(table, f'SELECT id, "{long}" FROM w."{long}"', mode="scd2")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    by_table = pgflow.Pipeline(
        "q", target=table, source_table=f'w."{long}"', connection=world.engine, mode="scd2"
    )
    assert counts(by_table.sync()) == {"unchanged": 1, "read": 1}


def test_names_that_become_one_are_refused(world: Any) -> None:
    """Two columns that the server would cut to one name are refused when they are declared."""
    with pytest.raises(pgflow.PgflowError, match="have one name; PostgreSQL keeps"):
        world.table("t", sa.Column("x" * 70, sa.Text), sa.Column("x" * 71, sa.Text))


def test_a_source_table_of_any_name_is_mapped(victim: Any, counts: Any) -> None:
    """source_table= and column_map= take quoted names, also such that look like SQL."""
    crafted = '"; DROP TABLE w.victim; --'
    quoted = '"' + crafted.replace('"', '""') + '"'
    victim.run(f"CREATE TABLE w.{quoted} (id bigint, {quoted} text, b numeric)".replace("%", "%%"))
    victim.run(f"INSERT INTO w.{quoted} VALUES (1, 'a', 2)")
    pipeline = victim.pipe(
        victim.table(), None, source_table=f"w.{quoted}", column_map={"a": crafted}, mode="merge"
    )
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert victim.run("SELECT id, a, b FROM w.t") == [(1, "a", 2)]


@pytest.mark.parametrize("name", ["order", "Valid To", "naïve", 'qu"ote', "%s:x{y}"])
def test_system_columns_of_any_name_are_recognised(world: Any, counts: Any, name: str) -> None:
    """System columns may have any name; the index on current versions is still found."""
    columns = {"valid_to": name, "valid_from": f"{name} from", "_batch_id": f"{name} run"}
    table = world.table(mode="scd2", system_columns=columns)
    pipeline = world.pipe(table, mode="scd2")
    world.fill((1, "a", 1), (2, "b", 2))
    first = pipeline.sync()
    assert first.plan.fallback is not None, "the index was not found, so nothing was loaded fast"
    world.fill((1, "a", 1), (2, "B", 2))
    assert counts(pipeline.sync()) == {"inserted": 1, "closed": 1, "unchanged": 1, "read": 2}
    with world.engine.connect() as connection:
        assert_scd2(connection, table)


def test_any_client_encoding_works(world: Any, counts: Any, database: str) -> None:
    """A connection that speaks Latin-1 finds every name, also such that it cannot spell."""
    engine = sa.create_engine(
        database, poolclass=sa.NullPool, connect_args={"client_encoding": "latin1"}
    )
    table = world.table("größe 表", sa.Column("Länge", sa.Text))
    world.pipe(table, mode="merge", source="SELECT 1 AS id, 'ä→' AS \"Länge\"")
    pipeline = pgflow.Pipeline(
        "prüfen →",
        target=table,
        source="SELECT 1 AS id, 'ä→' AS \"Länge\"",
        connection=engine,
        mode="merge",
    )
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert world.run('SELECT id, "Länge" FROM w."größe 表"') == [(1, "ä→")]


# -- SQL ------------------------------------------------------------------------------

#: Queries that all deliver the rows of `w.s`.
QUERIES = [
    "SELECT id, a, b FROM w.s;",
    "SELECT id, a, b FROM w.s ;; -- the end",
    "SELECT id, a, b FROM w.s -- the end",
    "SELECT id, a, b FROM w.s /* the ; end */",
    "SELECT id, a, b FROM w.s WHERE a LIKE '%' AND a <> '%s' AND a !~ '%(x)s' -- 100 %",
    "SELECT id, a, b FROM w.s WHERE a <> ':x' AND a <> $$:x $1 ; --$$ /* :x */",
    "SELECT id::int, a::varchar(20), b::numeric(12, 2) FROM w.s WHERE a <> $q$ it's $$ $q$;",
    "WITH q AS (SELECT * FROM w.s) SELECT id, a, b FROM q ORDER BY id DESC LIMIT 100;",
    "(SELECT id, a, b FROM w.s);",
    "SELECT id, a, b FROM w.s WHERE NOT '{\"x\": 1}'::jsonb ? '{y}' AND a <> E'\\\\';",
    "SELECT b, a, id FROM w.s UNION ALL SELECT b, a, id FROM w.s WHERE false",
    'SELECT s.id AS "id", (s).a, b FROM w.s AS s\n-- two\n-- lines\n',
]


@pytest.mark.parametrize("query", QUERIES)
def test_any_way_to_write_a_query_works_in_every_mode(world: Any, counts: Any, query: str) -> None:
    """A query may end in `;` or a comment, and contain `%`, `:x`, `$$`, braces and casts."""
    rows = [(1, "a", 1), (2, "b%", 2)]
    for mode in ("append", "truncate", "merge", "scd1", "scd2"):
        pipeline = world.pipe(world.table(mode), query, name=mode, mode=mode)
        world.fill(rows[0])
        assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
        world.fill(*rows)
        assert [t.problem for t in pipeline.preview().targets] == [""]
        pipeline.sync()
        assert world.run(f"SELECT id, a, b FROM w.{mode} ORDER BY id") == rows
