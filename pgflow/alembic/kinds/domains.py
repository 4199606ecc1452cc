"""Domains: a base type, a default, NOT NULL, and checks by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic.entity import Entity, Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.renaming import moved
from pgflow.alembic.kinds.replacement import replace_type
from pgflow.alembic.kinds.type_catalogue import called, collate, drop, read_types
from pgflow.alembic.literals import literal
from pgflow.alembic.printing import settled
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Snapshot
from pgflow.alembic.statement import Change, Hazard, Statement

_COLUMNS = """
    format_type(t.typbasetype, t.typtypmod) AS type, t.typnotnull AS not_null,
    pg_get_expr(t.typdefaultbin, 'pg_type'::regclass) AS "default",
    CASE WHEN t.typcollation <> b.typcollation
         THEN (SELECT format('%I.%I', cn.nspname, c.collname)
                 FROM pg_collation c JOIN pg_namespace cn ON cn.oid = c.collnamespace
                WHERE c.oid = t.typcollation) END AS collation,
    (SELECT array_agg(ARRAY[c.conname::text, pg_get_constraintdef(c.oid),
                            obj_description(c.oid, 'pg_constraint')] ORDER BY c.conname)
       FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c') AS checks
"""
_JOINS = "JOIN pg_type b ON b.oid = t.typbasetype"

#: How the server prints a check that it has not tried on existing values.
_UNTRIED = " NOT VALID"

_SCANS = (Hazard.SCANS,)


class _Domain:
    """The kind "domain"."""

    name: Final = "domain"
    rank: Final = 20

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all domains of some schemas."""
        for row, common in read_types(reader, schemas, self.name, "d", _COLUMNS, _JOINS):
            # Of a check that somebody has just dropped there is no text.
            checks = [each for each in row.checks or () if each[1] is not None]
            yield Entity(
                **common,
                facts={
                    "type": row.type,
                    "collation": row.collation,
                    "default": row.default and settled(row.default),
                    "not_null": row.not_null,
                    "checks": tuple((name, settled(definition)) for name, definition, _ in checks),
                    "check_comments": tuple(
                        (name, comment) for name, _, comment in checks if comment is not None
                    ),
                },
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a domain as COMMENT ON does."""
        return f"DOMAIN {called(identifier)}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a domain with its checks."""
        facts = entity.facts
        clauses = [
            f"CREATE {self.label(entity.id)} AS {facts['type']}{collate(facts['collation'])}"
        ]
        if facts["default"] is not None:
            clauses.append(f"DEFAULT {facts['default']}")
        if facts["not_null"]:
            clauses.append("NOT NULL")
        checks = _pairs(facts["checks"])
        clauses.extend(
            f"CONSTRAINT {idents.quote(name)} {definition}"
            for name, definition in checks.items()
            if not definition.endswith(_UNTRIED)
        )
        untried = {name: text for name, text in checks.items() if text.endswith(_UNTRIED)}
        return (
            Statement(" ".join(clauses)),
            *(self._add(entity.id, name, text) for name, text in untried.items()),
            *self._comments(entity.id, {}, _pairs(facts["check_comments"])),
        )

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a domain."""
        return drop("DOMAIN", entity)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change:
        """Alter a domain; another base type or collation puts a new domain in its place.

        So does a new rule that the server cannot try on the values there are, because they are in
        arrays or composite values.
        """
        other = any(old.facts[key] != new.facts[key] for key in ("type", "collation"))
        if other or (self._is_stricter(old, new) and _is_wrapped(old, worlds[0])):
            made = self.create(new, worlds[1])
            return replace_type("DOMAIN", old, new, worlds, made, by_text=False)
        return Change(
            (
                *self._check_changes(old, new),
                *self._default_change(old, new),
                *self._null_change(old, new),
                *self._added_checks(old, new),
                *self._comment_changes(old, new),
            )
        )

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a domain."""
        return moved("DOMAIN", old, new)

    def _is_stricter(self, old: Entity, new: Entity) -> bool:
        tried = (*self._null_change(old, new), *self._check_changes(old, new))
        return any(each.hazards for each in (*tried, *self._added_checks(old, new)))

    def _default_change(self, old: Entity, new: Entity) -> Iterable[Statement]:
        default = new.facts["default"]
        if default != old.facts["default"]:
            what = "DROP DEFAULT" if default is None else f"SET DEFAULT {default}"
            yield Statement(f"ALTER {self.label(new.id)} {what}")

    def _null_change(self, old: Entity, new: Entity) -> Iterable[Statement]:
        if new.facts["not_null"] and not old.facts["not_null"]:
            yield Statement(f"ALTER {self.label(new.id)} SET NOT NULL", _SCANS)
        elif old.facts["not_null"] and not new.facts["not_null"]:
            yield Statement(f"ALTER {self.label(new.id)} DROP NOT NULL")

    def _check_changes(self, old: Entity, new: Entity) -> Iterable[Statement]:
        """Rename, try on existing values, or drop the checks that there are."""
        before, after = _pairs(old.facts["checks"]), _pairs(new.facts["checks"])
        renamed = _renamed(before, after)
        alter = f"ALTER {self.label(new.id)}"
        for name, definition in before.items():
            own = idents.quote(name)
            if name in renamed:
                yield Statement(f"{alter} RENAME CONSTRAINT {own} TO {idents.quote(renamed[name])}")
            elif definition == after.get(name, "") + _UNTRIED:
                yield Statement(f"{alter} VALIDATE CONSTRAINT {own}", _SCANS)
            elif definition != after.get(name):
                yield Statement(f"{alter} DROP CONSTRAINT {own}")

    def _added_checks(self, old: Entity, new: Entity) -> Iterable[Statement]:
        before, after = _pairs(old.facts["checks"]), _pairs(new.facts["checks"])
        kept = set(_renamed(before, after).values())
        for name, definition in after.items():
            present = (definition, definition + _UNTRIED)
            if name not in kept and before.get(name) not in present:
                yield self._add(new.id, name, definition)

    def _comment_changes(self, old: Entity, new: Entity) -> Iterable[Statement]:
        before, after = _pairs(old.facts["checks"]), _pairs(new.facts["checks"])
        renamed = _renamed(before, after)
        present = {
            renamed.get(name, name): comment
            for name, comment in _pairs(old.facts["check_comments"]).items()
            # A check that is made anew has lost its comment.
            if name in renamed or before[name] in (after.get(name), after.get(name, "") + _UNTRIED)
        }
        return self._comments(new.id, present, _pairs(new.facts["check_comments"]))

    def _add(self, identifier: EntityIdentifier, name: str, definition: str) -> Statement:
        hazards = () if definition.endswith(_UNTRIED) else _SCANS
        return Statement(
            f"ALTER {self.label(identifier)} ADD CONSTRAINT {idents.quote(name)} {definition}",
            hazards,
        )

    def _comments(
        self, identifier: EntityIdentifier, before: dict[str, str], after: dict[str, str]
    ) -> Iterable[Statement]:
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                text = literal(after[name]) if name in after else "NULL"
                on = f"{idents.quote(name)} ON {self.label(identifier)}"
                yield Statement(f"COMMENT ON CONSTRAINT {on} IS {text}")


def _pairs(fact: Fact) -> dict[str, str]:
    pairs = fact if isinstance(fact, tuple) else ()
    return {str(pair[0]): str(pair[1]) for pair in pairs if isinstance(pair, tuple)}


def _is_wrapped(domain: Entity, world: Snapshot) -> bool:
    """Tell whether columns hold values of a domain in arrays, composites or ranges."""
    for user, needed in world.depends.items():
        entity = world.get(user)
        if domain.id not in needed or entity is None:
            continue
        if user.kind == "domain" and _is_wrapped(entity, world):
            return True
        if user.kind == "column" and entity.facts["type"] != called(domain.id):
            return True
        if user.kind in ("composite", "range") and any(
            user in others for one, others in world.depends.items() if one.kind == "column"
        ):
            return True
    return False


def _renamed(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Find checks that only have another name, each once."""
    fresh = {text: name for name, text in after.items() if name not in before}
    return {
        name: fresh.pop(text)
        for name, text in before.items()
        if name not in after and text in fresh
    }


DOMAIN = _Domain()
