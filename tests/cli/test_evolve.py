"""`pgflow evolve`: from a source that has grown to rows in new columns, in a real project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from conftest import Invoke, Place

MODULE = '''
from typing import Annotated, Optional

import pgflow
from pgflow import pk
from pgflow.types import Integer, Numeric, Text
from sqlalchemy import MetaData

metadata = MetaData()


@pgflow.table(schema="warehouse", metadata=metadata)
class Customer:
    """A customer."""

    customer_id: Annotated[Integer, pk()]
    name: Text
    points: Integer | None  # ä
    balance: Optional[Numeric[8, 2]]

    __merge_keys__ = ("customer_id",)


@pgflow.pipeline(target=Customer, mode="merge", schema_mode="evolve")
def customers(conn):
    return "SELECT * FROM app.customers"


strict = pgflow.Pipeline("strict", target=Customer, source="SELECT * FROM app.customers",
                         mode="merge", tags=("strict",))
'''

BY_HAND = """
import pgflow
from sqlalchemy import BigInteger, Column
from pgflow.plugins import ColumnPKPlugin

plain = pgflow.SimpleTable("plain", "warehouse", metadata, [],
                           plugins=[ColumnPKPlugin(Column("customer_id", BigInteger))])
by_hand = pgflow.Pipeline("by_hand", target=plain, source="SELECT 1 AS customer_id, 'x'::text AS t",
                          mode="merge", schema_mode="evolve")
"""


class Project:
    """A project with Alembic's files; its modules are read anew by every command."""

    def __init__(self, directory: Path, invoke: Invoke) -> None:
        self.directory = directory
        self._invoke = invoke
        self._config = Config(str(directory / "alembic.ini"))

    @property
    def text(self) -> str:
        """The module of the project."""
        return (self.directory / "warehouse.py").read_text(encoding="utf-8")

    def alembic(self, name: str, *words: Any, **options: Any) -> None:
        """Run one of Alembic's commands; `check` raises if anything differs."""
        self._forget()
        getattr(command, name)(self._config, *words, **options)

    def pgflow(self, *words: str) -> Any:
        """Run the command line."""
        self._forget()
        return self._invoke(*words)

    def _forget(self) -> None:
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(self.directory)):
                del sys.modules[name]


