"""Rights on objects: read from the catalogue, compared, and granted or revoked.

What the owner may do to its own object is never looked at. Rights of roles that no declaration
speaks of are never revoked: they belong to whoever granted them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from pgflow import idents
from pgflow.alembic.entity import Entity, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.statement import Statement

#: The letters of an ACL entry, in the order in which GRANT lists them.
LETTERS: Mapping[str, str] = {
    "r": "SELECT",
    "a": "INSERT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "m": "MAINTAIN",
    "U": "USAGE",
    "X": "EXECUTE",
    "C": "CREATE",
    "c": "CONNECT",
    "T": "TEMPORARY",
    "s": "SET",
    "A": "ALTER SYSTEM",
}
_ORDER = {privilege: number for number, privilege in enumerate(LETTERS.values())}

#: What PUBLIC may do to a new object of a kind unless somebody revokes it.
_PUBLIC = {
    **dict.fromkeys(("function", "procedure", "aggregate"), "EXECUTE"),
    **dict.fromkeys(("enum", "domain", "composite", "range"), "USAGE"),
}

#: Which kind the objects of default privileges are.
_MEANT = {"functions": "function", "types": "enum"}

#: How the label of default privileges begins.
DEFAULT = "DEFAULT PRIVILEGES"

_ENTRY = re.compile(r'(?P<grantee>"(?:[^"]|"")*"|[^="]*)=(?P<rights>[a-zA-Z*]*)/', re.DOTALL)

_Key: TypeAlias = tuple[str, str, str]

#: Labels that GRANT writes in another way than COMMENT ON.
_RELABELLED = {
    "VIEW ": "TABLE ",
    "MATERIALIZED VIEW ": "TABLE ",
    "FOREIGN TABLE ": "TABLE ",
    "AGGREGATE ": "FUNCTION ",
    "DOMAIN ": "TYPE ",
}


def parse(
    acl: Sequence[str] | None,
    kind: str,
    owner: str | None,
    columns: Mapping[str, Sequence[str] | None] | None = None,
) -> frozenset[Privilege]:
    """Read the rights on an object from its ACL.

    Args:
        acl: The catalogue's column (`relacl`, `proacl`, ...) cast to `text[]`; NULL means that
            nobody ever granted or revoked anything.
        kind: The kind of the object, which decides what PUBLIC may do by default.
        owner: The owner, whose own rights are left out.
        columns: `attacl::text[]` of a relation's columns, by the columns' names.

    Returns:
        The rights of everybody but the owner.
    """
    found = set(_public(kind) if acl is None else _entries(acl))
    for column, entries in (columns or {}).items():
        found.update(_entries(entries or (), column))
    return frozenset(right for right in found if right.grantee != owner)


def defaults(identifier: EntityIdentifier) -> frozenset[Privilege]:
    """Return what PUBLIC may do to a new object, and in default privileges what it starts with."""
    kind = identifier.kind or ""
    if kind == "default_privileges" and not identifier.schema:
        # Those of one schema are added to these, and start with nothing.
        kind = _MEANT.get((identifier.name or "").rpartition("/")[2], "")
    return _public(kind)


def grantees(entity: Entity) -> frozenset[str]:
    """Return the roles of whose rights a declared object says something, for its mark.

    Args:
        entity: The declared object.

    Returns:
        Every role that is granted a right beyond the defaults, and "" (PUBLIC) also if a default
        right of PUBLIC was revoked. For a role, the roles that it is declared a member of.
    """
    if entity.id.kind == "role":
        member_of = entity.notes.get("member_of")
        return frozenset(map(str, member_of)) if isinstance(member_of, tuple) else frozenset()
    if entity.privileges is None:
        return frozenset()
    usual = defaults(entity.id)
    return frozenset(right.grantee for right in entity.privileges ^ usual)


def settled(old: Entity, new: Entity) -> frozenset[Privilege] | None:
    """Return the rights that an object should have after a migration.

    A right goes only if its grantee stands in the live object's mark or if the declaration speaks
    of that grantee. What PUBLIC has by default is left as it is found, unless the declaration
    revokes it or the mark says that an earlier one did.

    Args:
        old: The live object.
        new: The declared object.

    Returns:
        The declared rights, and those that others granted; None where the kind has none.
    """
    if old.privileges is None or new.privileges is None:
        return old.privileges
    known = grantees(new) | (frozenset() if old.mark is None else old.mark.grantees)
    foreign = {right for right in old.privileges if right.grantee not in known}
    # The owner needs no grant, and the declared object may have been read as another's.
    declared = {
        right
        for right in new.privileges
        if right.grantee in known and right.grantee not in (old.owner, new.owner)
    }
    return frozenset(foreign | declared)


def changes(
    label: str, old: Entity, new: Entity, *, dropped: Collection[str] = ()
) -> Sequence[Statement]:
    """Turn the rights on an object into others, exactly; see `settled` for which those are.

    Args:
        label: The object as COMMENT ON names it.
        old: The object as it is.
        new: The object as it should be, with the rights that others granted.
        dropped: Columns that are gone when the statements run, of which nothing is to be revoked.

    Returns:
        The REVOKE statements, then the GRANT statements; none if all is as it should be.
    """
    if old.privileges is None or new.privileges is None:
        return ()
    wanted = _options(right for right in new.privileges if right.grantee != old.owner)
    present = _options(right for right in old.privileges if right.column not in dropped)
    gone = {key for key in present if key not in wanted}
    # A right that only loses its grant option is not taken away first.
    weaker = {key for key in present if key in wanted and present[key] and not wanted[key]}
    added = {key for key in wanted if key not in present or wanted[key] > present[key]}
    # Revoking on a relation takes the same right on its columns along.
    swept = {key for key in wanted if key[2] and (*key[:2], "") in gone | weaker}
    return (
        *revoke(label, _rights(gone)),
        *revoke(label, _rights(weaker), option_only=True),
        *grant(label, _rights(added | swept, wanted)),
    )


def restore(label: str, entity: Entity) -> Sequence[Statement]:
    """Give a newly made object the rights that it should have, or had before it was dropped.

    Args:
        label: The object as COMMENT ON names it.
        entity: The object with all its rights, those that others granted too.

    Returns:
        REVOKE for what PUBLIC would have by default and should not, then the GRANT statements.
    """
    if entity.privileges is None:
        return ()
    usual = defaults(entity.id)
    wanted = {right for right in entity.privileges if right.grantee != entity.owner}
    return (*revoke(label, usual - wanted), *grant(label, wanted - usual))


def grant(label: str, rights: Iterable[Privilege]) -> Sequence[Statement]:
    """Grant rights, those that several roles share in one statement.

    Args:
        label: The object as COMMENT ON names it.
        rights: The rights.

    Returns:
        Statements such as `GRANT SELECT, UPDATE (name) ON TABLE app.t TO reader, writer`.
    """
    return tuple(
        _sentence(label, f"GRANT {what}", f"TO {names}{' WITH GRANT OPTION' if option else ''}")
        for what, names, option in grouped(rights)
    )


def revoke(
    label: str, rights: Iterable[Privilege], *, option_only: bool = False
) -> Sequence[Statement]:
    """Revoke rights, those that several roles share in one statement; never with CASCADE.

    Args:
        label: The object as COMMENT ON names it.
        rights: The rights.
        option_only: Leave the rights themselves and revoke only the option to grant them.

    Returns:
        Statements such as `REVOKE SELECT ON TABLE app.t FROM reader`.
    """
    option = "GRANT OPTION FOR " if option_only else ""
    return tuple(
        _sentence(label, f"REVOKE {option}{what}", f"FROM {names}")
        for what, names, _ in grouped({replace(right, grantable=False) for right in rights})
    )


def role(name: str) -> str:
    """Write a grantee: a quoted role, or PUBLIC for ""."""
    return idents.quote(name) if name else "PUBLIC"


def grouped(rights: Iterable[Privilege]) -> list[tuple[str, str, bool]]:
    """Group rights as statements list them, those that several roles share together.

    Returns:
        For each statement the privileges, the grantees, and whether it is with grant option.
    """
    by_role: dict[tuple[bool, str], list[Privilege]] = defaultdict(list)
    for right in sorted(rights):
        by_role[right.grantable, right.grantee].append(right)
    by_text: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for (option, grantee), own in by_role.items():
        by_text[option, _listed(own)].append(role(grantee))
    return [(what, ", ".join(names), option) for (option, what), names in by_text.items()]


def _public(kind: str) -> frozenset[Privilege]:
    privilege = _PUBLIC.get(kind)
    return frozenset(() if privilege is None else (Privilege("", privilege),))


def _entries(acl: Iterable[str], column: str = "") -> Iterable[Privilege]:
    for entry in acl:
        found = _ENTRY.match(entry)
        if found is None:
            continue
        grantee = found["grantee"]
        if grantee.startswith('"'):
            grantee = grantee[1:-1].replace('""', '"')
        for letter, star in re.findall(r"([a-zA-Z])(\*?)", found["rights"]):
            yield Privilege(grantee, LETTERS.get(letter, letter), column, bool(star))


def _options(rights: Iterable[Privilege]) -> dict[_Key, bool]:
    """Index rights by role, privilege and column, with their grant option as value."""
    found: dict[_Key, bool] = {}
    for right in rights:
        key = (right.grantee, right.privilege, right.column)
        found[key] = found.get(key, False) or right.grantable
    return found


def _rights(keys: Iterable[_Key], options: Mapping[_Key, bool] | None = None) -> set[Privilege]:
    return {Privilege(*key, grantable=(options or {}).get(key, False)) for key in keys}


def _listed(rights: Iterable[Privilege]) -> str:
    columns: dict[str, list[str]] = defaultdict(list)
    for right in rights:
        columns[right.privilege].append(right.column)
    words = []
    for privilege in sorted(columns, key=lambda name: (_ORDER.get(name, len(_ORDER)), name)):
        names = [idents.quote(column) for column in columns[privilege] if column]
        if "" in columns[privilege]:
            words.append(privilege)
        if names:
            words.append(f"{privilege} ({', '.join(names)})")
    return ", ".join(words)


def _sentence(label: str, verb: str, whom: str) -> Statement:
    if label.startswith(DEFAULT):
        head, _, objects = label.rpartition(" ON ")
        return Statement(f"ALTER {head} {verb} ON {objects} {whom}")
    return Statement(f"{verb} ON {_target(label)} {whom}")


def _target(label: str) -> str:
    for prefix, other in _RELABELLED.items():
        if label.startswith(prefix):
            # An ordered-set aggregate is called by all its arguments here.
            return other + label.removeprefix(prefix).replace(" ORDER BY ", ", ")
    return label
