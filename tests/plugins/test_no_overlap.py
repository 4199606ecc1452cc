"""The server refuses versions of one key that are valid at one instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

import pgflow
from pgflow.alembic import declare_sql
from pgflow.errors import (
    DeclarationRefused,
    InvalidOption,
    NoHistory,
    NotAmendable,
    PostgresTooOld,
)
from pgflow.plugins import ColumnPKPlugin, NoOverlapPlugin, SplitHistoryPlugin
from pgflow.testing import assert_scd2
from tests.migrations.alembic_project import AlembicProject

DAY = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 29)]
FORMS = ["exclude", "without_overlaps"]


def declared(
    metadata: sa.MetaData, *columns: Any, plugin: NoOverlapPlugin, **options: Any
) -> pgflow.SimpleTable:
    """A history `w.t` with a key of two columns, guarded by a plugin."""
    key = ColumnPKPlugin(sa.Column("tenant", sa.Text), sa.Column("id", sa.BigInteger))
    return pgflow.SimpleTable(
        "t",
        "w",
        metadata,
        [sa.Column("a", sa.Text), *columns],
        plugins=[key],
        mode="scd2",
        extra_plugins=[plugin],
        **options,
    )


def partitioned(metadata: sa.MetaData, **options: Any) -> None:
    """A guarded history in partitions that are not of its keys."""
    by = options.pop("postgresql_partition_by", None)
    options.setdefault("extra_plugins", [NoOverlapPlugin()])

    @pgflow.table(schema="w", metadata=metadata, mode="scd2", **options)
    class Parted:
        tenant: pgflow.types.BigInt
        id: pgflow.types.BigInt
        __table_args__ = {} if by is None else {"postgresql_partition_by": by}  # SQLAlchemy's


@pytest.fixture(params=FORMS)
def guarded(request: pytest.FixtureRequest, engine: Engine) -> Any:
    """A guarded table in the database, in each form that the server has."""
    metadata = sa.MetaData()
    plugin = NoOverlapPlugin(form=request.param)
    names = {"valid_from": "From", "valid_to": "to"}
    table = declared(metadata, plugin=plugin, system_columns=names)
    with engine.connect() as connection:
        version = (connection.dialect.server_version_info or (0,))[0]
    if request.param == "without_overlaps" and version < 18:
        with pytest.raises(PostgresTooOld, match="NoOverlapPlugin"):
            table.check_pg_version(version)
        pytest.skip("PostgreSQL 18 brought it")
    pgflow.create_all(metadata, connection=engine)
    return table


def run(engine: Engine, sql: str) -> list[Any]:
    """Execute SQL in a transaction of its own."""
    with engine.begin() as connection:
        result = connection.exec_driver_sql(sql)
        return [tuple(row) for row in result] if result.returns_rows else []


def test_the_server_refuses_overlaps(engine: Engine, guarded: Any) -> None:
    """Whoever writes: a version inside another one of its key is refused, beside it is not."""
    insert = "INSERT INTO w.t (tenant, id, a, \"From\", \"to\") VALUES ('x', {}, 'a', {})"
    run(engine, insert.format(1, "'2024-01-01+0', '2024-02-01+0'"))
    run(engine, insert.format(1, "'2024-02-01+0', '2024-03-01+0'"))
    run(engine, insert.format(2, "'2024-01-01+0', NULL"))
    with pytest.raises(IntegrityError, match="conflicting key value"):
        run(engine, insert.format(1, "'2024-01-15+0', '2024-01-16+0'"))
    with pytest.raises(IntegrityError, match="conflicting key value"):
        run(engine, insert.format(2, "'2025-01-01+0', '2025-02-01+0'"))


def test_syncs_keep_to_it(engine: Engine, guarded: Any) -> None:
    """Changes, corrections, deletes and returns are written past the constraint without a stop."""
    run(engine, "CREATE TABLE w.s (tenant text, id bigint, a text)")
    pipeline = pgflow.Pipeline(
        "p", target=guarded, source_table="w.s", connection=engine, handle_deletes="soft"
    )
    batches = ["ab", "Ab", "A", "AB", "aB"]
    for day, batch in enumerate(batches):
        run(engine, "TRUNCATE w.s")
        for n, value in enumerate(batch):
            run(engine, f"INSERT INTO w.s VALUES ('x', {n}, '{value}'), ('y', {n}, '{value}')")
        pipeline.sync(effective_at=DAY[day])
        again = pipeline.sync(effective_at=DAY[day])
        assert (again.inserted, again.closed) == (0, 0)
    run(engine, "UPDATE w.s SET a = 'corrected'")
    assert pipeline.sync(effective_at=DAY[len(batches) - 1]).updated == 2
    with engine.connect() as connection:
        assert_scd2(connection, guarded)
    assert run(engine, "SELECT count(*) FROM w.t") == [(12,)]


@pytest.mark.parametrize("form", FORMS)
def test_migrations_converge(form: Any, engine: Engine, tmp_path: Path) -> None:
    """The constraint comes by a migration with its extension, stays, goes, and comes back."""

    def metadata(*plugins: Any) -> sa.MetaData:
        made = sa.MetaData()
        key = ColumnPKPlugin(sa.Column("id", sa.BigInteger))
        extra = {"mode": "scd2", "extra_plugins": plugins}
        pgflow.SimpleTable("t", "w", made, [sa.Column("a", sa.Text)], plugins=[key], **extra)
        return made

    project = AlembicProject(tmp_path / "project", engine)
    project.revision(metadata())
    project.upgrade()
    try:
        (added,) = project.revision(metadata(NoOverlapPlugin(form=form)))
    except PostgresTooOld as error:
        assert engine.dialect.server_version_info < (18,)
        pytest.skip(str(error))
    assert "CREATE EXTENSION IF NOT EXISTS btree_gist" in added.upgrade
    project.upgrade()
    assert project.discards(metadata(NoOverlapPlugin(form=form))) == ""
    (removed,) = project.revision(metadata())
    assert "DROP CONSTRAINT" in removed.upgrade
    project.upgrade()
    guards = "SELECT count(*) FROM pg_constraint WHERE conexclop IS NOT NULL"
    assert run(engine, guards) == [(0,)]
    project.downgrade("-1")
    assert run(engine, guards) == [(1,)]


def test_two_tables_and_the_user_may_name_the_extension(engine: Engine) -> None:
    """The extension is made once, and where the user's own declaration says."""
    metadata = sa.MetaData()
    declare_sql(metadata, "CREATE SCHEMA ext; CREATE EXTENSION btree_gist SCHEMA ext")
    declared(metadata, plugin=NoOverlapPlugin())
    pgflow.SimpleTable(
        "u",
        "w",
        metadata,
        [sa.Column("a", sa.Text)],
        plugins=[ColumnPKPlugin(sa.Column("id", sa.Uuid))],
        mode="scd2",
        extra_plugins=[NoOverlapPlugin()],
    )
    pgflow.create_all(metadata, connection=engine)
    pgflow.create_all(metadata, connection=engine)
    assert run(
        engine,
        "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'btree_gist'",
    ) == [("ext",)]
    assert run(engine, "SELECT count(*) FROM pg_constraint WHERE contype = 'x'") == [(2,)]