@pytest.fixture
def project(place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of `pgflow init` with a pipeline that evolves, migrated."""
    place.execute("CREATE SCHEMA app")
    place.execute("CREATE TABLE app.customers"
                  " (customer_id int, name text, points int, balance numeric(8,2))")  # fmt: skip
    place.execute("INSERT INTO app.customers VALUES (1, 'one', 10, 1.50)")
    assert invoke("init", "project", "--url", place.database).code == 0
    directory = place.directory / "project"
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for each in (directory / "migrations" / "versions").glob("*.py"):
        each.unlink()
    (directory / "warehouse.py").write_text(MODULE, encoding="utf-8")
    made = Project(directory, invoke)
    made.alembic("revision", "first", autogenerate=True)
    made.alembic("upgrade", "head")
    return made


def test_a_source_that_has_grown_is_loaded(place: Place, project: Project) -> None:
    """The sync stops and names what is new; evolve and upgrade, and the columns are filled."""
    assert project.pgflow("sync", "customers").code == 0
    place.execute("ALTER TABLE app.customers ADD joined timestamptz, ADD note varchar(20),"
                  " ALTER points TYPE bigint, ALTER balance TYPE numeric(12,3)")  # fmt: skip
    place.execute("INSERT INTO app.customers VALUES (2, 'two', 5000000000, 2.125, now(), 'n')")
    refused = project.pgflow("sync", "customers")
    assert refused.code == 1
    assert (
        "'joined' (timestamp with time zone) is new; 'note' (character varying(20)) is new; "
        in (refused.err)
    )
    assert "'points' is bigint, the target has integer; 'balance' is numeric(12,3)" in refused.err
    assert "`pgflow evolve customers` writes" in refused.err
    assert place.execute("SELECT count(*) FROM warehouse.customer") == [(1,)]

    shown = project.pgflow("evolve", "customers", "--dry-run")
    assert shown.code == 0, shown.err
    assert project.text == MODULE
    done = project.pgflow("evolve", "customers")
    assert done.code == 0, done.err
    text = project.text
    assert "    points: BigInt | None  # ä\n    balance: Optional[Numeric[12,3]]\n" in text.replace(
        "[12, 3]", "[12,3]"
    )
    assert "    joined: TimestampTZ | None\n    note: String[20] | None\n" in text
    assert "from pgflow.types import BigInt, Integer, Numeric, String, Text, TimestampTZ\n" in text
    assert [line for line in shown.out.splitlines() if line.startswith("  ")] == [
        line for line in done.out.splitlines() if line.startswith("  ") and "alembic" not in line
    ]
    place.execute("ALTER TABLE app.customers ADD more text")
    behind = project.pgflow("evolve", "customers")
    assert (behind.code, "no columns 'joined', 'note'" in behind.err) == (1, True), behind.err
    place.execute("ALTER TABLE app.customers DROP more")
    project.alembic("upgrade", "head")
    project.alembic("check")
    synced = project.pgflow("sync", "customers")
    assert synced.code == 0, synced.err
    assert place.execute(
        "SELECT customer_id, points, balance::text, note, joined IS NOT NULL"
        " FROM warehouse.customer ORDER BY 1"
    ) == [(1, 10, "1.500", None, False), (2, 5000000000, "2.125", "n", True)]
    assert "has gained nothing" in project.pgflow("evolve", "customers").out
    project.alembic("revision", "empty")
    place.execute("ALTER TABLE app.customers ADD more text")
    behind = project.pgflow("evolve", "customers")
    assert (behind.code, "Run alembic upgrade head first" in behind.err) == (1, True), behind.err
    assert project.text == text


@pytest.fixture
def grown(place: Place) -> Place:
    """The same module without Alembic's files, its tables created, and a source with more."""
    place.write(MODULE + BY_HAND, head="")
    place.create()
    place.execute("CREATE SCHEMA app")
    place.execute("CREATE TABLE app.customers"
                  " (customer_id int, name text, points int, balance numeric(8,2), note text)"
                  )  # fmt: skip
    return place


def written(place: Place) -> str:
    return (place.directory / "pipelines.py").read_text(encoding="utf-8")


def test_who_has_not_asked_is_told(grown: Place, invoke: Invoke) -> None:
    """A pipeline without schema_mode="evolve" is not evolved; its own error names the column."""
    asked = invoke("evolve", "strict")
    assert (asked.code, "give it schema_mode='evolve'" in asked.err) == (1, True)
    assert "'note', which the target lacks" in invoke("sync", "strict").err


def test_names_that_cannot_stand_in_a_class(grown: Place, invoke: Invoke) -> None:
    """A column that is no attribute's name is refused, and the file is as it was."""
    grown.execute('ALTER TABLE app.customers ADD "Some Note" text')
    refused = invoke("evolve", "customers")
    assert refused.code == 1
    assert "'Some Note' cannot be the name of a class attribute" in refused.err
    assert "in the class: column_some_note = Column('Some Note', Text)." in refused.err
    assert written(grown) == MODULE + BY_HAND


def test_a_factory_s_columns_are_the_users_to_write(grown: Place, invoke: Invoke) -> None:
    """A table declared by a factory gets the lines shown, and nothing is written."""
    told = invoke("evolve", "by_hand")
    assert told.code == 1
    assert '  Column("t", Text)' in told.out
    assert written(grown) == MODULE + BY_HAND


def test_without_alembic_nothing_is_written(grown: Place, invoke: Invoke) -> None:
    """A project without Alembic's settings is told so, and its module is as it was."""
    assert invoke("evolve", "customers").code == 2
    assert written(grown) == MODULE + BY_HAND
