"""What is wrong with a command line, in one kind of words, whichever library has noticed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperGroup

#: How a list of the words that an option takes begins.
_CHOICES = re.compile(r"'(?P<given>.*)' is not one of (?P<words>'.*')\.?")


class UsageGroup(TyperGroup):
    """The commands, whose usage errors name what was given and what is accepted."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the words before the command."""
        with _told():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Read the command with its words, and call it."""
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except typer.BadParameter as error:
        error.message = in_our_words(error)
        raise
    except Exception as error:
        _advise(error)
        raise


def _advise(error: Any) -> None:
    """Name the command that does what an unknown option of another one asks for."""
    # The class has no public name: typer brings a click of its own.
    option, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if option == "--dry-run" and getattr(context, "info_name", None) == "sync":
        error.message = (
            f"{error.message}. To run and roll everything back: pgflow dry-run, with the same "
            "names and parameters."
        )


def in_our_words(error: Any) -> str:
    """Say what is wrong with a value, where the library that reads options says it in its own way.

    Args:
        error: A `typer.BadParameter`. Some versions of typer let pydantic read the values; then
            its cause tells more than its message.
    """
    message = str(error.message)
    details = getattr(error.__cause__, "errors", None)
    if not callable(details):
        return _with_nearest(_of_click(message))
    found: Mapping[str, Any] = details()[0]
    given, limits = found["input"], found.get("ctx", {})
    kind = str(found["type"])
    if kind.startswith("int"):
        return f"{given!r} is no whole number."
    if kind.startswith("float"):
        return f"{given!r} is no number."
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for bound, words in bounds.items():
        if bound in limits:
            return f"{given} is out of range; give {words} {limits[bound]}."
    return _with_nearest(message.removeprefix("Value error, "))


def _of_click(message: str) -> str:
    """Take what click says of numbers, which reads the values for other versions of typer."""
    number = re.fullmatch(r"(.*) is not a valid (integer|float)( range)?\.", message)
    if number is not None:
        return f"{number[1]} is no {'whole ' if number[2] == 'integer' else ''}number."
    bounds = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
    found = re.fullmatch(r"(.*) is not in the range (.*)\.", message)
    if found is None:
        return message
    said = [f"{bounds[sign]} {limit}" for sign, limit in re.findall(r"x([<>]=?)(\S+)", found[2])]
    return f"{found[1]} is out of range; give {' and '.join(said) or found[2]}."


def _with_nearest(message: str) -> str:
    choices = _CHOICES.fullmatch(message)
    if choices is None:
        return message
    words = re.findall(r"'([^']*)'", choices["words"])
    near = get_close_matches(choices["given"], words, 1)
    return f"{message} Did you mean {near[0]!r}?" if near else message
