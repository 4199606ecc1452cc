"""`pgflow connections list` and `check`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from pgflow.cli.failures import OK, UNUSABLE, sentence
from pgflow.cli.output import Output
from pgflow.cli.registering import import_modules
from pgflow.connections.dsn import is_dsn, read_dsn
from pgflow.connections.registry import (
    describe,
    describe_open,
    engine,
    registered,
    registered_url,
)
from pgflow.connections.settings import find_entry, mentions
from pgflow.errors import PgflowError
from pgflow.observe.listing import Listing

_WRAPPING = frozenset({"said by", "leads to", "instead of", "where"})


def show_connections(output: Output, modules: Sequence[str] | None, *, as_json: bool) -> int:
    """Write every known connection, where it is said and where it leads; open none."""
    import_modules(output, modules)
    found = [_entry(name, places) for name, places in _places().items()]
    if as_json:
        output.json(found)
    elif found:
        rows = tuple(
            (each["name"], each["place"], each["leads_to"], "; ".join(each["instead_of"]))
            for each in found
        )
        headings = ("connection", "said by", "leads to", "instead of")
        faint = frozenset({"instead of"})
        output.listing(Listing(headings, rows, faint=faint, wrapping=_WRAPPING))
    else:
        output.note("no connection is known; see pgflow connections --help")
    return OK


def probe_connections(
    output: Output, name: str | None, modules: Sequence[str] | None, *, as_json: bool
) -> int:
    """Open one connection or all, and say who answers.

    Returns:
        `UNUSABLE` if one of them cannot be opened.
    """
    import_modules(output, modules)
    names = list(_places()) if name is None else [name]
    answers = [_probe(each) for each in names]
    if as_json:
        output.json(answers)
    elif answers:
        output.listing(_answer_listing(answers))
    else:
        output.note("no connection is known")
    for answer in answers:
        if answer["error"]:
            told = repr(answer["name"]) in answer["error"]
            output.error(answer["error"] if told else f"{answer['name']}: {answer['error']}")
    return UNUSABLE if any(answer["error"] for answer in answers) else OK


def _places() -> dict[str, tuple[str, ...]]:
    """Every known name, and the places that have it; what code says comes first."""
    found = dict(mentions())
    for name, place in registered().items():
        found[name] = (place, *found.get(name, ()))
    return dict(sorted(found.items()))


def _entry(name: str, places: Sequence[str]) -> dict[str, Any]:
    """The first place decides; what the others say of the name is not read."""
    place, *others = places
    try:
        said = name in registered()
        url = registered_url(name) if said else read_dsn(find_entry(name).dsn, place).url
        leads_to = url.render_as_string(hide_password=True)
    except PgflowError as error:
        leads_to = f"cannot be used: {error}"
    return {"name": name, "place": place, "leads_to": leads_to, "instead_of": others}


def _probe(name: str) -> dict[str, Any]:
    begun = time.perf_counter()
    # A URL is shown as where it leads: it may hold a password.
    label = "the given url" if is_dsn(name) else name
    answer = {"name": label, "server": "", "where": "", "seconds": 0.0, "error": ""}
    try:
        found = engine(name)
        answer["where"] = str(describe(found))
        with found.connect() as connection:
            answer["server"] = _server(connection)
            answer["where"] = str(describe_open(connection))
    except Exception as error:  # each connection is told apart, whatever its driver raises
        answer["error"] = sentence(error)
    answer["seconds"] = round(time.perf_counter() - begun, 3)
    return answer


def _server(connection: Connection) -> str:
    connection.execute(text("SELECT 1"))
    version = connection.dialect.server_version_info
    return f"{connection.dialect.name} {'.'.join(map(str, version or ()))}".strip()


def _answer_listing(answers: list[dict[str, Any]]) -> Listing:
    rows = tuple(
        (
            answer["name"],
            "failed" if answer["error"] else "success",
            answer["server"],
            answer["where"],
            f"{answer['seconds']:.3f}",
        )
        for answer in answers
    )
    headings = ("connection", "status", "server", "where", "seconds")
    return Listing(headings, rows, frozenset({"seconds"}), wrapping=_WRAPPING)
