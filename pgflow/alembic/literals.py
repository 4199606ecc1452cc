"""Texts as SQL string constants; the only place that writes quotes around a text."""

from __future__ import annotations

from itertools import count

#: How the tags of dollar quotes are tried: `$$`, `$body$`, `$body2$`, ...
_TAG = "body"


def literal(text: str) -> str:
    """Write a text as a string constant, for servers with standard_conforming_strings on.

    Args:
        text: Any text; backslashes, `%`, `:name` and newlines stay as they are.

    Returns:
        The text between single quotes, each single quote in it doubled.
    """
    return "'" + text.replace("'", "''") + "'"


def dollar(text: str) -> str:
    """Write a text as a dollar-quoted string constant, so that it can be read as it is.

    Args:
        text: Any text, such as the body of a function.

    Returns:
        The text between two `$$`, or two `$body$`, or whichever tag the text leaves free.
    """
    for number in count():
        tag = f"${_TAG if number else ''}{number if number > 1 else ''}$"
        # Looked for together with the closing tag: a text may end in the beginning of it.
        if (text + tag).find(tag) == len(text):
            return f"{tag}{text}{tag}"
    raise AssertionError  # pragma: no cover (a text cannot hold all tags)
