"""The schemas that a MetaData's objects live in, as objects that migrations create."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy_declarative_extensions import Schema, Schemas

_KEY = "schemas"
_COLLECTIONS = ("views", "functions", "procedures", "triggers")


def register_schemas(metadata: MetaData) -> None:
    """Declare the schemas of all tables, views, functions and triggers on a MetaData.

    Args:
        metadata: The MetaData; what `metadata.info["schemas"]` holds already stays as it is, and
            calling this again changes nothing.
    """
    present = Schemas.coerce_from_unknown(metadata.info.get(_KEY)) or Schemas()
    known = {schema.name for schema in present}
    new = sorted(set(_used(metadata)) - known)
    if new or present.schemas:
        added = tuple(Schema(name) for name in new)
        metadata.info[_KEY] = replace(present, schemas=(*present.schemas, *added))


def _used(metadata: MetaData) -> Iterator[str]:
    for table in metadata.tables.values():
        if table.schema is not None:
            yield table.schema
    for key in _COLLECTIONS:
        registered: Any = metadata.info.get(key) or ()
        for each in registered:
            schema = getattr(each, "schema", None)
            # Both name their relation in one text: View("app.v", ...), Trigger(on="app.t").
            named = str(getattr(each, "on", None) or getattr(each, "name", ""))
            if schema is None and "." in named:
                schema = named.partition(".")[0]
            if schema is not None:
                yield schema
