"""Passwords that stand in a text, such as a line of somebody's own code, taken out of it."""

from __future__ import annotations

import re

#: What stands before `@` in a URL, behind the user's name.
_IN_URL = re.compile(r"(://[^\s:/@'\"]*:)[^\s'\"]+(?=@)")

#: `password=...` in a connection string or a call, also with an annotation, and `"password": ...`.
_NAMED = re.compile(
    r"(?P<name>(?:password|passwd)(?:['\"]\s*:|\s*(?::\s*[\w.]+\s*)?=)\s*)"
    r"(?:(?P<quote>['\"]).*?(?P=quote)|[^\s'\",;)}&\[(]+)",
    re.IGNORECASE,
)


def conceal(text: str) -> str:
    """Put `***` in the place of every password that a text spells out.

    Args:
        text: A line of code or a traceback.

    Returns:
        The text with the passwords of URLs, and what is called a password, hidden.
    """
    return _NAMED.sub(_hidden, _IN_URL.sub(r"\1***", text))


def _hidden(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    return f"{found['name']}{quote}***{quote}"
