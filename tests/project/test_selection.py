"""Words that choose pipelines: around others, by tag, by what the history says; and left out."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine

import pgflow
from pgflow.declare.sources import SourceTable
from pgflow.declare.targets import Target
from pgflow.errors import (
    HistoryOutOfReach,
    MissingTable,
    PipelineCycle,
    TargetsFailed,
    UnknownPipeline,
)
from pgflow.project import Project
from pgflow.project.repeats import narrowed, repeats
from pgflow.project.standings import failed_last, standings
from pgflow.run.locks import run_lock

if TYPE_CHECKING:
    from tests.project.conftest import World


def shop_in(world: World) -> World:
    """raw -> orders -> report, raw -> stock, and one that has nothing to do with them."""
    world.pipe("report", SourceTable("w.orders"), tags=("daily", "boss"))
    world.pipe("orders", SourceTable("w.raw"), tags=("daily",))
    world.pipe("stock", SourceTable("w.raw"))
    world.pipe("raw")
    world.pipe("alone")
    return world


@pytest.fixture
def shop(world: World) -> World:
    """These pipelines, with a database."""
    return shop_in(world)


@pytest.fixture
def catalogue(paper: World) -> World:
    """These pipelines, without one."""
    return shop_in(paper)


def select(world: World, *words: str, exclude: tuple[str, ...] = ()) -> list[str]:
    """The names that words choose, in order."""
    found = Project(world.pipelines, {}).select(words, exclude)
    return [pipeline.name for pipeline in found]


@pytest.mark.parametrize(
    ("words", "exclude", "names"),
    [
        (["orders"], [], "orders"),
        (["+orders"], [], "raw orders"),
        (["orders+"], [], "orders report"),
        (["+orders+"], [], "raw orders report"),
        (["+report"], [], "raw orders report"),
        (["raw+"], [], "raw orders report stock"),
        (["+tag:boss"], [], "raw orders report"),
        (["+w.st*"], [], "raw stock"),
        (["alone", "report", "orders"], [], "alone orders report"),
        (["tag:daily", "alone", "report"], [], "orders report alone"),
        (["raw+"], ["tag:daily"], "raw stock"),
        (["+report"], ["+orders"], "report"),
        (["*"], ["raw+"], "alone"),
        (["alone"], ["alone"], ""),
    ],
)
def test_words_choose_what_is_meant(
    catalogue: World, words: list[str], exclude: list[str], names: str
) -> None:
    """Each word adds pipelines; the result is in an order that works, each pipeline once."""
    assert select(catalogue, *words, exclude=tuple(exclude)) == names.split()


def test_a_name_wins_over_what_its_signs_mean(paper: World) -> None:
    """A pipeline may be called like a pattern, and is still found by its name."""
    target = paper.table("t")
    for name in ("a", "+a", "a+", "tag:a", "[a]"):
        paper.pipe(name, target=target)
    for name in paper.pipelines:
        assert select(paper, name) == [name]
    assert select(paper, "++a") == ["+a"]


@pytest.mark.parametrize(
    ("word", "nearest", "message"),
    [
        ("+ordrs", "orders", "there is no pipeline 'ordrs'. Did you mean 'orders'? The project"),
        ("tag:dayly", "daily", "no pipeline has the tag 'dayly'. Did you mean 'daily'? The tags are"
                               ": boss, daily."),
        ("state:fail", "failed", "there is no state 'fail'. Did you mean 'failed'? The states are"
                                  ": failed, never."),
        ("+", None, "there is no pipeline ''. The project has: "),
        ("w.nothing*", None, "there is no pipeline 'w.nothing*'."),
    ],
)  # fmt: skip
def test_a_word_that_fits_nothing_is_refused(
    catalogue: World, word: str, nearest: str | None, message: str
) -> None:
    """A typing error never makes a run do less than was meant, nor more."""
    for words, exclude in (((word,), ()), (("raw",), (word,))):
        with pytest.raises(UnknownPipeline) as caught:
            select(catalogue, *words, exclude=exclude)
        assert caught.value.nearest == nearest
        assert str(caught.value).startswith(message)


def test_a_circle_can_be_chosen_one_by_one(paper: World) -> None:
    """What depends on each other is named when both are chosen."""
    paper.pipe("a", SourceTable("w.b"))
    paper.pipe("b", SourceTable("w.a"))
    assert select(paper, "a") == ["a"]
    with pytest.raises(PipelineCycle):
        select(paper, "+a")


# -- by the history -------------------------------------------------------------------


def note(world: World, pipeline: str, target: str, status: str, **more: Any) -> uuid.UUID:
    """Write a run into the history, `ago` as an interval before now; returns its id."""
    run_id = uuid.uuid4()
    values = {
        "run_id": f"'{run_id}'",
        "pipeline": f"'{pipeline}'",
        "target": f"'w.{target}'",
        "mode": "'merge'",
        "status": f"'{status}'",
        "started_at": f"now() - interval '{more.pop('ago', '1 hour')}'",
        "parameters": "'{}'",
    } | {name: f"'{value}'" for name, value in more.items()}
    world.run(
        f"INSERT INTO pgflow.runs ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    )
    return run_id


def test_the_latest_run_of_each_target_decides(shop: World) -> None:
    """A failure that was made up for is none; one target of several is enough."""
    shop.pipe("fan", targets=[Target(shop.table("x")), Target(shop.table("y"))])
    shop.create()
    note(shop, "raw", "raw", "failed", ago="2 hours")
    note(shop, "raw", "raw", "success")
    note(shop, "orders", "orders", "success", ago="2 hours")
    note(shop, "orders", "orders", "failed")
    note(shop, "stock", "stock", "abandoned")
    note(shop, "fan", "x", "success")
    assert select(shop, "state:failed") == ["orders", "stock"]
    assert select(shop, "state:never") == ["report", "alone", "fan"]
    assert select(shop, "state:failed+") == ["orders", "report", "stock"]
    note(shop, "fan", "y", "failed")
    note(shop, "gone", "raw", "failed", ago="0 hours")
    note(shop, "raw", "other", "failed", ago="0 hours")
    assert select(shop, "state:failed", exclude=("stock",)) == ["orders", "fan"]
    assert select(shop, "state:never") == ["report", "alone"]


def test_each_scope_of_a_target_stands_for_itself(shop: World) -> None:
    """One tenant's success does not make up for another one's failure."""
    shop.create()
    note(shop, "raw", "raw", "failed", scope="tenant = 7", ago="2 hours")
    note(shop, "raw", "raw", "success", scope="tenant = 8")
    assert select(shop, "state:failed") == ["raw"]
    note(shop, "raw", "raw", "success", scope="tenant = 7", ago="0 hours")
    assert select(shop, "state:failed") == []


def test_a_run_whose_process_is_gone_has_failed(shop: World) -> None:
    """The history need not have learnt of it yet; a run that lives is left alone."""
    shop.create()
    note(shop, "raw", "raw", "running")
    alive = note(shop, "stock", "stock", "running")
    note(shop, "orders", "orders", "running", ago="1 second")
    with shop.engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({run_lock(alive)})")
        assert select(shop, "state:failed") == ["raw"]
    (found,) = failed_last(standings([shop.pipelines["raw"]])["raw"])
    assert (found.status, found.error) == ("abandoned", "the process ended before the run did")
    assert shop.run("SELECT DISTINCT status FROM pgflow.runs") == [("running",)]


def test_targets_of_one_name_in_two_databases_are_two(world: World, make_database: Any) -> None:
    """One that succeeded does not make up for the other; only the one that failed runs again."""
    far = create_engine(make_database())
    with far.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA w")
    table = world.table("t")
    both = world.pipe("both", targets=[Target(table, target_connection=far), Target(table)])
    world.create()
    pgflow.create_all(world.metadata, connection=far)
    world.run("ALTER TABLE w.t ADD CONSTRAINT shut CHECK (id > 9)")
    with pytest.raises(TargetsFailed):
        both.sync()
    known = standings([both])
    assert select(world, "state:failed") == ["both"]
    (repeat,) = repeats([both], known).wanted
    assert (repeat.places, repeat.targets, repeat.chosen().targets) == ((1,), ("w.t",), (1,))
    world.run("ALTER TABLE w.t DROP CONSTRAINT shut")
    assert [t.inserted for t in narrowed(both, (1,)).sync().targets] == [1]
    assert select(world, "state:failed") == []
    far.dispose()


def test_a_run_that_was_needless_has_not_failed(shop: World) -> None:
    """Of two runs of one firing the later one withdraws; the history calls that abandoned."""
    shop.create()
    firings = {name: f'{{"firing": "2024-01-01T0{name}:00:00+00:00"}}' for name in (1, 2)}
    note(shop, "raw", "raw", "success", details=firings[1], ago="2 hours")
    note(shop, "raw", "raw", "abandoned", details=firings[1])
    note(shop, "stock", "stock", "success", details=firings[1], ago="2 hours")
    note(shop, "stock", "stock", "abandoned", details=firings[2])
    assert select(shop, "state:failed") == ["stock"]
    shop.run("ALTER TABLE pgflow.runs DROP COLUMN details")  # as in an older layout
    assert select(shop, "state:failed") == ["raw", "stock"]


def test_every_database_of_a_project_is_asked(world: World, make_database: Any) -> None:
    """The history of a target is beside the target."""
    far = create_engine(make_database())
    world.pipe("here")
    there = world.pipe("there", connection=far)
    world.create()
    with pytest.raises(MissingTable, match=r"no table pgflow\.runs \(.*\), so nobody knows what"):
        select(world, "state:failed")
    with far.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA w")
    pgflow.create_all(there.target_table.metadata, connection=far)
    note(world, "here", "here", "success")
    note(world, "there", "there", "success")  # in a database where it does not count
    assert select(world, "state:never") == ["there"]
    far.dispose()


def test_a_history_that_is_out_of_reach_can_be_left_out(world: World) -> None:
    """Nothing is guessed of pipelines whose database is down; without them the rest is known."""
    world.pipe("here")
    world.create()
    world.pipe("my crm", connection="postgresql://me:hush@127.0.0.1:1/x?connect_timeout=2")
    with pytest.raises(HistoryOutOfReach) as error:
        select(world, "state:never")
    assert "how 'my crm' has run is not known, because the database cannot" in str(error.value)
    assert str(error.value).endswith("Leave out what is not known: --exclude 'my crm'")
    assert "hush" not in str(error.value)
    assert error.value.pipelines == ("my crm",)
    assert select(world, "state:never", exclude=("my crm",)) == ["here"]
    assert select(world, "state:never", exclude=("state:failed", "my*")) == ["here"]
    with pytest.raises(HistoryOutOfReach):
        select(world, "state:never+", exclude=("my crm",))
