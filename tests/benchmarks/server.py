"""The server that is measured: a throw-away one that is set up to last, or one that is given."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, make_url

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries, find_binaries
from pgflow.connections.cluster import Cluster

#: Commits wait for the disk, as in production. Nothing runs by itself while a run is measured.
#: Parallel workers trade CPU for time: with them, results would tell how idle the machine was.
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
}


@contextmanager
def server(dsn: str | None) -> Iterator[URL]:
    """Provide a server for one session of measurements.

    Args:
        dsn: A server to use; its role may create databases. Without it a throw-away server is
            started, of the programs in PGFLOW_TEST_PG_BIN or of those that pgflow finds.

    Yields:
        The URL of one of its databases, from which others are created.
    """
    if dsn is not None:
        yield make_url(dsn).set(drivername="postgresql+psycopg")
        return
    directory = Path(tempfile.mkdtemp(prefix="pgflow-bench-"))
    directory.chmod(0o711)
    named = os.environ.get("PGFLOW_TEST_PG_BIN")
    found = Binaries(Path(named), "PGFLOW_TEST_PG_BIN") if named else find_binaries()
    account = server_account()
    cluster = Cluster(
        directory / "server", found.reachable_by(account, directory / "binaries"), account
    )
    try:
        cluster.create(durable=False)
        cluster.start(SETTINGS)
        yield cluster.url()
    finally:
        cluster.stop(immediate=True)
        shutil.rmtree(directory)


def dial(url: URL) -> psycopg.Connection[Any]:
    """Connect without SQLAlchemy; every statement commits by itself unless it says BEGIN."""
    words: dict[str, Any] = {
        **url.translate_connect_args(database="dbname", username="user"),
        **url.query,
    }
    return psycopg.connect(make_conninfo(**words), autocommit=True)
