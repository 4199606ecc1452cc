"""What the server prints of an expression once it has read its own print of it.

A migration runs what the server printed of the declared object. What the server then prints of the
live one differs from that in three places, measured on PostgreSQL 15 and 18, and never again after
that. Both sides are brought to one form here, so that what is equal compares equal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pglast.parser import ParseError, parse_sql_json

#: Strings, quoted names and dollar quotes, in which nothing is looked for.
_QUOTED = r"""(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$"""


def _outside(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{_QUOTED} | (?P<found>{pattern})", re.VERBOSE | re.DOTALL)


_CAST_ARRAYS = _outside(r"\(ARRAY\[")
_BREAKS = _outside(r"[(\[\]),]")
_OPEN_VALUES = _outside(r"\(\ (?=VALUES\b)")
_LABELS = _outside(r"\s+AS\s+(?:[\w$]+|\"(?:[^\"]|\"\")+\")")
_CAST = re.compile(
    r"""\)::(?P<type>(?:"(?:[^"]|"")+"|[\w$.\ ])+(?:\([\d,]+\))?
        (?:\ with(?:out)?\ time\ zone)?)\[\]""",
    re.VERBOSE,
)
_ARRAY = "ARRAY["
_CAST_ARRAY = "(ARRAY["
#: What a subquery with a named constant in it must contain.
_LABELLED = re.compile(r"\(\s*SELECT\b.*::.* AS ", re.DOTALL)
_DEPTH = {"(": 1, "[": 1, ")": -1, "]": -1}
#: Between a subquery in an expression and the list of its columns.
_SAME_COLUMNS = ("SelectStmt", "larg", "rarg", "targetList")  # codespell:ignore larg


def settled(text: str, opening: str | None = None) -> str:
    """Bring an expression or query that the server printed to the form in which it stays.

    Args:
        text: A query, an expression, or a definition that holds some, such as `CHECK (...)`.
        opening: What makes a whole statement of the text if it is put before it; None for what
            cannot hold subqueries.

    Returns:
        The same SQL: casts of array constructors made casts of their elements, `( VALUES` closed
        up, and constants in subqueries of expressions without the name that nobody sees.
    """
    if _CAST_ARRAY in text:
        text = _pushed_down(text)
    if "( VALUES" in text:
        text = _closed_up(text)
    if opening is not None and _LABELLED.search(text):
        text = _unlabelled(text, opening)
    return text


def _pushed_down(text: str) -> str:
    """Write `(ARRAY[a, b])::t[]` as `ARRAY[(a)::t, (b)::t]`."""
    pieces: list[str] = []
    done = 0
    for found in _CAST_ARRAYS.finditer(text):
        if found["found"] is None or found.start() < done:
            continue
        elements, end = _elements(text, found.end())
        cast = _CAST.match(text, end + 1)
        if cast is not None:
            pieces += (text[done : found.start()], _cast(elements, cast["type"]))
            done = cast.end()
    return "".join((*pieces, text[done:]))


def _cast(elements: list[str], type_: str) -> str:
    return f"ARRAY[{', '.join(_cast_element(_pushed_down(item), type_) for item in elements)}]"


def _cast_element(element: str, type_: str) -> str:
    if element.startswith(_ARRAY):
        elements, end = _elements(element, len(_ARRAY))
        if end == len(element) - 1:
            return _cast(elements, type_)
    return f"({element})::{type_}"


def _elements(text: str, start: int) -> tuple[list[str], int]:
    """Split what stands in brackets at its own commas.

    Args:
        text: The whole text.
        start: Where the first element begins.

    Returns:
        The elements, and where the closing bracket is.
    """
    depth, begin, elements = 0, start, []
    for found in _BREAKS.finditer(text, start):
        depth += _DEPTH.get(found[0], 0)
        if depth < 0 or (depth == 0 and found[0] == ","):
            elements.append(text[begin : found.start()].strip())
            begin = found.end()
        if depth < 0:
            return elements, found.start()
    return [], start


def _closed_up(text: str) -> str:
    return _OPEN_VALUES.sub(lambda found: "(" if found["found"] else found[0], text)


def _unlabelled(text: str, opening: str) -> str:
    """Leave out `AS text` behind `'a'::text` in subqueries, where no column has a name."""
    try:
        tree = json.loads(parse_sql_json(opening + text))
    except (ParseError, ValueError, RecursionError):
        return text
    encoded = (opening + text).encode()
    for location in sorted(_labelled(tree), reverse=True):
        start = len(encoded[:location].decode()) - len(opening)
        labels = (found for found in _LABELS.finditer(text, start) if found["found"])
        label = next(labels, None)
        if label is not None:
            text = text[: label.start()] + text[label.end() :]
    return text


def _labelled(tree: Any) -> Iterator[int]:
    """Give the byte at which each constant begins that bears the name of its type in vain."""
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, nameless = stack.pop()
        if isinstance(node, list):
            stack.extend((item, nameless) for item in node)
        elif isinstance(node, dict):
            target = node.get("ResTarget")
            if nameless and target is not None and _is_named_by_type(target):
                yield target["location"]
            for key, value in node.items():
                stack.append((value, key == "subselect" or (nameless and key in _SAME_COLUMNS)))


def _is_named_by_type(target: dict[str, Any]) -> bool:
    cast = target.get("val", {}).get("TypeCast", {})
    names = cast.get("typeName", {}).get("names") or [{}]
    type_ = names[-1].get("String", {}).get("sval")
    return "A_Const" in cast.get("arg", {}) and target.get("name") == type_
