"""One object of a database as data: what the server prints about it, ready to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from pgflow.alembic.identifiers import EntityIdentifier

Fact: TypeAlias = "str | int | bool | tuple[Fact, ...] | None"

_NO_FACTS: Mapping[str, Fact] = MappingProxyType({})


def _no_facts() -> Mapping[str, Fact]:
    return _NO_FACTS


class Address(NamedTuple):
    """Where an object is in the catalogue, as `pg_depend` points to it."""

    #: The catalogue that holds it, by name: "pg_class", "pg_proc", ...
    catalogue: str
    oid: int
    #: Number of the column (`attnum`); 0 for the object itself.
    column: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """pgflow's mark at the end of an object's comment: migrations made it, so they may drop it.

    Attributes:
        owner: The migration history that made it; "" for the default one.
        grantees: The roles to which migrations granted rights on it.
        table: For an index or statistics that were put on somebody else's table: that table.
            `CREATE TABLE ... (LIKE ...)` copies their comments, and this tells them from copies.
        defaults: For a schema: the roles to which migrations gave default privileges in it.
    """

    owner: str = ""
    grantees: frozenset[str] = frozenset()
    table: str = ""
    defaults: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, order=True)
class Privilege:
    """One right of one role on an object, or on a column of it.

    Attributes:
        grantee: The role; "" for PUBLIC.
        privilege: As in GRANT: "SELECT", "EXECUTE", ...
        column: The column, or "" for the whole object.
        grantable: With grant option.
    """

    grantee: str
    privilege: str
    column: str = ""
    grantable: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """One object of a database.

    Attributes:
        id: What it is, in full.
        facts: All that is compared, as the server prints it under an empty search path.
        comment: Its comment without pgflow's mark; None if there is none.
        mark: pgflow's mark in the comment; None for what pgflow did not make.
        owner: The role that owns it; None where the kind has no owner.
        privileges: The rights that roles other than the owner hold (PUBLIC's default ones too);
            None where the kind has none.
        notes: What is known but never compared: size in bytes, validity, the user's own SQL.
        address: Where it is in the catalogue.
    """

    id: EntityIdentifier
    facts: Mapping[str, Fact] = field(default_factory=_no_facts)
    comment: str | None = None
    mark: Mark | None = None
    owner: str | None = None
    privileges: frozenset[Privilege] | None = None
    notes: Mapping[str, Fact] = field(default_factory=_no_facts, compare=False)
    address: Address | None = field(default=None, compare=False)
