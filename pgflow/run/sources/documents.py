"""Python values as JSON, digit for digit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

_fast = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=True).encode


def document(value: object) -> str:
    """Write a value as JSON.

    Args:
        value: What JSON knows; besides decimals (as numbers), dates, times and UUIDs (as text).

    Returns:
        The text.

    Raises:
        ValueError: It holds something that JSON cannot say, such as NaN or bytes.
    """
    try:
        return _fast(value)
    except (TypeError, RecursionError):
        return _spell(value, 0)
    except ValueError as error:
        raise ValueError(f"cannot be JSON: {error}") from None


def _spell(value: Any, depth: int) -> str:
    if depth > 500:
        raise ValueError("cannot be JSON: it is nested too deeply, or holds itself")
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Mapping):
        pairs = (f"{_key(k)}: {_spell(v, depth + 1)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_spell(v, depth + 1) for v in value) + "]"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"cannot be JSON: {value} is no number there")
        return str(value)
    if isinstance(value, (date, datetime, time)):
        return _fast(value.isoformat())
    if isinstance(value, UUID):
        return _fast(str(value))
    if value is None or isinstance(value, (str, int, bool)):
        return _fast(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"cannot be JSON: {value} is no number there")
        return _fast(value)
    raise ValueError(f"cannot be JSON: {type(value).__name__}")


def _key(key: object) -> str:
    if not isinstance(key, str):
        # A refusal of data, like the others; not a mistake of the caller.
        raise ValueError(f"cannot be JSON: a key is {type(key).__name__}, not text")  # noqa: TRY004
    return _fast(key)
