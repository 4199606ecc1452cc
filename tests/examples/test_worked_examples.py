"""The worked examples run as their README files say, by the real command line."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import pgflow
from tests.cli.conftest import Ran, execute, forget, invoke  # noqa: F401  # a fixture

EXAMPLES = Path(__file__).parents[2] / "examples"

COUNTS = ("read", "inserted", "updated", "closed", "deleted", "unchanged", "skipped")


class Workshop:
    """A copy of an example, and its databases by the names of their connections.

    Args:
        directory: Where the copy is.
        call: Runs a command in this process.
        engines: The databases.
    """

    def __init__(self, directory: Path, call: Any, engines: dict[str, sa.Engine]) -> None:
        self.directory = directory
        self._call = call
        self.engines = engines

    def follow_readme(self) -> dict[str, Ran]:
        """Run every line of the README's commands; the first sync in a process of its own."""
        readme = (self.directory / "README.md").read_text()
        (block,) = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
        done: dict[str, Ran] = {}
        for line in block.splitlines():
            words = line.partition("#")[0].split()
            if words[0] == "python":
                runpy.run_path(str(self.directory / words[1]), run_name="__main__")
                continue
            assert words[0] == "pgflow", line
            key = words[1] if words[1] not in done else f"{words[1]} again"
            done[key] = execute(*words[1:]) if key == "sync" else self.pgflow(*words[1:])
            assert done[key].code == 0, done[key].out + done[key].err
        return done

    def pgflow(self, *words: str) -> Ran:
        """Run a command in this process."""
        forget(self.directory)
        pgflow.metadata.clear()
        done: Ran = self._call(*words)
        return done

    def rows(self, query: str, name: str = "default") -> list[tuple[Any, ...]]:
        """Ask one of the databases, or change it."""
        with self.engines[name].begin() as connection:
            result = connection.exec_driver_sql(query)
            return [tuple(row) for row in result] if result.returns_rows else []

    def counts(self, *words: str) -> list[dict[str, int]]:
        """Run a command that answers in JSON; the counts of each target that are not zero."""
        done = self.pgflow(*words, "--format", "json")
        assert done.code == 0, done.out + done.err
        (result,) = done.json
        return [{k: t[k] for k in COUNTS if t[k]} for t in result["targets"]]


Example = Callable[..., Workshop]


@pytest.fixture
def example(
    home: Path,
    invoke: Any,  # noqa: F811  # the fixture
    make_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Example]:
    """Copies an example, and gives its connections empty databases."""
    engines: dict[str, sa.Engine] = {}
    fresh = sa.MetaData()
    monkeypatch.setattr("pgflow.decorators.metadata", fresh)
    monkeypatch.setitem(vars(pgflow), "metadata", fresh)

    def make(name: str, *connections: str) -> Workshop:
        shutil.copytree(EXAMPLES / name, home, dirs_exist_ok=True)
        for connection in connections:
            url = make_database()
            engines[connection] = sa.create_engine(url, poolclass=sa.NullPool)
            variable = "PGFLOW_DSN" if connection == "default" else f"PGFLOW_DSN_{connection}"
            monkeypatch.setenv(variable.upper(), url)
        return Workshop(home, invoke, engines)

    yield make
    for each in engines.values():
        each.dispose()


