"""The two lines of env.py: pgflow into Alembic, and pgflow's own objects onto the MetaData."""

from __future__ import annotations

from collections.abc import Iterable

from alembic.config import Config as AlembicConfig
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority
from sqlalchemy import MetaData

from pgflow import bookkeeping
from pgflow.alembic import comparator, offline, rendering
from pgflow.alembic.schemas import register_schemas
from pgflow.alembic.settings import read_migration_settings, use
from pgflow.errors import DeclarationError, NotAConfig
from pgflow.resolve.config import Config

#: Alembic takes plugins of this family into every autogenerate, and runs them by priority.
PLUGIN = "alembic.autogenerate.pgflow"

_installed: list[Plugin] = []


def configure(
    config: Config | AlembicConfig | None = None,
    *,
    shadow: str | None = None,
    owner: str | None = None,
    adopt: bool | None = None,
    big_table_bytes: int | None = None,
    lock_timeout: str | None = None,
    lock_retries: int | None = None,
    online_lock_timeout: str | None = None,
    online_statement_timeout: str | None = None,
) -> None:
    """Let pgflow compare and write migrations; the first of its lines in env.py.

    Whatever is left out is taken from `[migrations]` of pgflow.toml, then from the defaults. A
    later call in the same process replaces what an earlier one said.

    Args:
        config: pgflow's configuration, whose extensions have their `alembic` hooks called with
            it. Alembic's own `context.config` is accepted and ignored.
        shadow: An empty database of the same major version to compare in; a connection's name or
            a URL. For roles that may not create schemas, and for standbys.
        owner: The name of this migration history in pgflow's marks; by default that of Alembic's
            version table, if it is not the usual one.
        adopt: Mark declared objects that no migration has made, so that a later one may drop
            them; for one migration, when pgflow is taken into use.
        big_table_bytes: From this size on, indexes and constraints are made without locking
            others out.
        lock_timeout: How long a statement waits for a lock, as "5s"; "0" for ever.
        lock_retries: How often `run_migrations` tries again when a lock was not granted.
        online_lock_timeout: The wait of statements that lock nobody out.
        online_statement_timeout: How long such a statement may take at all.

    Raises:
        MalformedMigrationSettings: pgflow.toml or an argument is wrong.
        NotAConfig: `config` is something else.
    """
    own = _own_config(config, "configure")
    use(
        read_migration_settings(
            {
                "shadow": shadow,
                "owner": owner,
                "adopt": adopt,
                "big_table_bytes": big_table_bytes,
                "lock_timeout": lock_timeout,
                "lock_retries": lock_retries,
                "online_lock_timeout": online_lock_timeout,
                "online_statement_timeout": online_statement_timeout,
            }
        )
    )
    _install()
    for extension in own.extensions if own is not None else ():
        if extension.alembic is not None:
            try:
                extension.alembic(own)
            except Exception as error:
                error.add_note(f"raised by the alembic hook of extension {extension.name!r}")
                raise


def _several(given: object) -> tuple[MetaData, ...]:
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    for each in found:
        if not isinstance(each, MetaData):
            raise DeclarationError(
                f"configure_metadata() takes a MetaData, such as pgflow.metadata, or several, not "
                f"{each!r}."
            )
    return found


def configure_metadata(
    metadata: MetaData | Iterable[MetaData], config: Config | AlembicConfig | None = None
) -> None:
    """Complete what env.py gives to Alembic as `target_metadata`; the second line in env.py.

    pgflow's own tables, the schemas of all objects, and what extensions need are put onto the
    MetaData. Calling it again changes nothing.

    Args:
        metadata: The MetaData, or several; all modules that declare on it are imported by now.
        config: pgflow's configuration; by default what is attached to the MetaData.

    Raises:
        NotAConfig: `config` is something else.
        DeclarationError: `metadata` is.
    """
    given = _own_config(config, "configure_metadata")
    for each in _several(metadata):
        own = Config.of(each) if given is None else given
        for schema in bookkeeping.wanted(each, own.utility_schema):
            moved_from = own.utility_schema_renamed_from if schema == own.utility_schema else None
            bookkeeping.register(each, schema, moved_from)
        if not comparator.is_configured(each):
            own.configure_metadata(each)
        register_schemas(each)
        comparator.note_configured(each)


def _own_config(config: object, caller: str) -> Config | None:
    if config is None or isinstance(config, AlembicConfig):
        return None
    if isinstance(config, Config):
        return config
    raise NotAConfig(
        f"{caller}() was given {config!r} as its configuration. Give it a pgflow.Config, or "
        "leave it out."
    )


def _install() -> None:
    """Register with Alembic, once in a process."""
    if _installed:
        return
    plugin = Plugin(PLUGIN)
    plugin.add_autogenerate_comparator(
        comparator.compare_with_database, "autogenerate", priority=DispatchPriority.FIRST
    )
    _installed.append(plugin)
    rendering.install()
    offline.install()
