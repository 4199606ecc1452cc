"""Identical states to start from: each run gets a copy of a prepared database, file by file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql
from sqlalchemy import URL, create_engine

import pgflow
from tests.benchmarks.cases import OLD_VERSIONS, Case
from tests.benchmarks.declarations import declare
from tests.benchmarks.script import run
from tests.benchmarks.server import dial


class Databases:
    """Creates databases on a server and drops them.

    Args:
        server: One of the server's databases.
        rows: How many rows source and target have.
    """

    def __init__(self, server: URL, rows: int):
        self.rows = rows
        self.server = server
        self._admin = dial(server)
        self._prefix = f"pgflow_bench_{os.getpid()}_{rows}"
        self._filled: dict[tuple[str, bool, bool], str] = {}
        self._names: set[str] = set()

    def close(self) -> None:
        """Drop every database that is left."""
        for name in sorted(self._names):
            self._drop(name)
        self._admin.close()

    @contextmanager
    def prepared(self, case: Case) -> Iterator[str]:
        """Provide a database in the state before a case's run, which nobody connects to.

        Yields:
            Its name, for `copy`.
        """
        name = self._create("case", template=self._with_target(case))
        self._script(
            name,
            "source.sql",
            last=self.rows + self.rows * case.fresh // 100,
            changed=case.changed,
            missing=case.missing,
            later="300 days" if case.dated else "0",
            proven=case.proven,
        )
        self._tidy(name)
        yield name
        self._drop(name)

    @contextmanager
    def copy(self, template: str) -> Iterator[URL]:
        """Provide a copy of a prepared database.

        Yields:
            Its URL. Whoever connects to it disconnects before the end.
        """
        name = self._create("run", template=template)
        yield self.server.set(database=name)
        self._drop(name)

    @contextmanager
    def empty(self) -> Iterator[URL]:
        """Provide an empty database.

        Yields:
            Its URL. Whoever connects to it disconnects before the end.
        """
        name = self._create("empty")
        yield self.server.set(database=name)
        self._drop(name)

    def _with_target(self, case: Case) -> str:
        """Return the database that has a case's target; cases that start alike share it."""
        key = (case.mode, case.keyed, case.filled)
        if key not in self._filled:
            name = self._create(f"target{len(self._filled)}")
            self._build(name, case)
            self._filled[key] = name
        return self._filled[key]

    def _build(self, name: str, case: Case) -> None:
        self._script(name, "rows.sql")
        engine = create_engine(self.server.set(database=name))
        pgflow.create_all(declare(case, engine).metadata, connection=engine)
        engine.dispose()
        if case.filled and case.history:
            self._script(name, "fill_history.sql", last=self.rows, versions=OLD_VERSIONS)
        elif case.filled:
            self._script(name, "fill.sql", last=self.rows)
        self._tidy(name)

    def _script(self, database: str, script: str, **values: object) -> None:
        with dial(self.server.set(database=database)) as connection:
            run(connection, script, **values)

    def _tidy(self, database: str) -> None:
        with dial(self.server.set(database=database)) as connection:
            connection.execute("VACUUM (ANALYZE)")

    def _create(self, suffix: str, template: str = "template1") -> str:
        """Copy a database; a copy of its files begins and ends with a checkpoint."""
        name = f"{self._prefix}_{suffix}"
        self._admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        self._names.add(name)
        return name

    def _drop(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        self._names.discard(name)
