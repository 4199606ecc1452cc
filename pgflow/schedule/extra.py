"""Procrastinate, whose tables are the workers' queue: the one place that imports it."""

from __future__ import annotations

import logging

import psycopg
from psycopg_pool import PoolTimeout

from pgflow.errors import MissingWorkerExtra

try:
    from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
    from procrastinate.exceptions import ConnectorException
    from procrastinate.jobs import DeleteJobCondition, Job, Status
    from procrastinate.schema import SchemaManager
except ImportError as error:
    raise MissingWorkerExtra(
        "pgflow worker needs the package procrastinate. Install it with "
        "`pip install 'pgflow[worker]'`, or let cron call `pgflow run-due`, which does without."
    ) from error

__all__ = [
    "UNAVAILABLE",
    "App",
    "BaseRetryStrategy",
    "ConnectorException",
    "DeleteJobCondition",
    "Job",
    "JobContext",
    "PsycopgConnector",
    "RetryDecision",
    "SchemaManager",
    "Status",
]

#: What means that the queue's database cannot be asked at the moment.
UNAVAILABLE = (ConnectorException, psycopg.OperationalError, PoolTimeout)

# What a failed firing is, pgflow says itself, and once.
logging.getLogger("procrastinate").addHandler(logging.NullHandler())
