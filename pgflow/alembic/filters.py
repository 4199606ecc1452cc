"""The hooks `include_name` and `include_object` of env.py, over both worlds.

What a hook leaves out counts as declared just as it is in the database, so that a migration
neither makes nor changes nor drops it, and still knows that it is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Column, Index, MetaData, Table
from sqlalchemy.types import NullType

from pgflow import idents
from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier as _Id
from pgflow.alembic.snapshot import RELATIONS, Edges, Snapshot


def filtered(
    context: AutogenContext, live: Snapshot, declared: Snapshot
) -> tuple[Snapshot, Snapshot]:
    """Take out of a comparison what env.py's hooks leave out, and Alembic's version table.

    Args:
        context: Alembic's autogenerate, with the hooks.
        live: What the database holds.
        declared: What it should hold.

    Returns:
        Both, equal in what is left out.
    """
    left_out = set(_left_out(context, live, declared))
    if not left_out:
        return live, declared
    entities = {k: v for k, v in declared.entities.items() if k not in left_out}
    entities |= {k: live.entities[k] for k in left_out if k in live}
    return live, Snapshot(
        version=declared.version,
        entities=entities,
        depends=_edges(declared.depends, live.depends, left_out),
        mentions=_edges(declared.mentions, live.mentions, left_out),
        outsiders=declared.outsiders,
        user=declared.user,
    )


def _left_out(context: AutogenContext, live: Snapshot, declared: Snapshot) -> Iterator[_Id]:
    own = [entity for entity in live.entities.values() if _concerns(entity, live, declared)]
    judge = _Judge(context, live, declared)
    everything = {entity.id: entity for entity in (*declared.entities.values(), *own)}
    relations = {
        (each.schema, each.name)
        for each in everything
        if each.kind in RELATIONS and not judge.takes(each)
    }
    for each, entity in everything.items():
        is_relation = each.kind in RELATIONS
        relation = (each.schema, each.name if is_relation else each.table)
        goes_with_it = relation in relations or _is_owned(entity, relations)
        if goes_with_it or not (is_relation or judge.takes(each)):
            yield each


def _is_owned(entity: Entity, relations: Collection[tuple[str, str | None]]) -> bool:
    """Tell whether an entity is the sequence of a serial column in one of some tables."""
    owner = entity.facts.get("owned_by") if entity.id.kind == "sequence" else None
    prefixes = tuple(f"{idents.qualify(schema, name)}." for schema, name in relations if name)
    return owner is not None and str(owner).startswith(prefixes)


def _concerns(entity: Entity, live: Snapshot, declared: Snapshot) -> bool:
    """Tell whether a live object could be mentioned at all: what is foreign never is."""
    parent = live.parent(entity.id)
    return any(
        each is not None and (each.mark is not None or each.id in declared)
        for each in (entity, parent)
    )


class _Judge:
    """Asks the hooks of env.py about objects.

    Args:
        context: Alembic's autogenerate.
        live: What the database holds.
        declared: What it should hold.
    """

    def __init__(self, context: AutogenContext, live: Snapshot, declared: Snapshot) -> None:
        self._context = context
        self._live = live
        self._declared = declared
        self._default = context.dialect.default_schema_name
        hooks = (context.opts.get("include_name"), context.opts.get("include_object"))
        self._has_hooks = any(hook is not None for hook in hooks)
        self._schemas: dict[str, bool] = {}
        self._tables = _declared_tables(context.metadata, self._default)
        migrations = context.migration_context
        self._versions = (
            migrations.version_table_schema or self._default,
            migrations.version_table,
        )

    def takes(self, identifier: _Id) -> bool:
        """Tell whether an object is part of the comparison."""
        if self._versions in (
            (identifier.schema, identifier.name),
            (identifier.schema, identifier.table),
        ):
            return False
        if not self._has_hooks:
            return True
        if not self._schema_is_taken(identifier.schema):
            return False
        name = identifier.name if identifier.name is not None else identifier.schema
        type_ = self._type(identifier)
        return self._name_is_taken(identifier, name, type_) and self._object_is_taken(
            identifier, name, type_
        )

    def _schema_is_taken(self, schema: str) -> bool:
        if schema not in self._schemas:
            name = None if schema == self._default else schema
            self._schemas[schema] = schema == "" or self._context.run_name_filters(
                name, "schema", {}
            )
        return self._schemas[schema]

    def _name_is_taken(self, identifier: _Id, name: str, type_: Any) -> bool:
        if identifier not in self._live or identifier.kind == "schema":
            return True
        parents: Any = {"schema_name": self._short(identifier.schema)}
        if identifier.table is not None:
            parents["table_name"] = identifier.table
        return self._context.run_name_filters(name, type_, parents)

    def _object_is_taken(self, identifier: _Id, name: str, type_: Any) -> bool:
        stand_in = self._stand_in(identifier, name)
        if identifier not in self._declared:
            return self._context.run_object_filters(stand_in, name, type_, True, None)
        compared = stand_in if identifier in self._live else None
        declared = self._declared_item(identifier)
        own = stand_in if declared is None else declared
        return self._context.run_object_filters(own, name, type_, False, compared)

    def _type(self, identifier: _Id) -> str:
        if identifier.kind != "constraint":
            return identifier.kind or "object"
        entity = self._declared.get(identifier) or self._live.get(identifier)
        said = entity.facts.get("type") if entity is not None else None
        return {
            "unique": "unique_constraint",
            "foreign_key": "foreign_key_constraint",
        }.get(str(said), "constraint")

    def _short(self, schema: str) -> str | None:
        return None if schema == self._default else schema

    def _declared_item(self, identifier: _Id) -> Any:
        """Find the object of the MetaData that an identity means."""
        table = self._tables.get((identifier.schema, identifier.table or identifier.name or ""))
        if table is None or identifier.kind == "table":
            return table
        if identifier.kind == "column":
            return table.columns.get(identifier.name or "")
        items: Iterable[Any] = ()
        if identifier.kind == "index":
            items = table.indexes
        elif identifier.kind == "constraint":
            items = table.constraints
        return next((item for item in items if item.name == identifier.name), None)

    def _stand_in(self, identifier: _Id, name: str) -> Any:
        """Make something that answers a hook's usual questions: name, schema, table, info."""
        schema = self._short(identifier.schema)
        if identifier.kind == "table":
            return Table(name, MetaData(), schema=schema)
        parent = None
        if identifier.table is not None:
            parent = Table(identifier.table, MetaData(), schema=schema)
        if identifier.kind == "column" and parent is not None:
            column: Column[Any] = Column(name, NullType())
            parent.append_column(column)
            return column
        if identifier.kind == "index" and parent is not None:
            index = Index(name)
            index.table = parent
            return index
        return SimpleNamespace(
            name=name, schema=schema, table=parent, info={}, kind=identifier.kind
        )


def _declared_tables(metadata: Any, default: str | None) -> dict[tuple[str, str], Table]:
    each: Any = (metadata,) if isinstance(metadata, MetaData) else metadata or ()
    return {
        (table.schema or default or "", table.name): table
        for one in each
        for table in one.tables.values()
    }


def _edges(declared: Edges, live: Edges, left_out: set[_Id]) -> Edges:
    edges = {k: v for k, v in declared.items() if k not in left_out}
    return edges | {k: v for k, v in live.items() if k in left_out}
