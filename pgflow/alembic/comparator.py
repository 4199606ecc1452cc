"""What `alembic revision --autogenerate` and `alembic check` call: both worlds into operations."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.util import CommandError, PriorityDispatchResult
from sqlalchemy import MetaData

from pgflow.alembic import filters, operations, planning, worlds
from pgflow.alembic.settings import current_settings
from pgflow.alembic.templates import filled
from pgflow.errors import MixedMetadata, PgflowError
from pgflow.resolve.requirements import check_server

_INFO_KEY = "pgflow_configured"
_VERSION_TABLE = "alembic_version"

# Every error of pgflow that Alembic has seen, as one of Alembic's too.
_COMMAND_ERRORS: dict[type[PgflowError], type[PgflowError]] = {}


def note_configured(metadata: MetaData) -> None:
    """Note that a MetaData went through `configure_metadata`, so that pgflow compares it."""
    metadata.info[_INFO_KEY] = True


def is_configured(metadata: MetaData) -> bool:
    """Tell whether a MetaData went through `configure_metadata`."""
    return metadata.info.get(_INFO_KEY) is True


def compare_with_database(
    context: AutogenContext, upgrade_ops: UpgradeOps
) -> PriorityDispatchResult:
    """Compare, and refuse as Alembic does: its command line shows a line and no traceback.

    Args:
        context: Alembic's autogenerate, with connection and MetaData.
        upgrade_ops: Where the operations go.

    Returns:
        What `compare` returns.

    Raises:
        PgflowError: What `compare` raises, which is a `CommandError` of Alembic's as well.
    """
    try:
        return compare(context, upgrade_ops)
    except PgflowError as error:
        _make_command_error(error)
        raise


def _make_command_error(error: PgflowError) -> None:
    kind = type(error)
    if kind not in _COMMAND_ERRORS:
        both = (kind, CommandError)
        _COMMAND_ERRORS[kind] = type(kind.__name__, both, {"__module__": kind.__module__})
    error.__class__ = _COMMAND_ERRORS[kind]


def compare(context: AutogenContext, upgrade_ops: UpgradeOps) -> PriorityDispatchResult:
    """Put the operations that make a database as declared onto a migration.

    Args:
        context: Alembic's autogenerate, with connection and MetaData.
        upgrade_ops: Where the operations go.

    Returns:
        STOP, so that no other comparison runs; CONTINUE where the MetaData is not pgflow's.

    Raises:
        MixedMetadata: Only some of several MetaData are pgflow's.
    """
    metadata = _metadata(context)
    configured = [each for each in metadata if is_configured(each)]
    if not configured or context.dialect.name != "postgresql" or context.connection is None:
        return PriorityDispatchResult.CONTINUE
    if len(configured) < len(metadata):
        raise MixedMetadata(
            f"{len(metadata) - len(configured)} of the {len(metadata)} MetaData in "
            "target_metadata did not go through configure_metadata(), and would be compared "
            "wrongly. Call configure_metadata() in env.py for each of them, or for none."
        )
    version: Any = context.dialect.server_version_info
    for each in configured:
        check_server(each, version)
    settings = current_settings()
    owner = history_owner(context)
    found = worlds.compare(context.connection, configured, owner=owner, shadow=settings.shadow)
    live, declared = filters.filtered(context, filled(found.live, settings), found.declared)
    # Where env.py began the transaction itself, Alembic cannot leave it for single statements.
    outer = context.migration_context._in_external_transaction
    big_bytes = sys.maxsize if outer else settings.big_table_bytes
    migration = planning.migration(
        live, declared, owner=owner, big_bytes=big_bytes, adopt=settings.adopt
    )
    upgrade_ops.ops.extend(operations.operations(migration, settings))
    return PriorityDispatchResult.STOP


def history_owner(context: AutogenContext) -> str:
    """Name the migration history: what is configured, else Alembic's version table.

    Args:
        context: Alembic's autogenerate.

    Returns:
        "" for Alembic's usual version table.
    """
    settings = current_settings()
    if settings.owner is not None:
        return settings.owner
    migrations = context.migration_context
    schema = migrations.version_table_schema
    if schema is not None:
        return f"{schema}.{migrations.version_table}"
    return "" if migrations.version_table == _VERSION_TABLE else migrations.version_table


def _metadata(context: AutogenContext) -> Sequence[MetaData]:
    given = context.metadata
    if given is None:
        return ()
    return (given,) if isinstance(given, MetaData) else tuple(given)
