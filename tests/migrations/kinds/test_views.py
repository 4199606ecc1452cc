"""Views and materialized views: made as they were, replaced in place where the server allows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgflow.alembic.entity import Mark, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.views import MATERIALIZED_VIEW, VIEW
from pgflow.alembic.statement import Hazard
from tests.migrations.kinds.catalogue import Catalogue, check_change, check_round_trip

TABLE = "CREATE TABLE app.t (id integer PRIMARY KEY, name varchar(20), price numeric(12, 2))"

VIEWS = {
    "plain": "SELECT id, name FROM app.t WHERE id > 1",
    "all columns": "SELECT * FROM app.t",
    "texts": r"""SELECT 'it''s %s :x %%' AS a, E'\\d\n' AS b, '\d' AS c, '$$"""
    r"""\"""' AS d, 'ü' AS "Ü" """,
    "list of a shorter type": "SELECT id FROM app.t WHERE name IN ('a', '],(', 'it''s')",
    "values": "VALUES (1, 'a'), (2, '( VALUES ')",
    "nameless constant": "SELECT name IN (SELECT 'ü'), EXISTS (SELECT NULL) AS b FROM app.t",
    "union": "SELECT 1 AS a UNION ALL SELECT id FROM app.t ORDER BY 1 LIMIT 3",
    "recursive": "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) "
    "SELECT n FROM r",
    "grouped": "SELECT name, sum(price) FILTER (WHERE name IN ('a', 'b')) FROM app.t GROUP BY 1",
    "window": "SELECT rank() OVER w FROM app.t WINDOW w AS (PARTITION BY name ORDER BY id)",
    "lateral": "SELECT x.n FROM app.t, LATERAL (SELECT t.id + 1 AS n) AS x",
    "no columns": "SELECT FROM app.t",
}


@pytest.mark.parametrize("case", VIEWS)
@pytest.mark.parametrize("kind", [VIEW, MATERIALIZED_VIEW], ids=lambda kind: kind.name)
def test_a_view_is_dropped_and_made_again(catalogue: Catalogue, case: str, kind: object) -> None:
    """What is made from a view that was read prints as that view did."""
    noun = "VIEW" if kind is VIEW else "MATERIALIZED VIEW"
    catalogue.run(TABLE)
    check_round_trip(
        catalogue,
        VIEW if kind is VIEW else MATERIALIZED_VIEW,
        f"CREATE {noun} app.v AS {VIEWS[case]}",
    )


def test_names_and_options_of_a_view_are_kept(catalogue: Catalogue) -> None:
    """Quoted names, given column names, options and comments of columns make the round trip."""
    catalogue.run(TABLE)
    view = check_round_trip(
        catalogue,
        VIEW,
        'CREATE VIEW app."Big ""V""" ("select", "Ü") WITH (security_barrier) '
        "AS SELECT id, name FROM app.t WHERE id > 0 WITH LOCAL CHECK OPTION",
        'COMMENT ON COLUMN app."Big ""V"""."Ü" IS \'it\'\'s\'',
    )
    assert view.facts["columns"] == (("select", "integer"), ("Ü", "character varying(20)"))
    assert view.facts["options"] == (("check_option", "local"), ("security_barrier", "true"))


def test_what_is_known_of_a_view_beside_its_query(catalogue: Catalogue) -> None:
    """Owner, mark, comment and rights, on columns too, are read with it."""
    catalogue.run(
        "CREATE ROLE viewer",
        "CREATE VIEW app.v AS SELECT 1 AS a",
        "COMMENT ON VIEW app.v IS 'mine [pgflow:shop]'",
        "GRANT SELECT (a) ON app.v TO viewer",
    )
    view = catalogue.named(VIEW, "v")
    assert (view.comment, view.mark) == ("mine", Mark("shop"))
    assert view.owner == catalogue.scalar("SELECT current_user::text")
    assert view.privileges == {Privilege("viewer", "SELECT", "a")}


def test_an_option_that_is_off_is_none(catalogue: Catalogue) -> None:
    """A switch is compared by what it means, however it was written."""
    catalogue.run(
        "CREATE VIEW app.a WITH (security_barrier = false) AS SELECT 1 AS x",
        "CREATE VIEW app.b AS SELECT 1 AS x",
        "CREATE VIEW app.c WITH (security_barrier = 'on') AS SELECT 1 AS x",
        "CREATE VIEW app.d WITH (security_barrier = yes) AS SELECT 1 AS x",
    )
    off, none, on, yes = catalogue.read(VIEW)
    assert off.facts == none.facts
    assert on.facts == yes.facts != none.facts


