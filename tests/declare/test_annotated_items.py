"""Defaults, comments and checks that stand beside a column's type, down to the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, MetaData

import pgflow
from pgflow import check, comment, pk, server_default
from pgflow.errors import (
    InvalidColumn,
    InvalidExpression,
    InvalidItem,
    UncalledMarker,
    UnknownColumn,
)
from pgflow.types import BigInt, Numeric, Text, TimestampTZ
from tests.migrations.alembic_project import AlembicProject

ODD = "50% of :name, it's \\ $$ {braces} \N{SNOWMAN}"


def declare(
    metadata: MetaData, *, least: str = "0", note: str = ODD, new: str = "'50% :new'"
) -> Any:
    @pgflow.table(schema="app", metadata=metadata)
    class Account:
        account_id: Annotated[BigInt, pk(autoincrement=True)]
        balance: Annotated[
            Numeric[12, 2],
            server_default("0"),
            comment(note),
            check(f"{{balance}} >= {least}"),
            check("{balance} < 1000000", name="Not: 100% too much"),
        ]
        state: Annotated[Text, server_default(new), pgflow.Check("{state} <> ''")]
        made: Annotated[TimestampTZ | None, server_default("now()")]

    return Account


def test_migrations_see_them(engine: Engine, tmp_path: Path) -> None:
    """Autogenerate writes them, sees nothing more to do, and sees each one that changes."""
    project = AlembicProject(tmp_path / "project", engine)
    metadata, other = MetaData(), MetaData()
    declare(metadata)
    declare(other, least="-10", note="otherwise", new="'new'")
    project.revision(metadata)
    project.upgrade()
    assert project.discards(metadata) == ""
    query = "INSERT INTO app.account DEFAULT VALUES RETURNING balance, state, made IS NOT NULL"
    with engine.begin() as connection:
        assert tuple(connection.exec_driver_sql(query).one()) == (0, "50% :new", True)
        said = "SELECT col_description('app.account'::regclass, 2)"
        assert connection.exec_driver_sql(said).scalar() == ODD
    for wrong in ("balance = -1", "balance = 1000000", "state = ''"):
        with engine.begin() as connection, pytest.raises(sa.exc.IntegrityError, match="account"):
            connection.exec_driver_sql(f"UPDATE app.account SET {wrong}")
    (changed,) = project.revision(other)
    for part in ("-10", "otherwise", "'new'"):
        assert part in changed.upgrade
    project.upgrade()
    assert project.discards(other) == ""
    project.downgrade()


def test_unique_keys_reach_the_database_and_migrations_see_them(
    engine: Engine, tmp_path: Path
) -> None:
    """Each natural key and each unique constraint is one of the server's; leaving one out, too."""
    project = AlembicProject(tmp_path / "project", engine)

    def declared(*, with_legacy: bool) -> MetaData:
        metadata = MetaData()
        legacy = (pgflow.natural_key("legacy"),) if with_legacy else (comment("was a key"),)

        @pgflow.table(schema="app", metadata=metadata)
        class Place:
            place_id: Annotated[BigInt, pk(autoincrement=True)]
            country: Annotated[Text, pgflow.natural_key()]
            code: Annotated[Text, pgflow.natural_key()]
            legacy: Annotated[Text, legacy[0]]
            __unique_constraints__ = (("code", "legacy"),)

        return metadata

    project.revision(declared(with_legacy=True))
    project.upgrade()
    query = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'app.place'::regclass AND contype = 'u' ORDER BY 1"
    )
    with engine.connect() as connection:
        found = list(connection.exec_driver_sql(query).scalars())
    assert found == ["UNIQUE (code, legacy)", "UNIQUE (country, code)", "UNIQUE (legacy)"]
    assert project.discards(declared(with_legacy=True)) == ""
    (changed,) = project.revision(declared(with_legacy=False))
    assert "place_legacy_key" in changed.upgrade
    project.upgrade()
    with engine.connect() as connection:
        found = list(connection.exec_driver_sql(query).scalars())
    assert found == ["UNIQUE (code, legacy)", "UNIQUE (country, code)"]


def test_a_table_and_its_subclasses_have_the_checks() -> None:
    """The checks of a base class hold in each of its tables, by names of their own."""

    class Base:
        amount: Annotated[Numeric[12, 2], check("{amount} > 0")]

    @pgflow.table(schema="app", metadata=MetaData())
    class Order(Base):
        order_id: Annotated[BigInt, pk()]

    names = {c.name for c in Order.__table__.constraints}  # type: ignore[attr-defined]  # set by the decorator
    assert "order_amount_check" in names


@pytest.mark.parametrize(
    ("annotation", "error", "sentence"),
    [
        (Annotated[Text, check], UncalledMarker, r"write check\('\{column\} > 0'\)"),
        (Annotated[Text, comment], UncalledMarker, r"write comment\('text'\)"),
        (Annotated[Text, server_default], UncalledMarker, r"write server_default\('sql'\)"),
        (Annotated[Text, pgflow.Check], UncalledMarker, r"write Check\(\.\.\.\)"),
        (Annotated[Text, pgflow.Unique("a")], InvalidColumn, r"T\.a: Unique\('a'\) stands beside"),
        (Annotated[Text, pgflow.Index(None, "a")], InvalidColumn, "__table_items__"),
        (Annotated[Text, check("{b} > 0")], UnknownColumn, "'b'"),
        (
            Annotated[Text, server_default("'a'"), server_default("'b'")],
            InvalidColumn,
            "T.a has 2 defaults of the server",
        ),
        (
            Annotated[BigInt, pk(autoincrement=True), server_default("1")],
            InvalidColumn,
            "2 defaults of the server.*Identity",
        ),
    ],
)
def test_what_would_be_lost_is_refused(
    annotation: Any, error: type[Exception], sentence: str
) -> None:
    """A marker that is not called, an item of the table, a second default: none is passed over."""
    cls = type("T", (), {"__annotations__": {"a": annotation}, "__module__": __name__})
    with pytest.raises(error, match=sentence):
        pgflow.table(schema="app", metadata=MetaData())(cls)


@pytest.mark.parametrize("given", ["", " ", 0, None, False])
def test_a_default_is_sql(given: Any) -> None:
    """server_default(0) could be a value or an expression, and is refused."""
    with pytest.raises(InvalidColumn, match="give an SQL expression as text"):
        server_default(given)


@pytest.mark.parametrize("given", ["", 0, None, "a\0b"])
def test_a_comment_is_text(given: Any) -> None:
    """comment('') would say nothing."""
    with pytest.raises(InvalidColumn, match="give a text"):
        comment(given)


def test_a_check_is_sql_with_markers() -> None:
    """check() refuses what Check() refuses."""
    with pytest.raises(InvalidItem):
        check("")
    with pytest.raises(InvalidExpression):
        check("{a > 0")


def test_what_other_libraries_annotate_is_passed_over() -> None:
    """PEP 593: a column may carry what pgflow does not know."""

    @pgflow.table(schema="app", metadata=MetaData())
    class T:
        a: Annotated[BigInt, "a note", 3, pk(), object()]

    assert T.__table__.primary_key.columns.keys() == ["a"]  # type: ignore[attr-defined]  # as above
