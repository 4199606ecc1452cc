"""Servers that restart, start, are full or stay away in the middle of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import NullPool, create_engine

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries
from pgflow.connections.cluster import Cluster
from pgflow.run import runner
from pgflow.run.recovery import contact
from tests.run.losses import Once, history
from tests.sync.conftest import World
from tests.sync.sync_children import session


@pytest.fixture
def own_world(server_directory: Path, binaries: Binaries) -> Iterator[Any]:
    """The small world on a server of its own, which may be stopped and started."""
    cluster = Cluster(server_directory / "restarts", binaries, server_account())
    if not cluster.exists:
        cluster.create(durable=False)
    cluster.start({"fsync": "off", "max_connections": "20"})
    made = World(create_engine(cluster.url(), poolclass=NullPool))
    made.run("DROP SCHEMA IF EXISTS w CASCADE")
    made.run("DROP SCHEMA IF EXISTS pgflow CASCADE")
    made.run("CREATE SCHEMA w")
    made.run("CREATE TABLE w.s (id bigint, a text, b numeric, u timestamptz)")
    made.cluster = cluster
    yield made
    cluster.stop(immediate=True)


@pytest.mark.parametrize("immediate", [False, True], ids=["fast", "immediate"])
def test_a_restart_in_the_middle_is_waited_for(own_world: Any, immediate: bool) -> None:
    """A run whose server is stopped and started again goes on from the start when it is back."""
    pipeline = own_world.pipe(own_world.table(), mode="scd2")
    own_world.fill((1, "a", 1))
    cluster, back = own_world.cluster, []

    def restart() -> None:
        cluster.stop(immediate=immediate)
        back.append(threading.Timer(0.7, cluster.start, [{"fsync": "off"}]))
        back[0].start()

    watch = Once("", restart)
    assert pipeline.sync(observer=watch).inserted == 1
    back[0].join()
    assert watch.attempts == [2]
    assert history(own_world) == [("success", 2)]
    assert own_world.run("SELECT id, a, is_current FROM w.t") == [(1, "a", True)]


def test_a_commit_whose_server_restarts_is_resolved(own_world: Any) -> None:
    """If the server crashes while a run commits, the run waits for it and asks what has become."""
    pipeline = own_world.pipe(own_world.table(), mode="merge")
    own_world.fill((1, "a", 1))
    cluster, back, begun = own_world.cluster, [], []
    sa.event.listen(own_world.engine, "begin", begun.append)

    dialect = own_world.engine.dialect
    commit = dialect.do_commit

    def crash(connection: Any) -> None:
        """Let the commit arrive, and the server crash before its answer is read."""
        commit(connection)
        if len(begun) == 2:
            cluster.stop(immediate=True)
            back.append(threading.Timer(0.7, cluster.start, [{"fsync": "off"}]))
            back[0].start()
            connection.driver_connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    dialect.do_commit = crash
    watch = Once("never", lambda: None)
    assert pipeline.sync(observer=watch).inserted == 1
    back[0].join()
    assert watch.attempts == []
    assert history(own_world) == [("success", 1)]


def test_a_server_that_is_starting_is_waited_for(own_world: Any) -> None:
    """A run that begins while the server says that it is starting up waits until it has."""
    pipeline = own_world.pipe(own_world.table(), mode="merge")
    own_world.fill((1, "a", 1))
    refusals = iter(
        [
            "the database system is starting up",
            "the database system is shutting down",
            "sorry, too many clients already",
        ]
    )

    def refuse(*_: Any) -> None:
        for text in refusals:
            raise psycopg.OperationalError(f"connection failed: FATAL:  {text}")

    sa.event.listen(own_world.engine, "do_connect", refuse)
    assert pipeline.sync().inserted == 1
    assert next(refusals, None) is None
    assert history(own_world) == [("success", 1)]


def test_full_servers_are_waited_for(own_world: Any) -> None:
    """A run that finds no connection left waits for one to become free."""
    pipeline = own_world.pipe(own_world.table(), mode="merge")
    own_world.fill((1, "a", 1))
    url, taken = own_world.engine.url.render_as_string(hide_password=False), []
    with pytest.raises(psycopg.OperationalError, match="too many clients|slots are reserved"):
        taken.extend(iter(lambda: session(url), None))
    threading.Timer(0.5, lambda: [each.close() for each in taken]).start()
    assert pipeline.sync().inserted == 1


def test_a_server_that_does_not_answer_at_first_is_told_at_once(own_world: Any) -> None:
    """Nobody waits for a server that was never there: the address may be wrong."""
    pipeline = own_world.pipe(own_world.table(), mode="merge")
    own_world.cluster.stop(immediate=True)
    begun = time.monotonic()
    with pytest.raises(sa.exc.OperationalError, match="connection to server on socket"):
        pipeline.sync()
    assert time.monotonic() - begun < 5


def test_a_server_that_stays_away_is_told_after_a_while(
    own_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that has lost its server for good says so when its patience ends."""
    monkeypatch.setattr(contact, "PATIENCE", 0.5)
    monkeypatch.setattr(runner, "_RECORDING", 0.1)
    pipeline = own_world.pipe(own_world.table(), mode="merge")
    own_world.fill((1, "a", 1))
    watch = Once("", lambda: own_world.cluster.stop(immediate=True))
    with pytest.raises(sa.exc.OperationalError, match="connection to server on socket") as caught:
        pipeline.sync(observer=watch)
    assert any("could not be recorded" in note for note in caught.value.__notes__)
    own_world.cluster.start({"fsync": "off"})
    assert history(own_world) == [("running", 1)]
    own_world.run("UPDATE pgflow.runs SET started_at = started_at - interval '11 seconds'")
    assert pipeline.sync().inserted == 1
    assert history(own_world) == [("abandoned", 1), ("success", 1)]
