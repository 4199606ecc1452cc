"""Keys as a person would write them, for messages; or not at all, where they must not be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, bind, join, name, sql

#: At most so many offending keys are named.
SAMPLE = 5

#: So many characters of a value are shown, and three dots where there are more.
LONGEST = 200

#: What stands in the place of keys that must not be shown.
HIDDEN = "keys are not shown, as sample_keys=False says"

#: Types whose values are written without quotes.
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean")


def shows_keys(spec: SyncSpec) -> bool:
    """Whether messages, results and the history may hold keys."""
    return spec.options.sample_keys is not False


def key_columns(spec: SyncSpec) -> tuple[str, ...]:
    """The columns that name a row of the batch: its merge key, else the target's primary key.

    Returns:
        Nothing where the source does not deliver them all.
    """
    keys = spec.keys.value or spec.target.primary_key
    return keys if set(keys) <= set(spec.delivered) else ()


def key_object(spec: SyncSpec, alias: str) -> Sql | None:
    """A row's key as a JSON object of texts, or None where it has none.

    Args:
        spec: What is planned.
        alias: The row's alias.
    """
    pairs = [
        sql("{n}::text, {c}::text", n=bind(key, "column"), c=name(alias, key))
        for key in key_columns(spec)
    ]
    return sql("jsonb_build_object({pairs})", pairs=join(", ", pairs)) if pairs else None


def spell(spec: SyncSpec, found: Sequence[Mapping[str, Any]]) -> str:
    """Write keys: `customer_id=7`, or `(tenant_id=1, code='x')`, and `...` if there may be more.

    Args:
        spec: What is planned.
        found: Rows with the keys as text.
    """
    if not shows_keys(spec):
        return HIDDEN
    spelt = []
    for row in found:
        parts = [f"{key}={_value(spec, key, text)}" for key, text in row.items()]
        spelt.append(parts[0] if len(parts) == 1 else f"({', '.join(parts)})")
    return ", ".join(spelt) + (", ..." if len(found) == SAMPLE else "")


def _value(spec: SyncSpec, key: str, text: str | None) -> str:
    if text is None:
        return "NULL"
    kind = next((c.type for c in spec.target.columns if c.name == key), "")
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return text if kind.startswith(_NUMBERS) else repr(text)
