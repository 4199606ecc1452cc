"""Origins of columns: followed through every construct, and never guessed."""

from __future__ import annotations

import pytest

from pgflow.graph.resolution import outputs

SCHEMA = {("warehouse", "raw"): ["id", "v"], ("warehouse", "Order"): ["Id", "x y"]}

KNOWN = [
    ("SELECT id, v FROM warehouse.raw", {"id": "warehouse.raw.id", "v": "warehouse.raw.v"}),
    ("SELECT * FROM warehouse.raw", {"id": "warehouse.raw.id", "v": "warehouse.raw.v"}),
    ("(SELECT id FROM warehouse.raw)", {"id": "warehouse.raw.id"}),
    ("SELECT v AS id, id AS v FROM warehouse.raw ORDER BY id", {"id": "warehouse.raw.v"}),
    ("SELECT k FROM elsewhere", {"k": "public.elsewhere.k"}),
    ("SELECT ID FROM WAREHOUSE.RAW", {"id": "warehouse.raw.id"}),
    ('SELECT id FROM warehouse."RAW"', {"id": "warehouse.RAW.id"}),
    ('SELECT "Id" AS a, "x y" AS "B" FROM warehouse."Order"', {"B": "warehouse.Order.x y"}),
    ("SELECT v::text::int AS n FROM warehouse.raw r", {"n": "warehouse.raw.v"}),
    ("SELECT id FROM warehouse.raw a JOIN warehouse.raw b USING (id)", {"id": "warehouse.raw.id"}),
    (
        "WITH a AS (SELECT id, upper(v) AS u FROM warehouse.raw) SELECT a.u || id AS v FROM a",
        {"v": "warehouse.raw.id warehouse.raw.v"},
    ),
    (
        "SELECT id FROM warehouse.raw UNION ALL SELECT a FROM m.o UNION SELECT b FROM m.p",
        {"id": "m.o.a m.p.b warehouse.raw.id"},
    ),
    (
        "SELECT row_number() OVER (PARTITION BY v ORDER BY id) AS n FROM warehouse.raw",
        {"n": "warehouse.raw.id warehouse.raw.v"},
    ),
    (
        "SELECT sum(v) OVER w AS s FROM warehouse.raw WINDOW w AS (PARTITION BY id)",
        {"s": "warehouse.raw.id warehouse.raw.v"},
    ),
    (
        "SELECT (SELECT max(b.v) FROM warehouse.raw b WHERE b.id = a.id) AS m FROM m.t a",
        {"m": "warehouse.raw.v"},
    ),
    ("SELECT count(*) AS n, 'x' AS c, $1 AS p FROM m.t", {"n": "", "c": "", "p": ""}),
    ("SELECT * FROM (VALUES (1, 'a')) AS t(id, v)", {"id": "", "v": ""}),
    ("WITH raw AS (SELECT 1 AS id) SELECT id FROM raw", {"id": ""}),
    ("SELECT make_date(id, 1, 1) AS d FROM warehouse.raw", {"d": "warehouse.raw.id"}),
    ("SELECT a.id, v FROM warehouse.raw a JOIN m.t b ON true", {"v": "warehouse.raw.v"}),
    ("SELECT r.id FROM warehouse.raw r FOR UPDATE OF r SKIP LOCKED", {"id": "warehouse.raw.id"}),
]

UNKNOWN = [
    ("SELECT * FROM elsewhere", "id"),
    ("SELECT t.*, r.v AS w FROM m.t JOIN warehouse.raw r USING (id)", "id"),
    ("SELECT w FROM warehouse.raw a JOIN m.t b ON true", "w"),
    ("SELECT (SELECT v FROM m.t) AS v FROM warehouse.raw", "v"),
    ("SELECT (SELECT v FROM m.t LIMIT 1) AS v FROM m.u", "v"),
    ("SELECT (SELECT x FROM (SELECT v AS x FROM m.t) d) AS y FROM warehouse.raw", "y"),
    ("SELECT missing FROM warehouse.raw", "missing"),
    ("SELECT r FROM warehouse.raw r", "r"),
    ("SELECT (r).v FROM warehouse.raw r", "v"),
    ("SELECT my.f(v) AS f FROM warehouse.raw", "f"),
    ("SELECT my.make_date(id, 1, 1) AS f FROM warehouse.raw", "f"),
    ("SELECT my.upper(v) AS f FROM warehouse.raw", "f"),
    ("SELECT i AS id FROM generate_series(1, 3) AS i", "id"),
    ("SELECT u.a FROM warehouse.raw r, unnest(string_to_array(r.v, ',')) AS u(a)", "a"),
    ("SELECT id FROM warehouse.raw NATURAL JOIN m.t", "id"),
    ("SELECT id, id FROM warehouse.raw", "id"),
    ("SELECT x.a FROM warehouse.raw AS x(a, b)", "a"),
    ("WITH d AS (DELETE FROM warehouse.raw RETURNING id) SELECT id FROM d", "id"),
    ("WITH RECURSIVE t AS (SELECT 1 AS n UNION SELECT n + 1 FROM t) SELECT n FROM t", "n"),
    ("SELECT v FROM warehouse.raw UNION SELECT * FROM m.t", "v"),
    ("this is no SQL", "id"),
]


@pytest.mark.parametrize(("query", "wanted"), KNOWN)
def test_origins_are_followed_to_tables(query: str, wanted: dict[str, str]) -> None:
    """What can be resolved is resolved, and said to be all."""
    found = outputs(query, SCHEMA)
    assert not found.rest
    for name, origins in wanted.items():
        assert not found.columns[name].unknown
        assert " ".join(".".join(each) for each in found.columns[name].columns) == origins


@pytest.mark.parametrize(("query", "name"), UNKNOWN)
def test_what_cannot_be_resolved_is_not_known(query: str, name: str) -> None:
    """No construct beyond the resolver is guessed at; each has a reason."""
    found = outputs(query, SCHEMA)
    origins = found.columns.get(name)
    assert origins.unknown if origins is not None else found.rest


def test_a_chain_of_expressions_takes_no_exponential_time() -> None:
    """Each column is followed once, however often it is used."""
    steps = ["s0 AS (SELECT v FROM warehouse.raw)"]
    steps += [f"s{n} AS (SELECT v || v || v AS v FROM s{n - 1})" for n in range(1, 25)]
    found = outputs(f"WITH {', '.join(steps)} SELECT v FROM s24", SCHEMA)
    assert found.columns["v"].columns == (("warehouse", "raw", "v"),)
