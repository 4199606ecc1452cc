"""The shapes of what users give: dictionaries, lists, texts. Others are refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pgflow.errors import InvalidOption


def mapping(given: object, option: str, example: str, *, texts: bool = False) -> dict[Any, Any]:
    """Take a dictionary whose keys are texts.

    Args:
        given: What was given.
        option: Where, for the message, such as `Query(params=...)`.
        example: How it is written.
        texts: Whether its values are texts too.

    Returns:
        A copy of it.

    Raises:
        InvalidOption: It is none.
    """
    if not isinstance(given, Mapping):
        raise InvalidOption(f"{option}: {given!r} is no dictionary; write for instance {example}.")
    for each in (*given, *(given.values() if texts else ())):
        if not isinstance(each, str):
            raise InvalidOption(f"{option}: {each!r} is no text; write for instance {example}.")
    return dict(given)


def listed(given: object, option: str, example: str) -> tuple[Any, ...]:
    """Take a list, a tuple or another iterable, but no text, whose letters nobody means.

    Args:
        given: What was given.
        option: Where, for the message.
        example: How it is written.

    Returns:
        Its elements.

    Raises:
        InvalidOption: It is none.
    """
    if isinstance(given, (str, bytes, type)) or not isinstance(given, Iterable):
        raise InvalidOption(f"{option}: {given!r} is no list; write for instance {example}.")
    return tuple(given)


def text(given: object, option: str) -> str:
    """Take a text.

    Args:
        given: What was given.
        option: Where, for the message.

    Returns:
        The text.

    Raises:
        InvalidOption: It is none.
    """
    if not isinstance(given, str):
        raise InvalidOption(f"{option}: {given!r} is no text.")
    return given
