"""The lines of env.py: what may be given, what they do, and that doing it again changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, Text, event

from pgflow import Config, Extension, Plugin, bookkeeping
from pgflow.alembic import configure, configure_metadata
from pgflow.alembic.settings import MigrationSettings, current_settings, read_migration_settings
from pgflow.errors import (
    MalformedMigrationSettings,
    MixedMetadata,
    NotAConfig,
    PostgresTooOld,
)
from pgflow.factory import ResourceFactory
from pgflow.resolve.plugin import MinPGVersion, requires
from tests.migrations.alembic_project import AlembicProject


def table(metadata: MetaData, name: str = "t", schema: str | None = "app") -> Table:
    return Table(name, metadata, Column("id", Integer, primary_key=True), schema=schema)


def differences(conn: Connection, metadata: object, **opts: object) -> list[Any]:
    """Ask Alembic's API for the differences."""
    context = MigrationContext.configure(conn, opts=opts)
    return list(compare_metadata(context, metadata))  # type: ignore[arg-type]


def test_the_database_is_compared_by_pgflow_alone(conn: Connection) -> None:
    """Of a configured MetaData, differences are pgflow's, in pairs that read well."""
    configure()
    metadata = MetaData()
    table(metadata)
    configure_metadata(metadata)
    found = differences(conn, metadata)
    assert ("create", "table app.t") in found
    assert all(isinstance(each, tuple) and len(each) == 2 for each in found)


def test_other_metadata_is_left_to_alembic(conn: Connection) -> None:
    """What did not go through configure_metadata is compared by Alembic as ever."""
    configure()
    metadata = MetaData()
    declared = table(metadata, schema=None)
    ((action, found),) = differences(conn, metadata)
    assert (action, found.name) == ("add_table", declared.name)


def test_configured_and_other_metadata_do_not_mix(conn: Connection) -> None:
    """With several MetaData either all are pgflow's, or none."""
    configure()
    ours, other = MetaData(), MetaData()
    table(ours), table(other, "u")
    configure_metadata(ours)
    with pytest.raises(MixedMetadata, match="1 of the 2"):
        differences(conn, [ours, other])


def test_several_metadata_are_one_declaration(conn: Connection) -> None:
    """A list of MetaData is compared as a whole; what all of them share counts once."""
    configure()
    one, two = MetaData(), MetaData()
    table(one), table(two, "u")
    configure_metadata([one, two])
    found = differences(conn, [one, two])
    assert {("create", "table app.t"), ("create", "table app.u")} <= set(found)
    assert len(found) == len(set(found))


def test_configuring_again_changes_nothing(conn: Connection) -> None:
    """Several env.py in one process register one comparator, and complete a MetaData once."""
    metadata = MetaData()
    table(metadata)
    for _ in range(3):
        configure()
        configure_metadata(metadata)
    found = differences(conn, metadata)
    assert len(found) == len(set(found))
    own = {table.name for table in bookkeeping.register(MetaData()).tables}
    assert sorted(t.name for t in metadata.tables.values()) == sorted({"t", *own})


def test_extensions_are_asked_once_for_each_configuration() -> None:
    """The alembic hook gets the configuration, the other hook each MetaData once."""
    seen: list[object] = []

    class Audit(Extension):
        def configure_metadata(self, metadata: MetaData) -> None:
            seen.append(metadata)

    config = Config(extensions=[Audit(name="audit", alembic=seen.append)])
    metadata = MetaData()
    configure(config)
    configure_metadata(metadata, config)
    configure_metadata(metadata, config)
    assert seen == [config, metadata]


def test_a_failing_hook_is_named() -> None:
    """An error of an extension's hook says whose it is."""

    def fail(config: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError) as caught:
        configure(Config(extensions=[Extension(name="audit", alembic=fail)]))
    assert caught.value.__notes__ == ["raised by the alembic hook of extension 'audit'"]


