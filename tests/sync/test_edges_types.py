"""Types at the edges: what is stored is recognised again, whatever it is made of."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow.errors import SourceMismatch, StatementFailed
from pgflow.types import Raw


def _types(world: Any) -> None:
    world.run("CREATE DOMAIN w.small AS integer")
    world.run("CREATE DOMAIN w.price AS numeric(10, 2)")
    world.run("CREATE DOMAIN w.cheap AS w.price")
    world.run("CREATE TYPE w.pair AS (n integer, j json)")


def _column(name: str, kind: str) -> sa.Column[Any]:
    return sa.Column(name, Raw[kind])


@pytest.mark.parametrize("detection", ["values", "exact", "hash"])
@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        ("point", "'(1,2)'", "'(1,3)'"),
        ("line", "'{1,2,3}'", "'{1,2,4}'"),
        ("point[]", "ARRAY['(1,2)'::point]", "ARRAY['(1,3)'::point]"),
        ("w.pair", "ROW(1, '{}')", "ROW(1, '[]')"),
        ("w.cheap", "1.005", "2"),
        ("w.small", "1", "2"),
        ("char(5)", "'ab'", "'abc'"),
        ("varchar(5)", "'ab   '", "'abc'"),
    ],
)
def test_every_type_is_recognised_again(
    world: Any, counts: Any, kind: str, one: str, two: str, detection: str
) -> None:
    """The same value is unchanged and another one a change, whatever the type is made of."""
    _types(world)
    table = world.table("t", _column("v", kind))
    world.run(f"CREATE TABLE w.x (id bigint, v {kind})")
    pipeline = world.pipe(table, "SELECT id, v FROM w.x", mode="scd2", change_detection=detection)
    world.run(f"INSERT INTO w.x VALUES (1, {one})")
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}
    world.run(f"UPDATE w.x SET v = {two}")
    assert counts(pipeline.sync()) == {"inserted": 1, "closed": 1, "read": 1}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


@pytest.mark.parametrize("detection", ["values", "exact", "hash"])
@pytest.mark.parametrize("kind", ["char(5)", "varchar(5)", "w.cheap", "w.small[]"])
def test_text_that_the_target_stores_otherwise_is_no_change(
    world: Any, counts: Any, kind: str, detection: str
) -> None:
    """Blanks that writing cuts or adds, and digits that it drops, make no version."""
    _types(world)
    table = world.table("t", _column("v", kind))
    value = {"w.cheap": "1.004", "w.small[]": "{1, 2}"}.get(kind, "ab      ")
    source = f"SELECT 1 AS id, '{value}'::text AS v"
    pipeline = world.pipe(table, source, mode="scd2", change_detection=detection)
    assert counts(pipeline.sync()) == {"inserted": 1, "read": 1}
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


def test_text_that_is_too_long_still_fails(world: Any) -> None:
    """Only blanks are cut: a fourth letter is refused in a key and in a value."""
    table = world.table("t", sa.Column("v", sa.String(3)), key=(sa.Column("k", sa.String(3)),))
    pipeline = world.pipe(table, "SELECT a AS k, a AS v FROM w.s", mode="merge")
    world.fill((1, "abc ", None))
    pipeline.sync()
    world.fill((1, "abcd", None))
    with pytest.raises(StatementFailed, match="too long for type character varying"):
        pipeline.sync()
    assert world.run("SELECT k, v FROM w.t") == [("abc", "abc")]


def test_a_key_that_is_longer_by_blanks_is_the_same_key(world: Any, counts: Any) -> None:
    """Two keys that differ only in blanks that writing cuts are one, also in a unique source."""
    table = world.table("t", sa.Column("v", sa.Text), key=(sa.Column("k", sa.String(3)),))
    world.run("CREATE TABLE w.x (k varchar(9) PRIMARY KEY, v text)")
    world.run("INSERT INTO w.x VALUES ('abc', 'x')")
    pipeline = world.pipe(table, "SELECT k, v FROM w.x", mode="merge")
    pipeline.sync()
    world.run("UPDATE w.x SET k = 'abc  '")
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}


def test_a_key_without_equality_is_refused(world: Any) -> None:
    """json cannot be a merge key, and the message says so before anything is read."""
    table = world.table("t", sa.Column("j", sa.JSON))
    pipeline = world.pipe(table, "SELECT 1 AS id, '{}'::json AS j", mode="merge", keys=("j",))
    with pytest.raises(SourceMismatch, match=r"'j' \(keys=\) is json, a type without an equality"):
        pipeline.sync()


def test_a_type_whose_equality_is_out_of_sight_is_refused(world: Any) -> None:
    """citext in a schema off the search path would compare as text: refused, named, mended."""
    world.run("CREATE SCHEMA ext")
    world.run("CREATE EXTENSION citext SCHEMA ext")
    table = world.table("t", sa.Column("v", sa.Text), key=(_column("k", "ext.citext"),))
    pipeline = world.pipe(table, "SELECT a AS k, 'x' AS v FROM w.s", mode="merge")
    world.fill((1, "A", None))
    with pytest.raises(SourceMismatch, match="whose equality is in schema ext"):
        pipeline.sync()


@pytest.mark.parametrize("mode", ["merge", "scd1", "scd2"])
def test_an_identity_that_no_update_can_write_is_refused(world: Any, mode: str) -> None:
    """A delivered GENERATED ALWAYS column fails at once, not at the first change."""
    table = world.table("t", sa.Column("n", sa.BigInteger, sa.Identity(always=True)))
    pipeline = world.pipe(table, "SELECT 1 AS id, 2 AS n", mode=mode)
    with pytest.raises(SourceMismatch, match="'n' is GENERATED ALWAYS AS IDENTITY"):
        pipeline.sync()
    append = world.table("u", sa.Column("n", sa.BigInteger, sa.Identity(always=True)))
    world.pipe(append, "SELECT 1 AS id, 2 AS n", mode="append", name="append").sync()
    assert world.run("SELECT id, n FROM w.u") == [(1, 2)]


def _has_icu(world: Any) -> bool:
    return bool(world.run("SELECT 1 FROM pg_collation WHERE collname = 'de-x-icu'"))


def test_collations_of_source_and_target_may_differ(world: Any, counts: Any) -> None:
    """The target's collation decides, so that two of them do not stop the run."""
    table = world.table(
        "t",
        sa.Column("v", sa.Text(collation="C")),
        key=(sa.Column("k", sa.Text(collation="C")),),
    )
    world.run('CREATE COLLATION w.other FROM "POSIX"')
    world.run("CREATE TABLE w.x (k text COLLATE w.other, v text COLLATE w.other)")
    world.run("INSERT INTO w.x VALUES ('a', 'x')")
    pipeline = world.pipe(table, "SELECT k, v FROM w.x", mode="merge")
    pipeline.sync()
    assert counts(pipeline.sync()) == {"unchanged": 1, "read": 1}
    world.run("UPDATE w.x SET v = 'y'")
    assert counts(pipeline.sync()) == {"updated": 1, "read": 1}


@pytest.mark.parametrize(
    "source",
    ["SELECT k, v FROM w.x", "SELECT k, max(v) AS v FROM w.x GROUP BY k"],
)
def test_a_looser_collation_of_the_target_undoes_a_proof(world: Any, source: str) -> None:
    """Keys that are unique in the source, and equal to the target, are found all the same."""
    if not _has_icu(world):
        pytest.skip("this server is built without ICU")
    world.run(
        "CREATE COLLATION w.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    table = world.table("t", sa.Column("v", sa.Text), key=(_column("k", "text COLLATE w.ci"),))
    world.run("CREATE TABLE w.x (k text PRIMARY KEY, v text)")
    world.run("INSERT INTO w.x VALUES ('a', 'x')")
    pipeline = world.pipe(table, source, mode="merge")
    pipeline.sync()
    world.run("INSERT INTO w.x VALUES ('A', 'y')")
    with pytest.raises(pgflow.errors.DuplicateKeys):
        pipeline.sync()
