"""The options that several commands share, as typer reads them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


class Format(StrEnum):
    """How a command writes its result."""

    text = "text"
    json = "json"


class PreviewFormat(StrEnum):
    """How a preview is written."""

    text = "text"
    json = "json"
    markdown = "markdown"


def read_parameter(text: str) -> str:
    """Refuse a `--param` without `=`."""
    if "=" not in text or not text.partition("=")[0].isidentifier():
        raise typer.BadParameter(f"{text!r} is not of the form name=value.")
    return text


def read_instant(text: str | None) -> str | None:
    """Refuse an `--effective-at` that is no instant."""
    if text is not None:
        instant(text)
    return text


def instant(text: str) -> datetime:
    """Read an instant with its time zone.

    Args:
        text: In ISO 8601, such as `2013-01-02T00:00:00Z`.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no instant; write for instance 2013-01-02T00:00:00Z."
        ) from None
    if read.utcoffset() is None:
        raise typer.BadParameter(
            f"{text!r} has no time zone, so it names no instant; write for instance "
            f"{read.isoformat()}Z or {read.isoformat()}+01:00."
        )
    return read


def parameters(given: list[str] | None) -> dict[str, object]:
    """Take `--param name=value` apart; of a name that is given twice the last one counts."""
    pairs = (text.partition("=") for text in given or ())
    return {name: value for name, _, value in pairs}


Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Pipelines by name, by a pattern such as 'warehouse.*' that fits their names or "
        "targets, by tag:TAG, or by state:failed or state:never. +NAME adds what it depends on, "
        "NAME+ what depends on it.",
        show_default=False,
    ),
]
Modules: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        "-m",
        metavar="MODULE",
        help="A module or a .py file to look in, instead of those in pgflow.toml. Repeatable.",
        show_default=False,
    ),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Every pipeline of the project.")]
Parameters: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A run parameter. Repeatable.",
        callback=lambda given: [read_parameter(text) for text in given or ()],
        show_default=False,
    ),
]
EffectiveAt: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="INSTANT",
        help="The instant of the run instead of now, such as 2013-01-02T00:00:00Z.",
        callback=read_instant,
        show_default=False,
    ),
]
Continue: TypeAlias = Annotated[
    bool,
    typer.Option("--continue", help="When one fails, go on with those that do not depend on it."),
]
OutputFormat: TypeAlias = Annotated[
    Format, typer.Option("--format", help="How to write the result.", case_sensitive=False)
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        "-x",
        metavar="NAME",
        help="Leave these out; words as for NAME. Repeatable.",
        show_default=False,
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        min=1,
        metavar="N",
        help="How many pipelines run at the same time; by default one for each processor, four "
        "at most.",
        show_default=False,
    ),
]
Connection: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The connection to ask.", show_default=False),
]