def test_a_query_is_replaced_in_place(catalogue: Catalogue) -> None:
    """A view with the same columns is replaced, and what others built on it stays."""
    catalogue.run(TABLE, "CREATE VIEW app.v AS SELECT id FROM app.t")
    before = catalogue.named(VIEW, "v")
    catalogue.run("CREATE VIEW public.foreign_one AS SELECT * FROM app.v")
    [after] = catalogue.tried(
        VIEW, "CREATE OR REPLACE VIEW app.v AS SELECT id * 2 AS id FROM app.t"
    )
    change = catalogue.alter(VIEW, before, after)
    assert [s.sql for s in change.statements] == [
        f"CREATE OR REPLACE VIEW app.v AS\n{after.facts['query']}"
    ]
    assert catalogue.read(VIEW) == [after]


def test_columns_at_the_end_are_added_in_place(catalogue: Catalogue) -> None:
    """A view that only grows at its end is replaced; one that shrinks has to be made again."""
    catalogue.run(TABLE, "CREATE VIEW app.v AS SELECT id FROM app.t")
    small = catalogue.named(VIEW, "v")
    [large] = catalogue.tried(
        VIEW,
        "CREATE OR REPLACE VIEW app.v AS SELECT id, name FROM app.t",
        "COMMENT ON COLUMN app.v.name IS 'new'",
    )
    catalogue.alter(VIEW, small, large)
    assert catalogue.read(VIEW) == [large]
    assert VIEW.change(large, small, (catalogue.world(), catalogue.world())) is None


OTHER_COLUMNS = {
    "another name": "SELECT id AS number, name FROM app.t",
    "another type": "SELECT id::bigint AS id, name FROM app.t",
    "another length": "SELECT id, name::varchar(30) AS name FROM app.t",
    "another collation": 'SELECT id, name COLLATE "C" AS name FROM app.t',
    "another order": "SELECT name, id FROM app.t",
}


@pytest.mark.parametrize("case", OTHER_COLUMNS)
def test_other_columns_need_another_view(catalogue: Catalogue, case: str) -> None:
    """What OR REPLACE refuses is said to be impossible in place."""
    catalogue.run(TABLE, "CREATE VIEW app.v AS SELECT id, name FROM app.t")
    before = catalogue.named(VIEW, "v")
    [after] = catalogue.tried(
        VIEW, "DROP VIEW app.v", f"CREATE VIEW app.v AS {OTHER_COLUMNS[case]}"
    )
    assert VIEW.change(before, after, (catalogue.world(), catalogue.world())) is None


def test_options_and_column_comments_change_alone(catalogue: Catalogue) -> None:
    """The query of a view is left alone where only its options or comments differ."""
    catalogue.run(TABLE)
    comment = "COMMENT ON COLUMN app.v.id IS"
    old = f"CREATE VIEW app.v WITH (check_option = local) AS SELECT id FROM app.t; {comment} 'a'"
    new = f"CREATE VIEW app.v WITH (security_invoker) AS SELECT id FROM app.t; {comment} 'b'"
    assert check_change(catalogue, VIEW, old, new) == [
        "ALTER VIEW app.v SET (security_invoker=true)",
        "ALTER VIEW app.v RESET (check_option)",
        "COMMENT ON COLUMN app.v.id IS 'b'",
    ]


def test_replacing_a_view_sets_its_options(catalogue: Catalogue) -> None:
    """OR REPLACE names all options, because it forgets those that it does not name."""
    catalogue.run(TABLE)
    old = "CREATE VIEW app.v WITH (security_barrier) AS SELECT id FROM app.t"
    new = "CREATE VIEW app.v WITH (security_barrier) AS SELECT id FROM app.t WHERE id > 3"
    [statement] = check_change(catalogue, VIEW, old, new)
    assert statement.startswith("CREATE OR REPLACE VIEW app.v WITH (security_barrier=true) AS\n")


def test_views_of_extensions_are_not_read(catalogue: Catalogue) -> None:
    """What belongs to an extension is the extension's."""
    catalogue.run("CREATE EXTENSION pg_stat_statements SCHEMA app")
    assert catalogue.read(VIEW) == []