def test_bookkeeping_goes_where_the_configuration_says() -> None:
    """pgflow's own tables are part of the declaration, in the schema of the configuration."""
    metadata = MetaData()
    configure_metadata(metadata, Config(utility_schema="admin"))
    own = {table.name for table in bookkeeping.register(MetaData()).tables}
    assert set(metadata.tables) == {f"admin.{name}" for name in own}
    attached = MetaData()
    Config(utility_schema="other").attach(attached)
    configure_metadata(attached)
    assert set(attached.tables) == {f"other.{name}" for name in own}


def test_alembics_own_config_is_taken_for_none() -> None:
    """`configure(context.config)` is what people write first."""
    metadata = MetaData()
    configure(AlembicConfig())
    configure_metadata(metadata, AlembicConfig())
    assert "pgflow.runs" in metadata.tables


def test_anything_else_is_no_configuration() -> None:
    """What is given in the place of a configuration is shown."""
    with pytest.raises(NotAConfig, match=r"configure\(\) was given 'x'"):
        configure("x")  # type: ignore[arg-type]
    with pytest.raises(NotAConfig, match="configure_metadata"):
        configure_metadata(MetaData(), object())  # type: ignore[arg-type]


def test_a_server_that_is_too_old_for_a_plugin_is_refused(conn: Connection) -> None:
    """The plugin, its factory and the version are named before anything is compared."""

    @requires(MinPGVersion(99))
    class FuturePlugin(Plugin):
        def run(self, ctx: object) -> None:
            pass

    configure()
    metadata = MetaData()
    ResourceFactory("orders", "app", metadata, [], plugins=[FuturePlugin()])
    configure_metadata(metadata)
    with pytest.raises(PostgresTooOld, match=r"orders.*FuturePlugin needs 99"):
        differences(conn, metadata)


# --- settings -----------------------------------------------------------------------------


def test_settings_come_from_the_project_and_arguments_win(home: Path) -> None:
    """`[migrations]` of pgflow.toml is read; what configure() is given counts more."""
    Path("pgflow.toml").write_text(
        '[migrations]\nshadow = "empty"\nlock_timeout = "2s"\nbig_table_bytes = 10\n'
        '[migrations.tenants]\nschema = "tenant"\nnames = ["a"]\n'
    )
    configure(lock_timeout="9s", lock_retries=0)
    assert current_settings() == MigrationSettings(
        shadow="empty",
        lock_timeout="9s",
        lock_retries=0,
        big_table_bytes=10,
        tenants={"schema": "tenant", "names": ["a"]},
    )
    Path("pgflow.toml").unlink()
    configure()
    assert current_settings() == MigrationSettings()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('lock_timout = "5s"', "unknown key 'lock_timout'. Did you mean 'lock_timeout'?"),
        ("lock_timeout = 5", "a duration with its unit"),
        ('lock_timeout = "soon"', "a duration with its unit"),
        ("lock_retries = -1", "a whole number, 0 or more"),
        ("big_table_bytes = true", "a whole number, 0 or more"),
        ("owner = 3", "must be a text"),
        ("tenants = 3", "must be a table"),
    ],
)
def test_a_wrong_setting_is_named(home: Path, said: str, message: str) -> None:
    """Misspelt keys and impossible values are refused with file, key and a way out."""
    Path("pgflow.toml").write_text(f"[migrations]\n{said}\n")
    with pytest.raises(MalformedMigrationSettings) as caught:
        read_migration_settings()
    assert message in str(caught.value)
    assert "pgflow.toml" in str(caught.value)


def test_migrations_must_be_a_table(home: Path) -> None:
    """A value in the place of the table is refused."""
    Path("pgflow.toml").write_text("migrations = 3\n")
    with pytest.raises(MalformedMigrationSettings, match="is not a table"):
        read_migration_settings()


def test_a_wrong_argument_names_the_call() -> None:
    """An argument is checked as the file is."""
    with pytest.raises(
        MalformedMigrationSettings, match=r"configure\(\): 'lock_timeout' is '1 year'"
    ):
        configure(lock_timeout="1 year")