def test_a_dimension_keeps_its_history(example: Example) -> None:
    """CustomerDim as written: keys and columns are found out, and each change is a version."""
    shop = example("customers", "default")
    done = shop.follow_readme()
    assert re.search(r"merge key +customer_id +\[pk\(\)\]", done["preview"].out)
    assert re.search(r"compared +email, name ", done["preview"].out)
    assert "schedule: 0 * * * *" in done["preview"].out
    assert "inserted 3" in done["dry-run"].err
    assert "inserted 3, read 3" in done["sync"].err
    assert "unchanged 3, read 3" in done["sync again"].err
    assert done["history"].out.count("success") == 2
    shop.rows(
        "UPDATE source.users SET email = 'first@example.org', last_seen = '2024-04-01Z'"
        " WHERE id = 1"
    )
    shop.rows("UPDATE source.users SET last_seen = '2024-04-02Z' WHERE id = 2")
    expected = [{"read": 3, "inserted": 1, "closed": 1, "unchanged": 2}]
    assert shop.counts("dry-run", "customer_sync") == expected
    assert shop.counts("sync", "customer_sync") == expected
    assert shop.rows(
        "SELECT email, valid_from::date::text, valid_to::date::text FROM warehouse.customer_dim"
        " WHERE customer_id = 1 ORDER BY valid_from"
    ) == [
        ("first@example.com", "2024-03-01", "2024-04-01"),
        ("first@example.org", "2024-04-01", None),
    ]


def test_a_mirror_needs_no_sql(example: Example) -> None:
    """source_table and column_map as written: the framework makes the query."""
    shop = example("mirror", "default")
    done = shop.follow_readme()
    assert "id AS customer_id" in done["preview"].out
    assert "inserted 3, read 3" in done["sync"].err
    assert "unchanged 3, read 3" in done["sync again"].err
    assert done["history"].out.count("success") == 2
    shop.rows("UPDATE source.users SET name = 'Second' WHERE id = 2")
    assert shop.counts("sync", "customer_sync") == [{"read": 3, "updated": 1, "unchanged": 2}]
    mirrored = shop.rows("SELECT customer_id, name FROM warehouse.customer_dim ORDER BY 1")
    assert mirrored == [(1, "First"), (2, "Second"), (3, "Third")]


def test_one_query_feeds_three_tables(example: Example) -> None:
    """Several targets as written: each its mode, its transaction and its line of history."""
    shop = example("feature_views", "warehouse")
    done = shop.follow_readme()
    summary = re.sub(r" +", " ", done["preview"].out)
    assert "sync_user_events schedule: 0 1 * * * targets: 3" in summary
    for line in (
        "✓ features.daily_features mode=scd2 keys=(user_id, period_start) path=same_db",
        "✓ features.weekly_features mode=scd2 keys=(user_id, period_start) path=same_db",
        "✓ events.event_log mode=append keys=— path=same_db",
    ):
        assert line in summary
    assert done["history"].out.count("success") == 6
    again = [{"read": 3, "unchanged": 3}, {"read": 3, "unchanged": 3}, {"read": 3, "inserted": 3}]
    assert shop.counts("dry-run", "sync_user_events") == again
    assert shop.counts("sync", "sync_user_events") == again
    assert shop.rows("SELECT count(*) FROM features.daily_features", "warehouse") == [(3,)]


def test_rows_go_from_one_database_into_another(example: Example) -> None:
    """UserPurchaseFeatures as written: two named connections, and the same history."""
    shop = example("two_databases", "oltp", "warehouse")
    done = shop.follow_readme()
    preview = done["preview"].out
    assert re.search(r"path +copy +\[the source is another database", preview)
    assert re.search(r"merge key +user_id, period_start +\[pk\(\)\]", preview)
    assert re.search(r"compared +total_spend, order_count, is_subscriber ", preview)
    assert "inserted 3, read 3" in done["sync"].err
    assert "unchanged 3, read 3" in done["sync again"].err
    assert done["history"].out.count("success") == 2
    shop.rows("INSERT INTO events.purchases VALUES (5, 1, '2024-03-02 20:00Z', 1.25, true)", "oltp")
    expected = [{"read": 3, "inserted": 1, "closed": 1, "unchanged": 2}]
    assert shop.counts("sync", "sync_user_purchase_features") == expected
    assert shop.rows(
        "SELECT total_spend::text, order_count, is_current"
        " FROM features.user_purchase_features_v1"
        " WHERE (user_id, period_start) = (1, '2024-03-02') ORDER BY valid_from",
        "warehouse",
    ) == [("20.00", 1, False), ("21.25", 2, True)]
