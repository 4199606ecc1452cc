"""What all kinds of types have in common: how they are found, named, renamed and dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

from sqlalchemy import Row

from pgflow import idents
from pgflow.alembic import comments, privileges
from pgflow.alembic.entity import Address, Entity, Mark, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.reader import Reader
from pgflow.alembic.statement import Statement

_QUERY = """
    SELECT n.nspname::text AS schema, t.typname::text AS name, t.oid,
           pg_get_userbyid(t.typowner)::text AS owner, t.typacl::text[] AS acl,
           obj_description(t.oid, 'pg_type') AS comment, {columns}
      FROM pg_type t
      JOIN pg_namespace n ON n.oid = t.typnamespace
      {joins}
     WHERE n.nspname = ANY(:schemas) AND t.typtype = '{typtype}'
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
                          AND d.deptype = 'e')
     ORDER BY 1, 2
"""


class Common(TypedDict):
    """What every type has besides its facts."""

    id: EntityIdentifier
    comment: str | None
    mark: Mark | None
    owner: str
    privileges: frozenset[Privilege]
    address: Address


def read_types(
    reader: Reader,
    schemas: Sequence[str],
    kind: str,
    typtype: str,
    columns: str,
    joins: str = "",
) -> Iterator[tuple[Row[Any], Common]]:
    """Read the types of one sort in some schemas, without those of extensions.

    Args:
        reader: Asks the catalogue.
        schemas: The schemas' names.
        kind: The kind of their identities.
        typtype: What `pg_type.typtype` says of them.
        columns: More to select; `t` is `pg_type`.
        joins: More to join.

    Yields:
        The row, and what makes up an entity besides its facts.
    """
    query = _QUERY.format(columns=columns, joins=joins, typtype=typtype)
    for row in reader.rows(query, {"schemas": list(schemas)}):
        comment, mark = comments.split(row.comment)
        yield (
            row,
            Common(
                id=EntityIdentifier(row.schema, row.name, kind=kind),
                comment=comment,
                mark=mark,
                owner=row.owner,
                privileges=privileges.parse(row.acl, kind, row.owner),
                address=Address("pg_type", row.oid),
            ),
        )


def called(identifier: EntityIdentifier) -> str:
    """Write a type's name with its schema, quoted where it needs it."""
    return idents.qualify(identifier.schema, identifier.name or "")


def drop(noun: str, entity: Entity) -> tuple[Statement, ...]:
    """Drop a type; `noun` is what DROP calls it."""
    return (Statement(f"DROP {noun} {called(entity.id)}"),)


def collate(collation: object) -> str:
    """Write a COLLATE clause, nothing for the collation that the type has anyway."""
    return f" COLLATE {collation}" if collation else ""
