"""Each change of a declaration is a migration with just that change, which applies and reverts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.migrations.matrix import constraints, programs, tables, types
from tests.migrations.matrix.case import READER, Case
from tests.migrations.matrix.workshop import Workshop, metadata_of

CASES = [*tables.CASES, *constraints.CASES, *programs.CASES, *types.CASES]


@pytest.fixture
def workshop(engine: Engine) -> Iterator[Workshop]:
    """A database of its own, and the role that declarations grant rights to."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {READER}")
    yield Workshop(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {READER}")
        connection.exec_driver_sql(f"DROP ROLE {READER}")


@pytest.fixture
def major(engine: Engine) -> int:
    """The server's major version."""
    with engine.connect() as connection:
        return connection.connection.driver_connection.info.server_version // 10000


def test_there_are_changes_of_every_kind() -> None:
    """The matrix holds at least eighty changes, each under a name of its own."""
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 80


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_change(case: Case, workshop: Workshop, major: int) -> None:
    """A change has exactly its operations, keeps rows and foreign objects, reverts, converges."""
    if major < case.server:
        pytest.skip(f"PostgreSQL {case.server} is the first to know it")
    workshop.prepare(case)
    before, rows, foreign = workshop.state(), workshop.rows(), workshop.foreign()

    draft = workshop.draft(metadata_of(case, "after"))
    assert Counter(draft.steps) == Counter(case.upgrade)

    workshop.upgrade(draft)
    assert workshop.draft(metadata_of(case, "after")).steps == []
    assert workshop.foreign() == foreign
    if case.keeps_rows:
        assert [row[: len(rows[0])] for row in workshop.rows()] == list(rows)

    workshop.downgrade(draft)
    assert workshop.draft(metadata_of(case, "before")).steps == []
    assert workshop.foreign() == foreign
    if case.returns:
        assert workshop.state() == before
