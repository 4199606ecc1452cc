"""From one state of a database to another, step by step, without a connection."""

from pgflow.alembic.planning.migration import migration

__all__ = ["migration"]
