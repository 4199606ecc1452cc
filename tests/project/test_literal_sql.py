"""What functions return, read from their text: nothing is called, nothing is guessed."""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, table

import pgflow
from pgflow.declare.sources import Query, SourceTable
from pgflow.project.literal_files import Files
from pgflow.project.literal_rows import RowsFrom
from pgflow.project.literal_sql import Returned, returned

RAW = "SELECT * FROM raw"
PLACE = "raw"
ORDERS = Query("SELECT * FROM orders")
USERS = select(table("users"))


def refuse() -> Any:
    """What would be noticed if it were called."""
    raise AssertionError("called")


def one_line(conn): return "SELECT 1"  # fmt: skip


def in_pieces(conn: Any) -> str:
    """Docstrings are no result."""
    refuse()
    return (
        "SELECT * "
        "FROM raw"
    )  # fmt: skip


def at_the_margin(conn: Any) -> str:
    return """
SELECT *
FROM raw
"""


def added(conn: Any) -> str:
    return "SELECT * " + "FROM " + "raw"


def of_the_module(conn: Any) -> str:
    return RAW


def a_query(conn: Any) -> Query:
    return ORDERS


def a_select(conn: Any) -> Any:
    return USERS


def a_variable(conn: Any, *, day: str) -> str:
    sql: str = "SELECT :day"
    return sql


def either(conn: Any, *, big: bool) -> str:
    if big:
        return "SELECT 1"
    else:  # noqa: RET505  # the branch is what is tested
        return "SELECT 2"


def at_times(conn: Any, *, big: bool) -> str | None:
    if big:
        return "SELECT 1"
    return None


def makes_a_query(conn: Any, *, day: str) -> Query:
    return pgflow.Query("SELECT :day", {"day": day}, connection="crm")


def makes_a_table() -> SourceTable:
    return SourceTable("a.b", connection="crm")


def nothing() -> None:
    pass


def outer(text: str) -> Callable[..., str]:
    """A function whose text comes from around it, and one with returns of functions inside it."""

    def inner(conn: Any) -> str:
        def key(row: Any) -> str:
            return "no source"

        class Row:
            def __str__(self) -> str:
                return "no source"

        refuse()
        return text

    return inner


async def waits(conn: Any) -> str:
    return "SELECT 1"


LAMBDA = lambda conn: "SELECT 1"  # noqa: E731


@pytest.mark.parametrize(
    ("function", "sources"),
    [
        (one_line, ("SELECT 1",)),
        (in_pieces, ("SELECT * FROM raw",)),
        (at_the_margin, ("\nSELECT *\nFROM raw\n",)),
        (added, ("SELECT * FROM raw",)),
        (of_the_module, (RAW,)),
        (a_query, (ORDERS,)),
        (a_select, (USERS,)),
        (a_variable, ("SELECT :day",)),
        (either, ("SELECT 1", "SELECT 2")),
        (makes_a_query, (Query("SELECT :day", {"day": None}, connection="crm"),)),
        (makes_a_table, (SourceTable("a.b", connection="crm"),)),
        (outer("SELECT 7"), ("SELECT 7",)),
        (waits, ("SELECT 1",)),
        (LAMBDA, ("SELECT 1",)),
    ],
)
def test_what_stands_in_the_text_is_known(function: Any, sources: tuple[Any, ...]) -> None:
    """Literals, also joined or under a name, are known, and the function is not called."""
    assert returned(function) == Returned(sources, known=True, may_be_none=False)


def test_a_function_that_may_return_none_leaves_its_declared_source_in_force() -> None:
    """An explicit None and the end of a function count alike."""
    assert returned(at_times) == Returned(("SELECT 1",), known=True, may_be_none=True)
    assert returned(nothing) == Returned((), known=True, may_be_none=True)


def formatted(conn: Any) -> str:
    return f"SELECT * FROM {PLACE}"


def computed(conn: Any) -> str:
    return "SELECT * FROM %s" % PLACE  # noqa: UP031


def of_a_parameter(conn: Any, *, sql: str) -> str:
    return sql


def assigned_twice(conn: Any, *, big: bool) -> str:
    sql = "SELECT 1"
    if big:
        sql = "SELECT 2"
    return sql


def grows(conn: Any) -> str:
    sql = "SELECT 1"
    sql += " FROM raw"
    return sql


def caught(conn: Any) -> Any:
    sql = "SELECT 1"
    try:
        refuse()
    except AssertionError as sql:
        repr(sql)
    return sql


def walrus(conn: Any) -> str:
    sql = "SELECT 1"
    if sql := input():
        pass
    return sql


def does_it_itself(conn: Any) -> dict[str, int]:
    return {"read": 1}


def partly(conn: Any, *, big: bool) -> str:
    if big:
        return "SELECT 1"
    return f"SELECT {big}"


def rows(conn: Any) -> Any:
    yield {"id": 1}
    return "SELECT 1"


