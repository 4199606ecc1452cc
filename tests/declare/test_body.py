"""A pipeline's function is read by its signature."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pgflow.declare.body import Body, Parameter, bind_parameters
from pgflow.errors import InvalidBody, MissingParameter


def test_connections_come_first_and_parameters_after() -> None:
    """Up to two plain arguments are connections; the rest are run parameters with their types."""

    def both(src_conn, tgt_conn, *, day: date, limit: int = 5):  # type: ignore[no-untyped-def]
        return "SELECT 1"

    body = Body.of(both)
    assert body.connections == 2
    assert body.parameters == (
        Parameter("day", date, required=True),
        Parameter("limit", int, required=False, default=5),
    )


def test_an_annotated_value_is_no_connection() -> None:
    """`def f(conn, day: date)` takes one connection and one parameter, keyword-only or not."""

    def one(conn: Any, day: date | None) -> str:
        return "SELECT 1"

    body = Body.of(one)
    assert (body.connections, body.parameters) == (1, (Parameter("day", date),))


def test_a_name_for_type_checkers_spoils_its_own_argument_only() -> None:
    """What stands under `if TYPE_CHECKING:` is a connection; the others keep their types."""

    def one(conn: Unseen, day: date, *, limit: int = 5, odd: Unseen = None) -> Unseen:  # type: ignore[name-defined]  # noqa: F821  # on purpose
        return "SELECT 1"

    body = Body.of(one)
    assert body.connections == 1
    assert body.parameters == (
        Parameter("day", date),
        Parameter("limit", int, required=False, default=5),
        Parameter("odd", str, required=False),
    )


def test_async_functions_are_known() -> None:
    """An `async def` body is recognised when it is declared."""

    async def body(conn: Any) -> str:
        return "SELECT 1"

    assert Body.of(body).is_async


def _positional_only(conn: Any, day: date, /) -> str:
    return "SELECT 1"


@pytest.mark.parametrize(
    "function",
    [
        lambda conn: None,
        lambda source, target: None,
        lambda conn1, conn2: None,
        lambda shop, warehouse: None,
        lambda a, b: None,
        lambda conn, warehouse: None,
        lambda region_conn, customer_db: None,
        lambda _, _tgt: None,
    ],
)
def test_names_that_may_be_connections_are(function: Any) -> None:
    """Where no name says that it is a value, position decides."""
    assert Body.of(function).parameters == ()


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda a, b, c: None, "takes 3 connections"),
        (lambda *args: None, r"takes \*args, so its run parameters cannot be known"),
        (lambda **kwargs: None, r"takes \*\*kwargs"),
        (int, "is no function"),
        (lambda conn, day: None, "takes 'day' where a connection stands. If it is a run parameter"),
        (lambda run_date: None, r"write it behind a star, with its type: `\*, run_date: date`"),
        (lambda conn, region: None, "say so: `region_conn`, or `region: Connection`"),
        (
            lambda conn=None: None,
            r"Connections come first and have no default: `def <lambda>\(conn",
        ),
        (lambda self, conn: None, "is a method, and nobody gives it 'self'"),
        (lambda *, src_conn: None, "takes 'src_conn' as a run parameter"),
        (_positional_only, r"by position only, and run .* write `\*, day` in place of the `/`"),
        (getattr, "does not say which arguments it takes"),
    ],
)
def test_a_signature_that_cannot_be_called_is_refused(function: Any, sentence: str) -> None:
    """What pgflow could not call is refused at decoration, with the forms that it can."""
    with pytest.raises(InvalidBody, match=sentence):
        Body.of(function)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (date, "2013-01-02", date(2013, 1, 2)),
        (
            datetime,
            "2013-01-02T03:04:05+00:00",
            datetime.fromisoformat("2013-01-02T03:04:05+00:00"),
        ),
        (int, "7", 7),
        (Decimal, "1.50", Decimal("1.50")),
        (bool, "no", False),
        (str, "7", "7"),
    ],
)
def test_text_becomes_a_value_of_the_annotated_type(kind: type, text: str, value: object) -> None:
    """What a command line gives as text arrives as the type that the function asks for."""
    values = bind_parameters((Parameter("x", kind),), {"x": text}, "pipeline 'p'")
    assert values == {"x": value}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, r"pipeline 'p' needs day: sync\(day=\.\.\.\), or --param day=VALUE"),
        ({"day": "soon"}, "parameter day='soon' cannot be read as date"),
        ({"day": "2013-01-01", "dya": 1}, "has no parameter 'dya'. Did you mean 'day'"),
    ],
)
def test_wrong_parameters_are_named(given: dict[str, object], sentence: str) -> None:
    """A missing, unreadable or unknown parameter is refused before anything runs."""
    with pytest.raises(MissingParameter, match=sentence):
        bind_parameters((Parameter("day", date),), given, "pipeline 'p'")
