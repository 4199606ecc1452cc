"""Roles, which all databases of a server share.

So a role that exists already is left to whoever made it, and one that another database still uses
stays when it is dropped here. The mark of a role also names the database whose migration made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pgflow import idents
from pgflow.alembic import comments
from pgflow.alembic.entity import Address, Entity, Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.literals import dollar, literal
from pgflow.alembic.reader import Reader
from pgflow.alembic.snapshot import Edges, Snapshot
from pgflow.alembic.statement import Change, Statement

_QUERY = """
    SELECT r.rolname::text AS name, r.oid, current_database()::text AS database,
           r.rolsuper AS superuser, r.rolinherit AS inherit, r.rolcreaterole AS createrole,
           r.rolcreatedb AS createdb, r.rolcanlogin AS login, r.rolreplication AS replication,
           r.rolbypassrls AS bypassrls, r.rolconnlimit AS connection_limit,
           CASE WHEN isfinite(r.rolvaliduntil)
                THEN to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')
                END AS valid_until,
           (SELECT array_agg(setting)
              FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
             WHERE s.setrole = r.oid AND s.setdatabase = 0) AS settings,
           {memberships} AS member_of,
           shobj_description(r.oid, 'pg_authid') AS comment
      FROM pg_roles r
     WHERE r.rolname !~ '^pg_'
     ORDER BY 1
"""
_MEMBERSHIPS = """
    (SELECT array_agg(ARRAY[g.name, g.admin, {inherit}, {set}])
       FROM (SELECT pg_get_userbyid(m.roleid)::text AS name,
                    bool_or(m.admin_option)::text AS admin {more}
               FROM pg_auth_members m WHERE m.member = r.oid GROUP BY m.roleid) g)
"""
_MORE = """, bool_or(m.inherit_option)::text AS inherit, bool_or(m.set_option)::text AS "set" """

#: Uses of a role that DROP ROLE does not ask about. The membership that a role gets in what it
#: creates, since PostgreSQL 16, is none.
_USES: Mapping[str, str] = {
    "other roles are members of it": """
        SELECT FROM pg_auth_members m
         WHERE m.roleid = to_regrole({role})
           AND m.member <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
           AND NOT (m.grantor = 10 AND m.admin_option
                    AND coalesce(to_jsonb(m) ->> 'set_option', 'true') = 'false')""",
    "it has settings in another database": """
        SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
         WHERE s.setrole = to_regrole({role}) AND d.datname <> current_database()""",
    "it is connected to another database": """
        SELECT FROM pg_stat_activity
         WHERE usesysid = to_regrole({role}) AND datname <> current_database()""",
}

#: From this version on a membership says whether it is inherited and whether SET ROLE is allowed.
_OPTIONS_VERSION = 160000

#: Attributes that are on or off, with what they are unless somebody says so.
FLAGS: Mapping[str, bool] = {
    "superuser": False,
    "inherit": True,
    "createrole": False,
    "createdb": False,
    "login": False,
    "replication": False,
    "bypassrls": False,
}
#: What a role is like when CREATE ROLE says nothing.
PLAIN: Mapping[str, Fact] = {
    **FLAGS,
    "connection_limit": -1,
    "valid_until": None,
    "settings": (),
    "member_of": (),
}
#: Settings whose value is a list of names, which the server keeps as it is to be written.
LISTS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
)


class _Role:
    """The kind "role"."""

    name: Final = "role"
    rank: Final = 5

    def read(self, reader: Reader, schemas: Sequence[str]) -> Iterable[Entity]:
        """Read all roles of the server but the predefined ones."""
        for row in reader.rows(_query(reader.version)):
            comment, mark = comments.split_shared(row.comment, row.database)
            facts: dict[str, Fact] = {name: getattr(row, name) for name in PLAIN}
            facts["settings"] = tuple(sorted(row.settings or ()))
            facts["member_of"] = tuple(sorted(_membership(entry) for entry in row.member_of or ()))
            yield Entity(
                id=EntityIdentifier("", row.name, kind=self.name),
                facts=facts,
                comment=comment,
                mark=mark,
                address=Address("pg_authid", row.oid),
            )

    def label(self, identifier: EntityIdentifier) -> str:
        """Name a role as COMMENT ON does."""
        return f"ROLE {idents.quote(identifier.name or '')}"

    def create(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Make a role with its memberships and comment; one that exists is left as it is."""
        label = self.label(entity.id)
        body = [" ".join([f"CREATE {label}", *_attributes(PLAIN, entity.facts)])]
        body += _settings(label, PLAIN, entity.facts)
        body += _membership_changes(entity.id, PLAIN, entity.facts, world.version)
        if entity.comment or entity.mark:
            body.append(comments.shared_statement(label, entity.comment, entity.mark))
        notice = literal(f"role {entity.id.name} exists already and is left as it is")
        return (_block(body, "duplicate_object", [f"RAISE NOTICE '%', {notice}"]),)

    def drop(self, entity: Entity, world: Snapshot) -> Sequence[Statement]:
        """Drop a role; one that another database uses stays, and is nobody's from then on."""
        label = self.label(entity.id)
        notice = literal(f"role {entity.id.name} is still used and stays")
        kept = [
            f"RAISE NOTICE '%: %', {notice}, SQLERRM",
            comments.shared_statement(label, entity.comment, None),
        ]
        name = label.removeprefix("ROLE ")
        body = [*_checks(name), f"DROP ROLE IF EXISTS {name}"]
        return (_block(body, "dependent_objects_still_exist", kept),)

    def change(self, old: Entity, new: Entity, worlds: tuple[Snapshot, Snapshot]) -> Change:
        """Alter attributes, settings and memberships."""
        label = self.label(new.id)
        attributes = _attributes(old.facts, new.facts)
        altered = [f"ALTER {label} {' '.join(attributes)}"] if attributes else []
        altered += _settings(label, old.facts, new.facts)
        altered += _membership_changes(new.id, old.facts, new.facts, worlds[1].version)
        return Change(tuple(Statement(text) for text in altered))

    def rename(self, old: EntityIdentifier, new: EntityIdentifier) -> Sequence[Statement]:
        """Rename a role."""
        return (Statement(f"ALTER {self.label(old)} RENAME TO {idents.quote(new.name or '')}"),)


