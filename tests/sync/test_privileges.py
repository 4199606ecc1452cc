"""A role that may read, write and make temporary tables runs everything; a policy hides nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import NullPool, create_engine

import pgflow
from pgflow.errors import StatementFailed
from pgflow.observe.history import read_history
from tests.sync.sync_children import session

_numbers = itertools.count(1)

#: What a loader needs, and no more.
_GRANTS = (
    "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}",
    "GRANT USAGE ON SCHEMA w, pgflow TO {role}",
    "GRANT SELECT ON w.s TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON w.t TO {role}",
    "GRANT SELECT, INSERT, UPDATE ON pgflow.runs, pgflow.watermarks TO {role}",
)


class Loader:
    """An ordinary role, and an engine that connects as it."""

    def __init__(self, world: Any, database: str) -> None:
        self.world, self.database = world, database
        self.name = f"loader_{os.getpid()}_{next(_numbers)}"
        url = sa.make_url(database).set(username=self.name)
        self.engine = create_engine(url, poolclass=NullPool)

    def grant(self, *grants: str) -> None:
        """Give the role rights on what exists by now."""
        with session(self.database) as admin:
            for each in grants or _GRANTS:
                admin.execute(each.format(role=self.name, database=admin.info.dbname))

    def pipe(self, mode: str, **options: Any) -> Any:
        """Create the target as its owner, and a pipeline that runs as the role."""
        table = self.world.table()
        self.world.pipe(table, mode=mode, **options)
        self.grant()
        other = sa.MetaData()
        self.world.metadata = other
        again = self.world.table()
        return pgflow.Pipeline(
            "p", target=again, connection=self.engine, mode=mode, **{"source": _SOURCE, **options}
        )


_SOURCE = "SELECT id, a, b FROM w.s"


@pytest.fixture
def loader(world: Any, database: str) -> Iterator[Loader]:
    """A role without any right but those that a loader needs."""
    made = Loader(world, database)
    with session(database) as admin:
        admin.execute(f"CREATE ROLE {made.name} LOGIN")
        admin.execute(f"REVOKE ALL ON DATABASE {admin.info.dbname} FROM PUBLIC")
        admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    yield made
    with session(database) as admin:
        admin.execute(f"DROP OWNED BY {made.name}")
        admin.execute(f"DROP ROLE {made.name}")


CASES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "append": ({}, {"inserted": 1, "unchanged": 1, "skipped": 1, "read": 3}),
    "truncate": ({}, {"inserted": 3, "deleted": 3, "read": 3}),
    "merge": ({}, {"inserted": 1, "updated": 1, "unchanged": 1, "read": 3}),
    "merge hard": (
        {"handle_deletes": "hard"},
        {"inserted": 1, "updated": 1, "deleted": 1, "unchanged": 1, "read": 3},
    ),
    "merge soft": (
        {"handle_deletes": "soft"},
        {"inserted": 1, "updated": 1, "deleted": 1, "unchanged": 1, "read": 3},
    ),
    "scd1": ({}, {"inserted": 1, "updated": 1, "unchanged": 1, "read": 3}),
    "scd2": ({}, {"inserted": 2, "closed": 1, "unchanged": 1, "read": 3}),
    "scd2 soft": (
        {"handle_deletes": "soft"},
        {"inserted": 2, "closed": 2, "deleted": 1, "unchanged": 1, "read": 3},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_least_rights_run_every_mode(loader: Loader, counts: Any, case: str) -> None:
    """A role that may neither create, truncate nor own anything loads, previews and rehearses."""
    options, expected = CASES[case]
    pipeline = loader.pipe(case.split()[0], **options)
    loader.world.fill((1, "a", 1), (2, "b", 2), (3, "c", 3))
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    loader.world.fill((1, "a", 1), (2, "B", 2), (4, "d", 4))
    assert [t.problem for t in pipeline.preview().targets] == [""]
    assert counts(pipeline.dry_run()) == expected
    assert counts(pipeline.sync()) == expected
    with loader.engine.connect() as connection:
        assert [e.status for e in read_history(connection)] == ["success", "success"]


def test_append_needs_neither_update_nor_delete(loader: Loader, counts: Any) -> None:
    """A role that may only read and insert appends, with keys too."""
    pipeline = loader.pipe("append")
    loader.grant("REVOKE UPDATE, DELETE ON w.t FROM {role}")
    loader.world.fill((1, "a", 1))
    pipeline.sync()
    loader.world.fill((1, "a", 1), (2, "b", 2))
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}


def test_least_rights_run_incrementally(loader: Loader, counts: Any) -> None:
    """The same role keeps a watermark."""
    pipeline = loader.pipe("merge", incremental_column="u", source="SELECT id, a, b, u FROM w.s")
    insert = "INSERT INTO w.s VALUES (%s, %s, 1, timestamptz '2024-01-01' + interval '1 day' * %s)"
    for i in (1, 2, 3):
        loader.world.run(insert, i, "a", i)
    assert counts(pipeline.sync()) == {"inserted": 3, "read": 3}
    loader.world.run(insert, 4, "a", 4)
    assert counts(pipeline.sync()) == {"inserted": 1, "unchanged": 1, "read": 2}


def test_a_missing_right_is_told(loader: Loader) -> None:
    """A run that lacks a right says on what, writes nothing, and is recorded."""
    pipeline = loader.pipe("merge")
    loader.grant("REVOKE UPDATE ON w.t FROM {role}")
    loader.world.fill((1, "a", 1))
    pipeline.sync()
    loader.world.fill((1, "b", 1), (2, "b", 1))
    with pytest.raises(StatementFailed, match="could not update changed rows: permission denied"):
        pipeline.sync()
    assert loader.world.run("SELECT id, a FROM w.t") == [(1, "a")]
    assert loader.world.run("SELECT status FROM pgflow.runs ORDER BY started_at") == [
        ("success",),
        ("failed",),
    ]


@pytest.mark.parametrize("mode", ["append", "truncate", "merge", "scd1", "scd2"])
def test_row_level_security_raises_instead_of_hiding_rows(loader: Loader, mode: str) -> None:
    """Where a policy would hide rows of the target, nothing runs; a preview says so as well."""
    pipeline = loader.pipe(mode)
    loader.world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync()
    loader.world.run("ALTER TABLE w.t ENABLE ROW LEVEL SECURITY")
    loader.world.run("CREATE POLICY mine ON w.t USING (id = 1)")
    for run in (pipeline.dry_run, pipeline.sync):
        with pytest.raises(
            StatementFailed, match='affected by row-level security policy for table "t"'
        ):
            run()
    assert "row-level security policy" in str(pipeline.preview())
    assert loader.world.run("SELECT count(*) FROM w.t") == [(2,)]


def test_a_source_behind_a_policy_raises_too(loader: Loader) -> None:
    """A policy on the source is no filter either: half a source would look like deletes."""
    pipeline = loader.pipe("merge", handle_deletes="hard")
    loader.world.fill((1, "a", 1), (2, "b", 2))
    pipeline.sync()
    loader.world.run("ALTER TABLE w.s ENABLE ROW LEVEL SECURITY")
    loader.world.run("CREATE POLICY mine ON w.s USING (id = 1)")
    with pytest.raises(StatementFailed, match='row-level security policy for table "s"'):
        pipeline.sync()
    assert loader.world.run("SELECT count(*) FROM w.t") == [(2,)]
