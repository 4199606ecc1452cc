"""Schemas, roles and grants of sqlalchemy-declarative-extensions, as SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy_declarative_extensions.dialects.postgresql import (
    DefaultGrantStatement,
    GrantStatement,
    GrantTypes,
)
from sqlalchemy_declarative_extensions.role.generic import role_name

from pgflow import idents
from pgflow.alembic.declared.routines import qualified
from pgflow.alembic.kinds.role_statements import password_declared
from pgflow.alembic.literals import literal

_OPTIONS = ("superuser", "createdb", "createrole", "login", "replication", "bypass_rls")


def schema_sql(schema: Any) -> str:
    """Write CREATE SCHEMA; a schema with `use_role` belongs to that role."""
    owner = f" AUTHORIZATION {_role(role_name(schema.use_role))}" if schema.use_role else ""
    return f"CREATE SCHEMA {idents.quote(schema.name)}{owner}"


def role_sql(role: Any) -> str:
    """Write CREATE ROLE.

    Raises:
        PasswordDeclared: The role is declared with a password; no migration ever holds one.
    """
    if getattr(role, "password", None) is not None:
        raise password_declared(role.name)
    words = [option.replace("_", "").upper() for option in _OPTIONS if getattr(role, option, False)]
    if getattr(role, "inherit", True) is False:
        words.append("NOINHERIT")
    limit = getattr(role, "connection_limit", None)
    words += [f"CONNECTION LIMIT {int(limit)}"] if limit is not None else []
    until = getattr(role, "valid_until", None)
    words += [f"VALID UNTIL {literal(until.isoformat())}"] if until is not None else []
    groups = [idents.quote(role_name(group)) for group in role.in_roles or ()]
    words += [f"IN ROLE {', '.join(groups)}"] if groups else []
    return " ".join([f"CREATE ROLE {idents.quote(role.name)}", *words])


def grant_sql(statement: GrantStatement[Any] | DefaultGrantStatement[Any]) -> str:
    """Write GRANT, REVOKE or ALTER DEFAULT PRIVILEGES."""
    if isinstance(statement, DefaultGrantStatement):
        return _default_grant(statement)
    targets = ", ".join(_target(statement.grant_type, target) for target in statement.targets)
    on = f"{statement.grant_type.value} {targets}"
    return _grant(statement.grant, statement.grant_type, on)


def _default_grant(statement: DefaultGrantStatement[Any]) -> str:
    default = statement.default_grant
    parts = ["ALTER DEFAULT PRIVILEGES"]
    if default.target_role:
        parts.append(f"FOR ROLE {_role(default.target_role)}")
    if default.in_schemas:
        parts.append(f"IN SCHEMA {', '.join(map(idents.quote, default.in_schemas))}")
    on = f"{default.grant_type.value}S"
    return " ".join([*parts, _grant(statement.grant, default.grant_type, on)])


def _grant(grant: Any, grant_type: Any, on: str) -> str:
    variants = grant_type.to_variants().from_strings(grant.grants)
    privileges = ", ".join(variant.value for variant in variants)
    if grant.revoke_:
        return f"REVOKE {privileges} ON {on} FROM {_role(grant.target_role)}"
    option = " WITH GRANT OPTION" if grant.grant_option else ""
    return f"GRANT {privileges} ON {on} TO {_role(grant.target_role)}{option}"


def _target(grant_type: GrantTypes, target: str) -> str:
    if grant_type == GrantTypes.schema:
        return idents.quote(target)
    name, bracket, arguments = target.partition("(")
    return qualified(name.strip()) + bracket + arguments


def _role(name: str) -> str:
    return "PUBLIC" if name.lower() == "public" else idents.quote(name)
