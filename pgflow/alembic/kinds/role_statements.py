"""What statements say about roles, put over what the server knows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pglast import ast, enums, parse_sql

from pgflow import idents
from pgflow.alembic.entity import Entity, Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.roles import FLAGS, LISTS, PLAIN, memberships
from pgflow.alembic.reader import Reader
from pgflow.errors import PasswordDeclared, UnknownRole

#: pglast's names of attributes that are not the words of CREATE ROLE.
_WORDS = {"canlogin": "login", "isreplication": "replication"}

_INSTANT = """
    SELECT CASE WHEN isfinite(t)
                THEN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00') END
      FROM (SELECT CAST(:text AS timestamptz) AS t) said
"""


@dataclass
class _Said:
    """What declarations say about one role."""

    created: bool = False
    facts: dict[str, Fact] = field(default_factory=dict)
    settings: dict[str, str | None] = field(default_factory=dict)
    member_of: dict[str, dict[str, bool]] = field(default_factory=dict)
    comment: str | None = None


def declared(
    reader: Reader, statements: Iterable[str], live: Mapping[EntityIdentifier, Entity]
) -> list[Entity]:
    """Return the roles that statements declare, as they should be on this server.

    What no statement speaks of is as it is on the server, and so are memberships that no migration
    granted: roles belong to all databases.

    Args:
        reader: Reads instants as the server does.
        statements: CREATE ROLE, ALTER ROLE, GRANT and REVOKE of roles, COMMENT ON ROLE; others are
            passed over.
        live: What the server holds.

    Returns:
        An entity for each, without mark. Its note "member_of" lists the declared memberships.

    Raises:
        PasswordDeclared: A statement holds a password.
        UnknownRole: A statement changes a role that neither a declaration nor the server knows.
    """
    heard = _Heard(reader)
    for raw in (raw for text in statements for raw in parse_sql(text)):
        heard.statement(raw.stmt)
    return [_settled(name, own, live.get(_identifier(name))) for name, own in heard.roles.items()]


class _Heard:
    """Goes through statements and keeps what they say about roles.

    Nodes are Any: pglast's types make every field optional, which the grammar does not.
    """

    def __init__(self, reader: Reader) -> None:
        self.roles: dict[str, _Said] = {}
        self._reader = reader
        self._listeners: Mapping[type, Callable[[Any], None]] = {
            ast.CreateRoleStmt: self._creation,
            ast.AlterRoleStmt: self._alteration,
            ast.AlterRoleSetStmt: self._setting,
            ast.GrantRoleStmt: self._membership,
            ast.CommentStmt: self._comment,
        }

    def statement(self, node: Any) -> None:
        """Hear one statement; what is not about roles is passed over."""
        listener = self._listeners.get(type(node))
        if listener is not None:
            listener(node)

    def _role(self, name: str) -> _Said:
        return self.roles.setdefault(name, _Said())

    def _creation(self, node: Any) -> None:
        refuse_password(node)
        own = self._role(node.role)
        own.created = True
        if node.stmt_type == enums.RoleStmtType.ROLESTMT_USER:
            own.facts["login"] = True
        self._options(node.role, node.options or ())

    def _alteration(self, node: Any) -> None:
        refuse_password(node)
        self._options(_named(node.role), node.options or ())

    def _comment(self, node: Any) -> None:
        if node.objtype == enums.ObjectType.OBJECT_ROLE:
            self._role(node.object.sval).comment = node.comment or ""

    def _setting(self, node: Any) -> None:
        if node.role is None:
            return
        own, setting, kind = self._role(_named(node.role)), node.setstmt, enums.VariableSetKind
        if setting.kind == kind.VAR_SET_VALUE:
            values = [_value(argument.val) for argument in setting.args]
            if setting.name in LISTS:
                values = [idents.quote(value) for value in values]
            own.settings[setting.name] = ", ".join(values)
        elif setting.kind in (kind.VAR_RESET, kind.VAR_SET_DEFAULT):
            own.settings[setting.name] = None

    def _membership(self, node: Any) -> None:
        options = {option.defname: bool(option.arg.boolval) for option in node.opt or ()}
        for member in node.grantee_roles:
            own = self._role(_named(member))
            for group in node.granted_roles:
                if node.is_grant:
                    own.member_of.setdefault(group.priv_name, {}).update(options)
                else:
                    own.member_of.pop(group.priv_name, None)

    def _options(self, name: str, options: Iterable[Any]) -> None:
        own = self._role(name)
        for option in options:
            word = _WORDS.get(option.defname, option.defname)
            if word in FLAGS:
                own.facts[word] = bool(option.arg.boolval)
            elif word == "connectionlimit":
                own.facts["connection_limit"] = option.arg.ival
            elif word == "validUntil":
                until = self._reader.scalar(_INSTANT, {"text": option.arg.sval})
                own.facts["valid_until"] = until
            elif word == "addroleto":
                own.member_of.update({_named(role): {} for role in option.arg})
            elif word in ("rolemembers", "adminmembers"):
                admin = {"admin": True} if word == "adminmembers" else {}
                for role in option.arg:
                    self._role(_named(role)).member_of[name] = dict(admin)


def _named(role: Any) -> str:
    if role.rolename is None:
        raise UnknownRole(
            "A role is declared as CURRENT_USER or the like, who is another one for everybody who "
            "runs the migration. Name the role.",
            role="CURRENT_USER",
        )
    return str(role.rolename)


def refuse_password(node: Any) -> None:
    """Refuse a CREATE ROLE or ALTER ROLE that sets a password.

    Args:
        node: The parsed statement.

    Raises:
        PasswordDeclared: It holds a password.
    """
    for option in node.options or ():
        if option.defname == "password" and option.arg is not None:
            name = node.role if isinstance(node.role, str) else _named(node.role)
            raise password_declared(name)


def password_declared(role: str) -> PasswordDeclared:
    """Make the error for a role that is declared with a password.

    Args:
        role: The role's name.
    """
    return PasswordDeclared(
        f"Role {role!r} is declared with a password, and migrations are kept in files. Declare "
        "the role without one and set it out of band: with psql's \\password, or from your "
        "secret manager.",
        role=role,
    )


def _value(node: Any) -> str:
    for name in ("sval", "fval", "ival"):
        if hasattr(node, name):
            return str(getattr(node, name))
    return "on" if node.boolval else "off"


def _settled(name: str, said: _Said, live: Entity | None) -> Entity:
    if live is None and not said.created:
        raise UnknownRole(
            f"Role {name!r} is altered, granted a role or commented on, but the server has no such "
            f"role. Declare it as well: CREATE ROLE {idents.quote(name)}.",
            role=name,
        )
    present = PLAIN if live is None else live.facts
    comment = None if live is None else live.comment
    facts = {
        **present,
        **said.facts,
        "settings": _settings(present["settings"], said.settings),
        "member_of": _member_of(said, live),
    }
    return Entity(
        id=_identifier(name),
        facts=facts,
        comment=comment if said.comment is None else said.comment or None,
        notes={"member_of": tuple(sorted(said.member_of))},
    )


def _settings(present: Fact, said: Mapping[str, str | None]) -> Fact:
    pairs = (str(pair).partition("=") for pair in (present if isinstance(present, tuple) else ()))
    merged = {**{name: value for name, _, value in pairs}, **said}
    return tuple(f"{name}={merged[name]}" for name in sorted(merged) if merged[name] is not None)


def _member_of(said: _Said, live: Entity | None) -> tuple[Fact, ...]:
    present = {} if live is None else memberships(live.facts)
    granted = live.mark.grantees if live is not None and live.mark is not None else frozenset()
    found = {name: options for name, options in present.items() if name not in granted}
    for name, options in said.member_of.items():
        _, inherit, set_ = present.get(name, (None, None, None))
        found[name] = (
            options.get("admin", False),
            options.get("inherit", inherit),
            options.get("set", set_),
        )
    return tuple((name, *found[name]) for name in sorted(found))


def _identifier(name: str) -> EntityIdentifier:
    return EntityIdentifier("", name, kind="role")