def test_a_role_that_may_not_make_the_extension_is_told_who_may(
    engine: Engine, make_database: Callable[[], str]
) -> None:
    """Nothing is made, and extension and plugin are named; where it is there, all is well."""
    run(engine, "CREATE SCHEMA w; CREATE SCHEMA pgflow")
    role = f"e_{engine.url.database}"
    run(engine, f"CREATE ROLE {role}; GRANT CREATE, USAGE ON SCHEMA w, pgflow TO {role}")
    metadata, bare = sa.MetaData(), sa.MetaData()
    declared(metadata, plugin=NoOverlapPlugin())
    declared(bare, plugin=NoOverlapPlugin(extension=False))
    with pytest.raises(DeclarationRefused, match="(?s)btree_gist.*extension=True"):
        pgflow.create_all(bare, connection=engine)
    try:
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            with pytest.raises(DeclarationRefused, match="(?s)btree_gist.*NoOverlapPlugin"):
                pgflow.create_all(metadata, connection=connection)
        assert run(engine, "SELECT to_regclass('w.t')") == [(None,)]
        run(engine, "CREATE EXTENSION btree_gist")
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            pgflow.create_all(metadata, connection=connection)
        assert run(engine, "SELECT count(*) FROM pg_constraint WHERE contype = 'x'") == [(1,)]
    finally:
        run(engine, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_what_it_could_not_hold_is_refused() -> None:
    """Keys that may be NULL or have no GiST, tables without history, two forms, a taken name."""
    metadata = sa.MetaData()
    with pytest.raises(NotAmendable, match="merge key 'a'.*takes NULL"):
        declared(metadata, plugin=NoOverlapPlugin(), keys=("a",), on_null_key="match")
    json = sa.Column("j", sa.JSON().with_variant(sa.dialects.postgresql.JSONB(), "postgresql"))
    json.nullable = False
    with pytest.raises(NotAmendable, match="merge key 'j'.*no operator class for GiST"):
        declared(metadata, json, plugin=NoOverlapPlugin(), keys=("j",))
    with pytest.raises(InvalidOption, match="form='gist' is unknown"):
        NoOverlapPlugin(form="gist")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(NoHistory, match=r"NoOverlapPlugin of w\.m"):
        pgflow.SimpleTable(
            "m",
            "w",
            metadata,
            [sa.Column("a", sa.Text)],
            mode="merge",
            extra_plugins=[NoOverlapPlugin()],
        )
    for elsewhere in (
        {"postgresql_partition_by": "RANGE (valid_from)", "keys": ("tenant", "id")},
        {"extra_plugins": [SplitHistoryPlugin(), NoOverlapPlugin()], "keys": ("tenant", "id")},
    ):
        with pytest.raises(NotAmendable, match="versions of one key can be in several partitions"):
            partitioned(metadata, **elsewhere)
    taken = sa.Column("valid_during", sa.Text)
    with pytest.raises(NotAmendable, match="has a column 'valid_during' already"):
        declared(metadata, taken, plugin=NoOverlapPlugin(form="without_overlaps"))
    assert not metadata.tables
    table = declared(metadata, plugin=NoOverlapPlugin())
    with pytest.raises(NotAmendable, match="forbids overlaps by form='exclude' already"):
        pgflow.Pipeline(
            "p",
            target=table,
            source="SELECT 1",
            extra_plugins=[NoOverlapPlugin("target", form="without_overlaps")],
        )


def test_saying_it_twice_makes_one_constraint() -> None:
    """The plugin may stand on the table and on its pipelines."""
    metadata = sa.MetaData()
    table = declared(metadata, plugin=NoOverlapPlugin())
    for name in "ab":
        pgflow.Pipeline(
            name, target=table, source="SELECT 1", extra_plugins=[NoOverlapPlugin("target")]
        )
    exclusions = [
        c
        for c in table.table.constraints
        if isinstance(c, sa.dialects.postgresql.ExcludeConstraint)
    ]
    assert [c.name for c in exclusions] == ["t_tenant_id_validity_excl"]