def memberships(facts: Mapping[str, Fact]) -> dict[str, tuple[Fact, ...]]:
    """Return the roles that a role is a member of, with ADMIN, INHERIT and SET of each."""
    stored = facts["member_of"]
    entries = stored if isinstance(stored, tuple) else ()
    return {str(entry[0]): entry[1:] for entry in entries if isinstance(entry, tuple)}


def mentions(entities: Mapping[EntityIdentifier, Entity]) -> Edges:
    """Return which roles must exist before others because those are members of them."""
    found: dict[EntityIdentifier, frozenset[EntityIdentifier]] = {}
    for entity in entities.values():
        if entity.id.kind == ROLE.name:
            groups = (
                EntityIdentifier("", name, kind=ROLE.name) for name in memberships(entity.facts)
            )
            found[entity.id] = frozenset(group for group in groups if group in entities)
    return found


def _query(version: int) -> str:
    if version < _OPTIONS_VERSION:
        found = _MEMBERSHIPS.format(inherit="NULL", set="NULL", more="")
    else:
        found = _MEMBERSHIPS.format(inherit="g.inherit", set='g."set"', more=_MORE)
    return _QUERY.format(memberships=found)


def _membership(entry: Sequence[str | None]) -> tuple[Fact, ...]:
    name, *options = entry
    return (name, *(None if option is None else option == "true" for option in options))


def _attributes(old: Mapping[str, Fact], new: Mapping[str, Fact]) -> list[str]:
    words = [
        name.upper() if new[name] else f"NO{name.upper()}"
        for name in FLAGS
        if new[name] != old[name]
    ]
    if new["connection_limit"] != old["connection_limit"]:
        words.append(f"CONNECTION LIMIT {new['connection_limit']}")
    if new["valid_until"] != old["valid_until"]:
        words.append(f"VALID UNTIL {literal(str(new['valid_until'] or 'infinity'))}")
    return words


def _settings(label: str, old: Mapping[str, Fact], new: Mapping[str, Fact]) -> list[str]:
    before, after = _values(old), _values(new)
    reset = [f"ALTER {label} RESET {name}" for name in before if name not in after]
    changed = [name for name, value in after.items() if before.get(name) != value]
    return reset + [
        f"ALTER {label} SET {name} TO {after[name] if name in LISTS else literal(after[name])}"
        for name in changed
    ]


def _values(facts: Mapping[str, Fact]) -> dict[str, str]:
    stored = facts["settings"]
    pairs = (str(pair).partition("=") for pair in (stored if isinstance(stored, tuple) else ()))
    return {name: value for name, _, value in pairs}


def _membership_changes(
    member: EntityIdentifier, old: Mapping[str, Fact], new: Mapping[str, Fact], version: int
) -> list[str]:
    before, after = memberships(old), memberships(new)
    own = idents.quote(member.name or "")
    found = [f"REVOKE {idents.quote(name)} FROM {own}" for name in before if name not in after]
    for name, (admin, inherit, set_) in after.items():
        if before.get(name) == (admin, inherit, set_):
            continue
        if name in before and before[name][0] and not admin:
            found.append(f"REVOKE ADMIN OPTION FOR {idents.quote(name)} FROM {own}")
        options = _membership_options(admin, inherit, set_, version)
        found.append(f"GRANT {idents.quote(name)} TO {own}{options}")
    return found


def _membership_options(admin: Fact, inherit: Fact, set_: Fact, version: int) -> str:
    if version < _OPTIONS_VERSION:
        return " WITH ADMIN OPTION" if admin else ""
    said = {"ADMIN": admin or None, "INHERIT": inherit, "SET": set_}
    words = [f"{word} {str(on).upper()}" for word, on in said.items() if on is not None]
    return f" WITH {', '.join(words)}" if words else ""


def _checks(role: str) -> list[str]:
    """Write what raises the condition of DROP ROLE for further uses."""
    return [
        f"IF EXISTS ({query.format(role=literal(role)).lstrip()}) THEN\n"
        f"        RAISE dependent_objects_still_exist USING MESSAGE = {literal(use)};\n"
        "    END IF"
        for use, query in _USES.items()
    ]


def _block(body: Sequence[str], condition: str, handler: Sequence[str]) -> Statement:
    """Run statements, and others instead if that raises a condition."""
    lines = [
        "BEGIN",
        *(f"    {line};" for line in body),
        "EXCEPTION",
        f"    WHEN {condition} THEN",
        *(f"        {line};" for line in handler),
        "END",
    ]
    return Statement("DO " + dollar("\n" + "\n".join(lines) + "\n"))


ROLE = _Role()