# --- hooks of env.py ----------------------------------------------------------------------


@pytest.fixture
def two_tables(tmp_path: Path, engine: Engine) -> MetaData:
    """A declaration of two tables that are in the database; their columns have since changed."""
    before = MetaData()
    table(before), table(before, "u")
    project = AlembicProject(tmp_path / "migrations", engine)
    project.revision(before)
    project.upgrade()
    after = MetaData()
    table(after).append_column(Column("a", Text))
    table(after, "u").append_column(Column("b", Text))
    configure_metadata(after)
    return after


def test_include_object_leaves_out_what_it_says(conn: Connection, two_tables: MetaData) -> None:
    """A table that the hook refuses is neither changed nor dropped, with all its parts."""
    seen: list[tuple[object, ...]] = []

    def include(item: object, name: str, kind: str, reflected: bool, other: object) -> bool:
        seen.append((getattr(item, "schema", None), name, kind, reflected))
        return not (kind == "table" and name == "u")

    assert differences(conn, two_tables, include_object=include) == [("create", "column app.t.a")]
    assert ("app", "t", "table", False) in seen


def test_include_object_sees_what_is_only_in_the_database(
    conn: Connection, two_tables: MetaData
) -> None:
    """A table that is declared no more is asked about as reflected, and stays if refused."""
    empty = MetaData()
    table(empty)
    configure_metadata(empty)

    def include(item: object, name: str, kind: str, reflected: bool, other: object) -> bool:
        return not (kind == "table" and reflected)

    assert ("drop", "table app.u") in differences(conn, empty)
    assert differences(conn, empty, include_object=include) == []


def test_include_name_leaves_out_schemas_and_columns(
    conn: Connection, two_tables: MetaData
) -> None:
    """The hook for names gets the type and the parents' names, as from Alembic."""
    seen: list[tuple[object, ...]] = []

    def include(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
        seen.append((name, kind, parents.get("schema_qualified_table_name")))
        return (name, kind) != ("app", "schema")

    assert differences(conn, two_tables, include_name=include) == []
    assert ("app", "schema", None) in seen


def test_the_version_table_is_never_mentioned(conn: Connection, two_tables: MetaData) -> None:
    """Alembic's own table is nobody's business, even if it is declared."""
    Table("alembic_version", two_tables, Column("x", Integer))
    found = differences(conn, two_tables)
    assert not [each for each in found if "alembic_version" in str(each)]


def test_histories_keep_to_what_is_theirs(tmp_path: Path, engine: Engine) -> None:
    """Two version tables in one database are two owners; neither drops what the other made."""
    shop, crm = MetaData(), MetaData()
    table(shop, "shop"), table(crm, "crm")
    for name, metadata in (("shop", shop), ("crm", crm)):
        project = AlembicProject(tmp_path / name, engine, owner=name)
        (tmp_path / name / "env.py").write_text(
            (tmp_path / name / "env.py")
            .read_text()
            .replace(
                "        target_metadata",
                f'        version_table="version_{name}",\n        target_metadata',
            )
        )
        Config(utility_schema=f"pgflow_{name}").attach(metadata)
        (written,) = project.revision(metadata)
        assert "DROP" not in written.upgrade
        project.upgrade()
        assert project.discards(metadata) == ""


def test_a_shadow_may_be_a_connections_name(
    conn: Connection, make_database: Callable[[], str], home: Path
) -> None:
    """`[migrations] shadow` takes a name of the connection registry, so no password is in it."""
    Path("pgflow.toml").write_text(
        f'[migrations]\nshadow = "empty"\n[connections.empty]\ndsn = "{make_database()}"\n'
    )
    configure()
    metadata = MetaData()
    table(metadata)
    configure_metadata(metadata)
    statements: list[str] = []
    event.listen(conn, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert ("create", "table app.t") in differences(conn, metadata)
    assert not [each for each in statements if each.lstrip().startswith("CREATE")]