def fills_parameters(conn: Any, *, params: dict[str, Any]) -> Query:
    return Query("SELECT :day", params)


def repeated(function: Callable[..., str]) -> Callable[..., str]:
    """A decorator that changes what a function returns."""

    @functools.wraps(function)
    def wrapper(conn: Any) -> str:
        return function(conn) + ", other"

    return wrapper


@repeated
def decorated(conn: Any) -> str:
    return "SELECT * FROM raw"


class Caller:
    """Something to call that is no function."""

    def __call__(self, conn: Any) -> str:
        return "SELECT 1"


@pytest.mark.parametrize(
    "function",
    [
        formatted,
        computed,
        of_a_parameter,
        assigned_twice,
        grows,
        caught,
        walrus,
        does_it_itself,
        rows,
        fills_parameters,
        decorated,
        Caller(),
        functools.partial(of_the_module),
        eval("lambda conn: 'SELECT 1'"),
    ],
)
def test_what_is_computed_is_not_known(function: Any) -> None:
    """Where the text does not tell the whole result, nothing is guessed."""
    found = returned(function)
    assert not found.known
    assert found.sources == ()


def test_what_is_known_in_part_is_said_to_be_no_more() -> None:
    """One literal among several results is a source, and there may be others."""
    found = returned(partly)
    assert (found.sources, found.known) == (("SELECT 1",), False)


def test_two_lambdas_on_a_line_are_not_told_apart() -> None:
    """Which of them is meant would be a guess."""
    pair = (lambda conn: "SELECT 1", lambda conn: "SELECT 2")
    assert [returned(each).known for each in pair] == [False, False]


def test_a_file_that_was_edited_since_is_not_believed(tmp_path: Path) -> None:
    """The code that runs decides, not what the file says by now."""
    file = tmp_path / "edited.py"
    names: dict[str, Any] = {}
    for text in ("SELECT * FROM old", "SELECT * FROM new"):
        file.write_text(f'def body(conn):\n    return "{text}"\n')
        if not names:
            exec(compile(file.read_text(), str(file), "exec"), names)
            assert returned(names["body"]).sources == (text,)
    linecache.clearcache()
    assert returned(names["body"]) == Returned((), known=False, may_be_none=False)


FRUITS = [{"name": "apple"}]
DELIVERY = pgflow.CSV([Path("in") / "fruits.csv"])


def of_rows(conn: Any) -> list[dict[str, object]]:
    return [{"name": "apple", "since": date(2024, 1, 2), "price": -1.5}]


def rows_of_the_module(conn: Any) -> list[dict[str, str]]:
    return FRUITS


def of_a_file(conn: Any) -> Any:
    return pgflow.CSV("fruits.csv")


def of_several_files(conn: Any) -> Any:
    source = pgflow.JSONLines(path=["a.jsonl", "b/*.jsonl"])
    return source  # noqa: RET504  # the variable is what is looked at


def of_files_of_the_module(conn: Any) -> Any:
    return DELIVERY


def of_a_path_that_is_made(conn: Any, *, day: str = "") -> Any:
    if day:
        return pgflow.CSV(f"{day}.csv")
    return pgflow.CSV("today.csv")


def of_made_rows(conn: Any) -> list[Any]:
    return [dict(row) for row in conn.execute("SELECT 1")]


def of_a_list_that_calls(conn: Any) -> list[Any]:
    return [conn.scalar("SELECT 1")]


def of_a_list_that_grows(conn: Any) -> list[Any]:
    rows: list[Any] = []
    rows.append(conn.scalar("SELECT 1"))
    return rows


def of_a_generator(conn: Any) -> Any:
    yield {"name": "apple"}


@pytest.mark.parametrize(
    ("function", "files"),
    [
        (of_rows, Files()),
        (rows_of_the_module, Files()),
        (of_a_file, Files(("fruits.csv",))),
        (of_several_files, Files(("a.jsonl", "b/*.jsonl"))),
        (of_files_of_the_module, Files(("in/fruits.csv",))),
    ],
)
def test_rows_that_stand_there_are_read_from_no_table(
    function: Callable[..., Any], files: Files
) -> None:
    """Nothing is left to be known of rows of literals, and of files."""
    assert returned(function) == Returned((), True, False, RowsFrom.literals, files)


def test_a_path_that_a_function_makes_is_not_known() -> None:
    """That it reads files, and no table, is known, and what is written down."""
    told = returned(of_a_path_that_is_made)
    assert (told.known, told.files) == (True, Files(("today.csv",), computed=True))


@pytest.mark.parametrize(
    "function", [of_made_rows, of_a_list_that_calls, of_a_list_that_grows, of_a_generator]
)
def test_rows_that_are_made_may_be_of_any_table(function: Callable[..., Any]) -> None:
    """What makes rows may read whatever it likes; that it returns rows is known."""
    told = returned(function)
    assert (told.sources, told.known, told.rows) == ((), False, RowsFrom.code)
