"""How many connections pipelines take out of which pools, so that none waits for another's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import AssertionPool, Pool, QueuePool, SingletonThreadPool, StaticPool

from pgflow.connections.registry import engine
from pgflow.errors import PgflowError
from pgflow.factories.pipeline import Pipeline
from pgflow.project.reading import reading


@dataclass(frozen=True)
class Demand:
    """The connections that a run of a pipeline takes at the same time, at most.

    Attributes:
        pools: How many out of each pool.
        elsewhere: Whether it may take one more, out of a pool that is not known before.
    """

    pools: Counter[Pool]
    elsewhere: bool


def demand(pipeline: Pipeline) -> Demand:
    """Say what a pipeline takes: one connection to each target's database, and one to the source's.

    Args:
        pipeline: The pipeline. Connections that are not known are left to its run, which says so.
    """
    ends = {pool for t in pipeline.sync_targets for pool in _pools(t.target_engine)}
    found = reading(pipeline)
    sources = {pool for named in found.connections for pool in _pools(engine, named)}
    pools = Counter(ends)
    for pool in sources:
        if ends != {pool}:  # else the run reads on the target's own connection
            pools[pool] += 1
    return Demand(pools, not found.known)


class Places:
    """The connections that are left for the runs of a batch.

    Args:
        demands: What all of its pipelines take.
    """

    def __init__(self, demands: Iterable[Demand]) -> None:
        pools = {pool for each in demands for pool in each.pools}
        self._free = {pool: capacity(pool) for pool in pools}

    def take(self, wanted: Demand) -> bool:
        """Take all that a run wants at most, or nothing if that is not there."""
        needed = _needed(wanted, self._free)
        if any(self._free[pool] < count for pool, count in needed.items()):
            return False
        for pool, count in needed.items():
            self._free[pool] -= count
        return True

    def give_back(self, wanted: Demand) -> None:
        """Give back what was taken."""
        for pool, count in _needed(wanted, self._free).items():
            self._free[pool] += count


def stay_in_thread(demands: Iterable[Demand]) -> bool:
    """Whether runs have to stay in the caller's thread, as each thread has connections of its own.

    Args:
        demands: What the runs take. SQLite in memory is such: another thread finds it empty.
    """
    return any(isinstance(pool, SingletonThreadPool) for each in demands for pool in each.pools)


def capacity(pool: Pool) -> float:
    """Say how many connections a pool gives out before it lets somebody wait.

    Args:
        pool: Any pool of SQLAlchemy's.
    """
    if isinstance(pool, QueuePool):
        # SQLAlchemy tells how many there are above the pool's size, but not how many there may be.
        overflow = pool._max_overflow
        unlimited = overflow < 0 or pool.size() == 0
        return math.inf if unlimited else pool.size() + overflow - pool.checkedout()
    return 1 if isinstance(pool, (StaticPool, AssertionPool)) else math.inf


def _needed(wanted: Demand, known: Iterable[Pool]) -> Counter[Pool]:
    if not wanted.elsewhere:
        return wanted.pools
    return Counter({pool: wanted.pools[pool] + 1 for pool in known})


def _pools(find: Any, *named: Any) -> list[Pool]:
    try:
        found: Engine = find(*named)
    except (PgflowError, SQLAlchemyError, ImportError, OSError):
        return []
    return [found.pool]
