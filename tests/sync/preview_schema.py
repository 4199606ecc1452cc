"""Checks data against docs/reference/preview-schema.json: the few words of JSON Schema it uses."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_PATH = Path(__file__).parents[2] / "docs" / "reference" / "preview-schema.json"
_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_ABOUT = {"$schema", "title", "description", "$defs"}


@cache
def schema() -> Any:
    return json.loads(_PATH.read_text())


def check(data: Any, part: Any = None, where: str = "$") -> None:
    """Fail if data is not as the schema, or a part of it, says."""
    part = schema() if part is None else part
    for word, said in part.items():
        if word not in _ABOUT:
            _WORDS[word](data, said, part, where)


def _ref(data: Any, said: str, part: Any, where: str) -> None:
    name = said.removeprefix("#/$defs/")
    check(data, schema()["$defs"][name], where)


def _type(data: Any, said: Any, part: Any, where: str) -> None:
    names = [said] if isinstance(said, str) else said
    fits = [n for n in names if isinstance(data, _TYPES[n])]
    if isinstance(data, bool):
        fits = [n for n in fits if n == "boolean"]
    assert fits, f"{where} is {type(data).__name__}, not {said}"


def _required(data: Any, said: list[str], part: Any, where: str) -> None:
    if isinstance(data, dict):
        assert set(said) <= data.keys(), f"{where} lacks {set(said) - data.keys()}"


def _properties(data: Any, said: dict[str, Any], part: Any, where: str) -> None:
    for name, value in data.items() if isinstance(data, dict) else ():
        if name in said:
            check(value, said[name], f"{where}.{name}")


def _additional(data: Any, said: Any, part: Any, where: str) -> None:
    for name, value in data.items() if isinstance(data, dict) else ():
        if name not in part.get("properties", {}):
            assert said is not False, f"{where} has {name!r}, which the schema does not know"
            check(value, said, f"{where}.{name}")


def _items(data: Any, said: Any, part: Any, where: str) -> None:
    for number, value in enumerate(data if isinstance(data, list) else ()):
        check(value, said, f"{where}[{number}]")


def _const(data: Any, said: Any, part: Any, where: str) -> None:
    assert data == said, f"{where} is {data!r}, not {said!r}"


_WORDS = {
    "$ref": _ref,
    "type": _type,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "const": _const,
}