STORAGE = {
    "options": (
        "CREATE MATERIALIZED VIEW app.m WITH (fillfactor = 70) AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW app.m WITH (autovacuum_enabled = false) AS SELECT 1 AS a",
        [
            "ALTER MATERIALIZED VIEW app.m SET (autovacuum_enabled=false)",
            "ALTER MATERIALIZED VIEW app.m RESET (fillfactor)",
        ],
    ),
    "columns": (
        "CREATE MATERIALIZED VIEW app.m AS SELECT 'x'::text AS a",
        "CREATE MATERIALIZED VIEW app.m AS SELECT 'x'::text AS a;"
        "ALTER MATERIALIZED VIEW app.m ALTER a SET STATISTICS 50, ALTER a SET STORAGE EXTERNAL, "
        "ALTER a SET COMPRESSION pglz, ALTER a SET (n_distinct = 5)",
        [
            "ALTER MATERIALIZED VIEW app.m ALTER a SET STATISTICS 50",
            "ALTER MATERIALIZED VIEW app.m ALTER a SET STORAGE EXTERNAL",
            "ALTER MATERIALIZED VIEW app.m ALTER a SET COMPRESSION pglz",
            "ALTER MATERIALIZED VIEW app.m ALTER a SET (n_distinct=5)",
        ],
    ),
}


@pytest.mark.parametrize("case", STORAGE)
def test_storage_of_a_materialized_view_changes_in_place(catalogue: Catalogue, case: str) -> None:
    """Options, and settings of columns, are altered and taken back without another view."""
    old, new, statements = STORAGE[case]
    assert check_change(catalogue, MATERIALIZED_VIEW, old, new) == statements


def test_a_materialized_view_is_made_with_all_it_has(catalogue: Catalogue) -> None:
    """Storage, toast options, column settings and comments make the round trip."""
    check_round_trip(
        catalogue,
        MATERIALIZED_VIEW,
        "CREATE MATERIALIZED VIEW app.m WITH (fillfactor = 70, toast.autovacuum_enabled = false) "
        "AS SELECT 'x'::text AS a",
        "ALTER MATERIALIZED VIEW app.m ALTER a SET STORAGE MAIN",
        "COMMENT ON COLUMN app.m.a IS 'x'",
    )


def test_another_query_needs_another_materialized_view(catalogue: Catalogue) -> None:
    """There is no OR REPLACE for materialized views."""
    catalogue.run("CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS a")
    before = catalogue.named(MATERIALIZED_VIEW, "m")
    after = replace(before, facts={**before.facts, "query": " SELECT 2 AS a"})
    worlds = (catalogue.world(), catalogue.world())
    assert MATERIALIZED_VIEW.change(before, after, worlds) is None


def test_moving_a_materialized_view_is_a_hazard(catalogue: Catalogue) -> None:
    """Another tablespace or access method is said to rewrite the view under a lock."""
    catalogue.run(
        "CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS a",
        "CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler",
    )
    before = catalogue.named(MATERIALIZED_VIEW, "m")
    after = replace(before, facts={**before.facts, "access_method": "heap2"})
    [statement] = catalogue.alter(MATERIALIZED_VIEW, before, after).statements
    assert statement.hazards == (Hazard.REWRITES, Hazard.EXCLUSIVE)
    assert catalogue.named(MATERIALIZED_VIEW, "m") == after
    check_again = MATERIALIZED_VIEW.create(after, catalogue.world())
    assert " USING heap2 AS" in check_again[0].sql


def test_whether_a_materialized_view_is_filled_is_kept_and_not_compared(
    catalogue: Catalogue,
) -> None:
    """WITH NO DATA is said again when the view is made, and makes no difference."""
    filled, empty = (
        catalogue.tried(
            MATERIALIZED_VIEW, f"CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS a WITH {ending}"
        )[0]
        for ending in ("DATA", "NO DATA")
    )
    assert filled == empty
    catalogue.run(*MATERIALIZED_VIEW.create(empty, catalogue.world()))
    assert catalogue.scalar("SELECT relispopulated FROM pg_class WHERE relname = 'm'") is False


@pytest.mark.parametrize("kind", [VIEW, MATERIALIZED_VIEW], ids=lambda kind: kind.name)
def test_a_view_is_renamed_and_moved(catalogue: Catalogue, kind: object) -> None:
    """A view gets another name, another schema, or both, and stays the same view."""
    view = VIEW if kind is VIEW else MATERIALIZED_VIEW
    noun = view.name.replace("_", " ").upper()
    catalogue.run('CREATE SCHEMA "Other"', f"CREATE {noun} app.v AS SELECT 1 AS a")
    old, new = catalogue.named(view, "v").id, EntityIdentifier("Other", "W", kind=view.name)
    statements = view.rename(old, new)
    assert [s.sql for s in statements] == [
        f'ALTER {noun} app.v RENAME TO "W"',
        f'ALTER {noun} app."W" SET SCHEMA "Other"',
    ]
    catalogue.run(*statements)
    assert [entity.id for entity in catalogue.read(view, "Other")] == [new]
    assert view.rename(new, new) == ()
