"""What of a declared SQL text may be shown: never what may be a password.

It also has to work on texts that no parser understands, so it hides rather too much than too
little. A statement about roles, user mappings, servers or subscriptions shows its first words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SHOWN_INSTEAD = "..."

_GAP = r"(?:\s|/\*.*?\*/|--[^\n]*\n)+"
_NAME = r"""(?:"[^"';\n]*"|[\w$.]+)"""
_GUARDED = re.compile(
    rf"\b(?:CREATE|ALTER)\b{_GAP}(?:ROLE|USER|GROUP|SUBSCRIPTION|SERVER)\b"
    rf"(?:{_GAP}(?:MAPPING|IF|NOT|EXISTS|FOR)\b)*(?:{_GAP}{_NAME})?",
    re.IGNORECASE | re.DOTALL,
)
_LITERAL = (
    r"""(?:[EUNB]?&?'(?:[^'\\]|''|\\.)*(?:'|\Z)|\$(?P<{tag}>\w*)\$.*?(?:\$(?P={tag})\$|\Z))"""
)
_WORD = r"(?:passw(?:or)?d|passphrase|pwd)"
# PASSWORD 's', "password" 's', password = 's', password => 's'
_SAID = re.compile(
    rf"""{_WORD}"?(?:{_GAP})?(?::=|=>|=)?(?:{_GAP})?(?P<secret>{_LITERAL.format(tag="a")})""",
    re.IGNORECASE | re.DOTALL,
)
# 'host=h password=s', also with quotes that are doubled inside of a literal; scheme://user:s@host
_WITHIN = re.compile(
    rf"""{_WORD}\s*=\s*(?P<secret>''.*?''|[^\s'";)]+)""", re.IGNORECASE | re.DOTALL
)
_IN_URL = re.compile(r"\w://[^\s/:@']*:(?P<secret>[^\s/@']+)@")
# CREATE SUBSCRIPTION and the like, where the statement itself is misspelt
_CONNECTION = re.compile(
    rf"\bCONNECTION(?:{_GAP})?(?P<secret>{_LITERAL.format(tag='b')})", re.IGNORECASE | re.DOTALL
)


def concealed(sql: str, start: int = 0, end: int | None = None) -> str:
    """Return a text, or a part of it, as it may be shown.

    Args:
        sql: The whole text.
        start: Where the part begins.
        end: Where it ends; the end of the text if it is None.
    """
    end = len(sql) if end is None else end
    shown: list[str] = []
    for first, last in _secrets(sql):
        if last <= start or first >= end:
            continue
        shown += [sql[start : max(first, start)], _SHOWN_INSTEAD]
        start = min(last, end)
    return "".join([*shown, sql[start:end]])


def is_concealed(sql: str, start: int, end: int) -> bool:
    """Tell whether a part of a text holds what may not be shown."""
    return any(first < end and start < last for first, last in _secrets(sql))


def first_line(sql: str) -> str:
    """Return the first line of a text, not longer than a message can bear."""
    line = (concealed(sql.strip()).splitlines() or [""])[0].strip()
    return line if len(line) <= 120 else line[:117] + "..."


def _secrets(sql: str) -> Iterator[tuple[int, int]]:
    """Give the places to hide, in order and apart from each other."""
    reached = 0
    for first, last in sorted(_places(sql)):
        if last > reached:
            yield max(first, reached), last
            reached = last


def _places(sql: str) -> Iterator[tuple[int, int]]:
    guarded = _GUARDED.search(sql)
    if guarded is not None and sql[guarded.end() :].strip(" \t\r\n;"):
        # Where a statement ends cannot be told if it may be broken, so nothing behind is shown.
        yield guarded.end() + sql[guarded.end() :].startswith(" "), len(sql)
    for pattern in (_SAID, _WITHIN, _IN_URL, _CONNECTION):
        for found in pattern.finditer(sql):
            yield found.span("secret")
