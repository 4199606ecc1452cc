"""Constraints of every kind: read, made, altered where the server can, added without a halt."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import Connection, text

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.constraints import (
    CONSTRAINT,
    create_not_valid,
    create_using_index,
    validate,
)
from pgflow.alembic.statement import Hazard, Statement
from tests.migrations.kinds.table_worlds import (
    built,
    declared,
    facts,
    only,
    run,
    setup,
    way,
    world,
)

_OTHER = "CREATE TABLE app.o (id int PRIMARY KEY, k text, UNIQUE (id, k));"

SHAPES = {
    "primary key": "CREATE TABLE app.t (a int, b text, CONSTRAINT pk PRIMARY KEY (b, a) "
    "INCLUDE (c) WITH (fillfactor = 50), c int)",
    "unique": "CREATE TABLE app.t (a int, b text, CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a) "
    "INCLUDE (b) DEFERRABLE INITIALLY DEFERRED)",
    "check": "CREATE TABLE app.t (a int, b text, CHECK (a > 0 AND b <> ''), "
    "CONSTRAINT \"N I\" CHECK (b ~ '^\\w+ NOT VALID$') NO INHERIT)",
    "a check that is not valid": "CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (-1); "
    "ALTER TABLE app.t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
    "foreign key": f"{_OTHER} CREATE TABLE app.t (a int, b text, CONSTRAINT f FOREIGN KEY (a, b) "
    "REFERENCES app.o (id, k) MATCH FULL ON UPDATE CASCADE ON DELETE SET NULL "
    "DEFERRABLE INITIALLY DEFERRED)",
    "foreign key that sets one column": f"{_OTHER} CREATE TABLE app.t (a int, b text, CONSTRAINT f "
    "FOREIGN KEY (a, b) REFERENCES app.o (id, k) ON DELETE SET DEFAULT (b))",
    "a foreign key that is not valid": f"{_OTHER} CREATE TABLE app.t (a int); "
    "ALTER TABLE app.t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES app.o NOT VALID",
    "to itself": "CREATE TABLE app.t (id int PRIMARY KEY, up int REFERENCES app.t)",
    "exclude": "CREATE TABLE app.t (r int4range, k int, CONSTRAINT x EXCLUDE USING gist "
    "(r WITH &&, (k + 1) WITH =) WITH (fillfactor = 60) WHERE (k > 0) DEFERRABLE)",
    "on partitioned tables": "CREATE TABLE app.o (id int PRIMARY KEY) PARTITION BY RANGE (id); "
    "CREATE TABLE app.o_1 PARTITION OF app.o DEFAULT; CREATE TABLE app.t (id int, o int, "
    "CONSTRAINT f FOREIGN KEY (o) REFERENCES app.o, CHECK (o > 0), PRIMARY KEY (id) WITH "
    "(fillfactor = 60)) PARTITION BY HASH (id); CREATE TABLE app.t_1 PARTITION OF app.t "
    "FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    "inherited": "CREATE TABLE app.p (a int CHECK (a > 0)); CREATE TABLE app.t (b int, "
    "CHECK (b > 0)) INHERITS (app.p)",
    "18: without overlaps": "CREATE TABLE app.o (id int, p daterange, PRIMARY KEY (id, p WITHOUT "
    "OVERLAPS)); CREATE TABLE app.t (id int, p daterange, FOREIGN KEY (id, PERIOD p) REFERENCES "
    "app.o (id, PERIOD p))",
    "18: not enforced": f"{_OTHER} CREATE TABLE app.t (a int CHECK (a > 0) NOT ENFORCED, "
    "b int REFERENCES app.o NOT ENFORCED)",
    "18: not null that is not valid": "CREATE TABLE app.t (a int); ALTER TABLE app.t "
    "ADD CONSTRAINT n NOT NULL a NOT VALID",
}

CHANGES = {
    "primary key": (
        "CREATE TABLE app.t (a int NOT NULL, b int NOT NULL, PRIMARY KEY (a))",
        "CREATE TABLE app.t (a int NOT NULL, b int NOT NULL, PRIMARY KEY (b, a))",
    ),
    "no primary key": (
        "CREATE TABLE app.t (a int PRIMARY KEY)",
        "CREATE TABLE app.t (a int)",
    ),
    "a check": (
        "CREATE TABLE app.t (a int CHECK (a > 0))",
        "CREATE TABLE app.t (a int CHECK (a > 1))",
    ),
    "a foreign key's action": (
        f"{_OTHER} CREATE TABLE app.t (a int REFERENCES app.o)",
        f"{_OTHER} CREATE TABLE app.t (a int REFERENCES app.o ON DELETE CASCADE)",
    ),
    "a foreign key's timing": (
        f"{_OTHER} CREATE TABLE app.t (a int REFERENCES app.o)",
        f"{_OTHER} CREATE TABLE app.t (a int REFERENCES app.o DEFERRABLE INITIALLY DEFERRED)",
    ),
    "a unique constraint's timing": (
        "CREATE TABLE app.t (a int UNIQUE)",
        "CREATE TABLE app.t (a int UNIQUE DEFERRABLE)",
    ),
    "storage of the index": (
        "CREATE TABLE app.t (a int PRIMARY KEY)",
        "CREATE TABLE app.t (a int PRIMARY KEY WITH (fillfactor = 60, deduplicate_items = off))",
    ),
    "storage of a partitioned index": (
        "CREATE TABLE app.t (a int PRIMARY KEY) PARTITION BY RANGE (a)",
        "CREATE TABLE app.t (a int PRIMARY KEY WITH (fillfactor = 60)) PARTITION BY RANGE (a)",
    ),
    "exclusion": (
        "CREATE TABLE app.t (r int4range, EXCLUDE USING gist (r WITH &&))",
        "CREATE TABLE app.t (r int4range, EXCLUDE USING gist (r WITH &&) WITH (fillfactor = 60))",
    ),
    "a partition with what it inherits": (
        "CREATE TABLE app.t (a int PRIMARY KEY, x int CHECK (x > 0)) PARTITION BY RANGE (a); "
        "CREATE INDEX i ON app.t (x); CREATE TABLE app.t_1 PARTITION OF app.t DEFAULT",
        "CREATE TABLE app.t (a int PRIMARY KEY, x int CHECK (x > 0)) PARTITION BY RANGE (a); "
        "CREATE INDEX i ON app.t (x)",
    ),
    "a check of partitions": (
        "CREATE TABLE app.t (a int PRIMARY KEY, x int CHECK (x > 0)) PARTITION BY RANGE (a); "
        "CREATE TABLE app.t_1 PARTITION OF app.t DEFAULT",
        "CREATE TABLE app.t (a int PRIMARY KEY, x bigint CHECK (x > 1)) PARTITION BY RANGE (a); "
        "CREATE TABLE app.t_1 PARTITION OF app.t DEFAULT",
    ),
}


def _skip_if_new(conn: Connection, name: str) -> None:
    if name.startswith("18") and (conn.dialect.server_version_info or ()) < (18,):
        pytest.skip("PostgreSQL 18 brought it")


def _prepare(conn: Connection, sql: str) -> None:
    run(conn, "CREATE EXTENSION IF NOT EXISTS btree_gist")
    setup(conn, sql)


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_read_of_a_constraint_makes_the_same_constraint(
    conn: Connection, name: str
) -> None:
    """A constraint made from what was read of another one reads the same."""
    _skip_if_new(conn, name)
    _prepare(conn, SHAPES[name])
    first = world(conn)
    run(conn, "DROP SCHEMA app CASCADE")
    setup(conn, *(statement.sql for statement in built(first)))
    found = facts(world(conn))
    wanted = facts(first)
    # CREATE TABLE makes every check valid: there are no rows yet.
    if name == "a check that is not valid":
        wanted["constraint app.t.c"]["validated"] = True
    assert found == wanted


@pytest.mark.parametrize("name", SHAPES)
def test_a_constraint_is_dropped_and_added_to_its_table(conn: Connection, name: str) -> None:
    """Added by itself, a constraint is the same as one that came with its table."""
    _skip_if_new(conn, name)
    _prepare(conn, SHAPES[name])
    first = world(conn)
    constraints = list(first.of_kind("constraint"))
    keys = [each for each in constraints if each.facts["type"] != "foreign_key"]
    references = [each for each in constraints if each not in keys]
    for each in (*references, *keys):
        run(conn, *CONSTRAINT.drop(each, first))
    assert not list(world(conn).of_kind("constraint"))
    for each in (*keys, *references):
        run(conn, *CONSTRAINT.create(each, first))
    assert facts(world(conn)) == facts(first)


@pytest.mark.parametrize("before, after", CHANGES.values(), ids=CHANGES.keys())
def test_a_constraint_becomes_another_and_itself_again(
    conn: Connection, before: str, after: str
) -> None:
    """What leads from one constraint to another leads there, and back."""
    _prepare(conn, before)
    live, wanted = world(conn), declared(conn, after)
    assert facts(live) != facts(wanted)
    run(conn, *way(live, wanted))
    assert facts(world(conn)) == facts(wanted)
    run(conn, *way(world(conn), live))
    assert facts(world(conn)) == facts(live)


def test_a_foreign_key_changes_its_timing_in_place(conn: Connection) -> None:
    """No row is read for it: ALTER CONSTRAINT."""
    setup(conn, f"{_OTHER} CREATE TABLE app.t (a int CONSTRAINT f REFERENCES app.o)")
    live = world(conn)
    wanted = declared(
        conn, f"{_OTHER} CREATE TABLE app.t (a int CONSTRAINT f REFERENCES app.o DEFERRABLE)"
    )
    old, new = only(live, "constraint", "f"), only(wanted, "constraint", "f")
    change = CONSTRAINT.change(old, new, (live, wanted))
    assert change is not None
    assert [(each.sql, each.hazards) for each in change.statements] == [
        ("ALTER TABLE app.t ALTER CONSTRAINT f DEFERRABLE", ())
    ]


def test_a_leftover_is_validated_and_nothing_valid_is_made_invalid(conn: Connection) -> None:
    """A constraint whose validation failed once is validated; NOT VALID is content with valid."""
    setup(conn, "CREATE TABLE app.t (a int); ALTER TABLE app.t ADD CONSTRAINT c CHECK (a > 0)")
    valid = world(conn)
    run(conn, "ALTER TABLE app.t DROP CONSTRAINT c")
    run(conn, "ALTER TABLE app.t ADD CONSTRAINT c CHECK (a > 0) NOT VALID")
    leftover = world(conn)
    there, here = only(valid, "constraint", "c"), only(leftover, "constraint", "c")
    back = CONSTRAINT.change(there, here, (valid, leftover))
    assert back is not None
    assert back.statements == ()
    change = CONSTRAINT.change(here, there, (leftover, valid))
    assert change is not None
    run(conn, *change.statements)
    assert facts(world(conn)) == facts(valid)


def test_a_constraint_of_a_big_table_is_added_in_two_steps(conn: Connection) -> None:
    """First for new rows, without reading any; then the old rows are read."""
    setup(conn, f"{_OTHER} CREATE TABLE app.t (a int CONSTRAINT f REFERENCES app.o CHECK (a > 0))")
    found = world(conn)
    for name in ("f", "t_a_check"):
        constraint = only(found, "constraint", name)
        run(conn, *CONSTRAINT.drop(constraint, found))
        (added,) = create_not_valid(constraint, found)
        assert added.hazards == ()
        run(conn, added)
        assert only(world(conn), "constraint", name).facts["validated"] is False
        (validated,) = validate(constraint)
        assert validated.hazards == (Hazard.SCANS,)
        run(conn, validated)
    assert facts(world(conn)) == facts(found)


def test_a_foreign_key_of_a_partitioned_table_is_added_as_the_server_can(conn: Connection) -> None:
    """PostgreSQL before 18 knows no NOT VALID there."""
    setup(
        conn,
        f"{_OTHER} CREATE TABLE app.t (a int CONSTRAINT f REFERENCES app.o) PARTITION BY LIST (a)",
    )
    found = world(conn)
    constraint = only(found, "constraint", "f")
    run(conn, *CONSTRAINT.drop(constraint, found))
    statements = create_not_valid(constraint, found)
    run(conn, *statements)
    if statements[0].sql.endswith("NOT VALID"):
        run(conn, *validate(constraint))
    assert facts(world(conn)) == facts(found)


@pytest.mark.parametrize(
    "sql",
    [
        "CONSTRAINT k PRIMARY KEY (a) INCLUDE (b) DEFERRABLE",
        "CONSTRAINT k UNIQUE NULLS NOT DISTINCT (a, b) WITH (fillfactor = 60)",
    ],
)
def test_a_key_of_a_big_table_comes_over_its_index(database: str, sql: str) -> None:
    """The index is built while others write; a second attempt finds what the first one left."""
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
        connection.execute(f"CREATE TABLE app.t (a int NOT NULL, b int, {sql})")
        found = _read(database)
        constraint = only(found, "constraint", "k")
        connection.execute("ALTER TABLE app.t DROP CONSTRAINT k")
        connection.execute("INSERT INTO app.t VALUES (1, 1), (1, 1)")
        statements = create_using_index(constraint, found)
        with pytest.raises(psycopg.errors.UniqueViolation):
            _run(connection, statements)
        assert _validity(connection) == [False]
        connection.execute("DELETE FROM app.t")
        _run(connection, statements[:2])
        assert _validity(connection) == [True]
        _run(connection, statements)
        assert facts(_read(database)) == facts(found)
        assert [each.autocommit for each in statements] == [True, True, False]


def _run(connection: psycopg.Connection, statements: object) -> None:
    for statement in statements:  # type: ignore[attr-defined]
        assert isinstance(statement, Statement)
        connection.execute(statement.sql)  # type: ignore[arg-type]


def _read(database: str):  # type: ignore[no-untyped-def]
    from sqlalchemy import create_engine

    engine = create_engine(database)
    with engine.connect() as conn:
        found = world(conn)
    engine.dispose()
    return found


def _validity(connection: psycopg.Connection) -> list[bool]:
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.k'::regclass"
    return [valid for (valid,) in connection.execute(query)]


def test_what_cannot_come_over_an_index_comes_plainly(conn: Connection) -> None:
    """A partitioned table has no index that could be built concurrently."""
    setup(conn, "CREATE TABLE app.t (a int CONSTRAINT k PRIMARY KEY) PARTITION BY RANGE (a)")
    found = world(conn)
    constraint = only(found, "constraint", "k")
    assert create_using_index(constraint, found) == CONSTRAINT.create(constraint, found)


@pytest.mark.parametrize(
    "sql, hazards",
    [
        ("CHECK (a > 0)", (Hazard.SCANS, Hazard.EXCLUSIVE)),
        ("UNIQUE (a)", (Hazard.SCANS, Hazard.EXCLUSIVE)),
        ("REFERENCES app.o", (Hazard.SCANS, Hazard.STOPS_WRITERS)),
    ],
)
def test_a_constraint_says_that_it_reads_the_table(
    conn: Connection, sql: str, hazards: tuple[Hazard, ...]
) -> None:
    """Only what must be checked is, and a foreign key lets readers in meanwhile."""
    setup(
        conn,
        f"{_OTHER} CREATE TABLE app.t (a int CONSTRAINT c {sql})".replace(
            "c UNIQUE (a)", "c UNIQUE"
        ),
    )
    found = world(conn)
    constraint = only(found, "constraint", "c")
    (added,) = CONSTRAINT.create(constraint, found)
    assert added.hazards == hazards
    unchecked = replace(constraint, facts={**constraint.facts, "validated": False})
    (added,) = CONSTRAINT.create(unchecked, found)
    assert added.hazards == (() if constraint.facts["type"] != "unique" else hazards)


def test_a_constraint_is_renamed_with_its_index(conn: Connection) -> None:
    """A renamed key keeps its index."""
    setup(conn, "CREATE TABLE app.t (a int PRIMARY KEY)")
    old = only(world(conn), "constraint", "t_pkey").id
    run(conn, *(CONSTRAINT.rename(old, replace(old, name="The Key")) or ()))
    query = text("SELECT count(*) FROM pg_class WHERE relname = 'The Key'")
    assert conn.execute(query).scalar() == 1
    assert CONSTRAINT.rename(old, EntityIdentifier("app", "t_pkey", table="u")) == ()


def test_a_comment_of_a_constraint_is_read_and_named(conn: Connection) -> None:
    """COMMENT ON finds a constraint by its label, whatever its name."""
    setup(conn, 'CREATE TABLE app."T" (a int CONSTRAINT "C c" CHECK (a > 0))')
    label = CONSTRAINT.label(only(world(conn), "constraint", "C c").id)
    run(conn, f"COMMENT ON {label} IS 'why'")
    assert only(world(conn), "constraint", "C c").comment == "why"
