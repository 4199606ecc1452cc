"""The long form: `python -m tests.faults`, or `make soak`."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries, find_binaries
from pgflow.connections.cluster import Cluster
from tests.faults.campaign import Campaign, Order


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=400)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    given = parser.parse_args()
    order = Order(
        given.seed,
        kills=given.kills,
        terminations=given.kills // 4,
        interrupts=given.kills // 10,
        restarts=max(2, given.kills // 25),
    )
    place = Path(tempfile.mkdtemp(prefix="pgflow-"))
    place.chmod(0o711)
    named = os.environ.get("PGFLOW_TEST_PG_BIN")
    binaries = Binaries(Path(named), "PGFLOW_TEST_PG_BIN") if named else find_binaries()
    account = server_account()
    cluster = Cluster(place / "server", binaries.reachable_by(account, place / "binaries"), account)
    begun = time.monotonic()
    print(f"seed {given.seed}, PostgreSQL {binaries.major}", flush=True)  # noqa: T201
    try:
        cluster.create(durable=False)
        outcome = Campaign(order, cluster, place).run()
    finally:
        shutil.rmtree(place)
    for problem in outcome.problems:
        print(f"WRONG: {problem}")  # noqa: T201
    verdict = f"{len(outcome.problems)} problems" if outcome.problems else "nothing wrong"
    print(f"{verdict}; {outcome}; {time.monotonic() - begun:.0f} s")  # noqa: T201
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
