"""`pgflow forget`: counts what would be erased, asks, and erases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import typer

from pgflow.cli.consent import consents_to_loss
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.output import Output
from pgflow.connections.settings import project_settings
from pgflow.errors import UnknownTable
from pgflow.project.modules import listed_modules
from pgflow.project.project import Project
from pgflow.run.erasing.erasure import forget


@dataclass(frozen=True)
class Request:
    """What a user asks of `pgflow forget`.

    Attributes:
        table: The table's name.
        key: Its key: one value, or `column=value` for each column.
        nulls: Columns of the key that are NULL.
        connection: The connection.
        schema: Where pgflow's own tables are, or None for what the project says.
        dry_run: Whether to count only.
        yes: Whether to ask nothing.
    """

    table: str
    key: tuple[str, ...]
    nulls: tuple[str, ...]
    connection: str
    schema: str | None
    dry_run: bool
    yes: bool


def forget_key(
    output: Output, request: Request, modules: Sequence[str] | None, *, as_json: bool
) -> int:
    """Erase a key, or count what would be erased.

    Args:
        output: Where to.
        request: What is asked for.
        modules: What `--module` said.
        as_json: Whether to write JSON.

    Returns:
        `FAILED` if the user says no.

    Raises:
        HazardsNotConfirmed: There is nobody to ask.
    """
    table, key = _table(request.table, modules), _key(request)
    erase = partial(forget, table, key, connection=request.connection, schema=request.schema)
    if request.dry_run or not request.yes:
        counted = erase(dry_run=True)
        if request.dry_run:
            _write(output, counted, as_json)
            return OK
        if not consents_to_loss(str(counted), "forget"):
            output.note("Nothing was erased.")
            return FAILED
    _write(output, erase(), as_json)
    return OK


def _table(name: str, modules: Sequence[str] | None) -> Any:
    """The table as the project declares it; its bare name, where it declares none of that name."""
    if not (modules or listed_modules(project_settings())):
        return name
    try:
        return Project.load(modules or None).table(name)
    except UnknownTable as error:
        if "." not in name or name in error.candidates:
            raise
        return name


def _key(request: Request) -> object:
    pairs: dict[str, str | None] = dict.fromkeys(request.nulls)
    for word in request.key:
        column, equals, value = word.partition("=")
        if equals:
            pairs[column] = value
    bare = [word for word in request.key if "=" not in word]
    if bare and (len(request.key) > 1 or request.nulls):
        raise typer.BadParameter("write column=value for each column of the key.")
    return bare[0] if bare else pairs


def _write(output: Output, done: Any, as_json: bool) -> None:
    if as_json:
        output.json(done.to_dict())
    else:
        output.line(str(done))
