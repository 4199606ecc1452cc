"""Syncs under fire: the short form; `make soak` runs the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries
from pgflow.connections.cluster import Cluster
from tests.faults.campaign import Campaign, Order
from tests.faults.targets import CASES


@pytest.fixture
def own_cluster(server_directory: Path, binaries: Binaries) -> Cluster:
    """A server that may be crashed."""
    made = Cluster(server_directory / "faults", binaries, server_account())
    made.create(durable=False)
    return made


def test_targets_survive_everything(own_cluster: Cluster, tmp_path: Path) -> None:
    """Whatever dies and whenever, every target ends up as its source, each row once.

    Six writers write to the sources; processes that sync are killed, interrupted, lose their
    server process, and the server itself. Nobody ever sees half of a run, and the history tells
    exactly what is there.
    """
    seed = int(os.environ.get("PGFLOW_TEST_SEED") or int.from_bytes(os.urandom(4), "big"))
    order = Order(seed, kills=24, terminations=6, interrupts=3, restarts=2)
    outcome = Campaign(order, own_cluster, tmp_path).run()
    again = f"PGFLOW_TEST_SEED={seed} makes the same choices; what they meet is up to chance"
    assert not outcome.problems, "\n".join([*outcome.problems, again, str(outcome)])
    # Faults that meet nobody prove nothing.
    assert outcome.statuses["runs success"] > 2 * len(CASES) + 5, str(outcome)
    assert outcome.statuses["runs abandoned"] > 10, str(outcome)
    assert outcome.happened["commits of writers"] > 200, str(outcome)
    assert outcome.happened["looks at all targets"] > 20, str(outcome)
