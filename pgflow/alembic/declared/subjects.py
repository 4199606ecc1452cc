"""What a parsed statement makes and changes; a statement that is not listed is not supported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pglast import ast, enums

from pgflow.alembic.declared.declaration import Subject
from pgflow.alembic.declared.nodes import walk
from pgflow.alembic.identifiers import EntityIdentifier

_Reading = Callable[[Any, str], Subject]

_RELATION_KINDS: Mapping[enums.ObjectType, str] = {
    enums.ObjectType.OBJECT_TABLE: "table",
    enums.ObjectType.OBJECT_VIEW: "view",
    enums.ObjectType.OBJECT_MATVIEW: "materialized_view",
    enums.ObjectType.OBJECT_SEQUENCE: "sequence",
    enums.ObjectType.OBJECT_INDEX: "index",
}
_TYPE_KINDS: Mapping[enums.ObjectType, str] = {
    enums.ObjectType.OBJECT_TYPE: "type",
    enums.ObjectType.OBJECT_DOMAIN: "domain",
    enums.ObjectType.OBJECT_STATISTIC_EXT: "statistics",
}
_ROUTINE_KINDS: Mapping[enums.ObjectType, str] = {
    enums.ObjectType.OBJECT_FUNCTION: "function",
    enums.ObjectType.OBJECT_PROCEDURE: "procedure",
    enums.ObjectType.OBJECT_AGGREGATE: "aggregate",
    enums.ObjectType.OBJECT_ROUTINE: "routine",
}
_PART_KINDS: Mapping[enums.ObjectType, str] = {
    enums.ObjectType.OBJECT_COLUMN: "column",
    enums.ObjectType.OBJECT_TABCONSTRAINT: "constraint",
    enums.ObjectType.OBJECT_TRIGGER: "trigger",
    enums.ObjectType.OBJECT_POLICY: "policy",
    enums.ObjectType.OBJECT_RULE: "rule",
}
_GLOBAL_KINDS: Mapping[enums.ObjectType, str] = {
    enums.ObjectType.OBJECT_EXTENSION: "extension",
    enums.ObjectType.OBJECT_ROLE: "role",
}
#: ALTER TABLE's actions that need what ranks after tables: triggers, rules, indexes.
_LATE_ACTIONS = {
    enums.AlterTableType.AT_EnableTrig,
    enums.AlterTableType.AT_EnableAlwaysTrig,
    enums.AlterTableType.AT_EnableReplicaTrig,
    enums.AlterTableType.AT_DisableTrig,
    enums.AlterTableType.AT_EnableTrigAll,
    enums.AlterTableType.AT_DisableTrigAll,
    enums.AlterTableType.AT_EnableTrigUser,
    enums.AlterTableType.AT_DisableTrigUser,
    enums.AlterTableType.AT_EnableRule,
    enums.AlterTableType.AT_EnableAlwaysRule,
    enums.AlterTableType.AT_EnableReplicaRule,
    enums.AlterTableType.AT_DisableRule,
    enums.AlterTableType.AT_ReplicaIdentity,
    enums.AlterTableType.AT_ClusterOn,
}


class Unsupported(Exception):
    """A statement that declarations may not hold; its text says why."""


def subject(node: ast.Node, default_schema: str) -> Subject:
    """Say what a statement makes and changes.

    Args:
        node: The parsed statement.
        default_schema: The schema of names that are written without one.

    Returns:
        What it does.

    Raises:
        Unsupported: Declarations cannot hold such a statement.
    """
    reading = _READINGS.get(type(node))
    if reading is None:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__.removesuffix("Stmt"))
        raise Unsupported(words.upper())
    return reading(node, default_schema)


def _relation(var: Any, default: str) -> tuple[str, str]:
    return var.schemaname or default, var.relname


def _name(names: Iterable[Any], default: str) -> tuple[str, str]:
    parts = [part.sval for part in names]
    return (default, parts[0]) if len(parts) == 1 else (parts[-2], parts[-1])


def _made(
    kind: str, rank: int, name: tuple[str, str], roles: Iterable[str] = (), **more: Any
) -> Subject:
    made = EntityIdentifier(name[0], name[1], kind=kind)
    return Subject(rank, makes=made, roles=frozenset(roles), **more)


def _part(kind: str, rank: int, name: str, on: tuple[str, str], **more: Any) -> Subject:
    made = EntityIdentifier(on[0], name, kind=kind, table=on[1])
    return Subject(rank, makes=made, locks=(on, *more.pop("locks", ())), **more)


def _role_names(specs: Iterable[Any] | None) -> frozenset[str]:
    return frozenset(spec.rolename for spec in specs or () if spec.rolename)


def _create_schema(node: Any, _default: str) -> Subject:
    if node.schemaElts:
        raise Unsupported("a CREATE SCHEMA with objects in it (declare them one by one)")
    role = _role_names([node.authrole] if node.authrole else [])
    name = node.schemaname or next(iter(role), None)
    if name is None:
        raise Unsupported("a CREATE SCHEMA without a name")
    return Subject(10, makes=EntityIdentifier(name, None, kind="schema"), roles=role)


def _create_table(node: Any, default: str) -> Subject:
    if node.relation.relpersistence == "t":
        raise Unsupported("a temporary table")
    parents = [_relation(parent, default) for parent in node.inhRelations or ()]
    locks = (*parents, *_foreign_keys(node, default))
    return _made("table", 50, _relation(node.relation, default), locks=tuple(locks))


def _foreign_keys(node: Any, default: str) -> list[tuple[str, str]]:
    return [
        _relation(found.pktable, default)
        for found in walk(node)
        if isinstance(found, ast.Constraint) and found.pktable is not None
    ]


def _create_table_as(node: Any, default: str) -> Subject:
    if node.objtype != enums.ObjectType.OBJECT_MATVIEW:
        raise Unsupported("a CREATE TABLE AS (it is made of data: declare its columns)")
    return _made("materialized_view", 72, _relation(node.into.rel, default))


def _view(node: Any, default: str) -> Subject:
    if node.view.relpersistence == "t":
        raise Unsupported("a temporary view")
    return _made("view", 70, _relation(node.view, default))


def _sequence(node: Any, default: str) -> Subject:
    if node.sequence.relpersistence == "t":
        raise Unsupported("a temporary sequence")
    return _made("sequence", 30, _relation(node.sequence, default))


def _index(node: Any, default: str) -> Subject:
    on = _relation(node.relation, default)
    if node.concurrent:
        raise Unsupported("CREATE INDEX CONCURRENTLY (migrations decide how an index is built)")
    if not node.idxname:
        raise Unsupported("an index without a name")
    return _part("index", 60, node.idxname, on)


def _statistics(node: Any, default: str) -> Subject:
    if not node.defnames:
        raise Unsupported("statistics without a name")
    on = [r for r in node.relations if isinstance(r, ast.RangeVar)]
    schema, name = _name(node.defnames, default)
    table = _relation(on[0], default)
    made = EntityIdentifier(schema, name, kind="statistics", table=table[1])
    return Subject(62, makes=made, locks=(table,))


def _routine(node: Any, default: str) -> Subject:
    kind = "procedure" if node.is_procedure else "function"
    schema, name = _name(node.funcname, default)
    inputs = [p.argType for p in node.parameters or () if _is_input(p)]
    made = EntityIdentifier(schema, name, kind=kind, arguments=_types(inputs))
    return Subject(40, makes=made)


def _is_input(parameter: Any) -> bool:
    modes = enums.FunctionParameterMode
    return parameter.mode not in (modes.FUNC_PARAM_OUT, modes.FUNC_PARAM_TABLE)


def _types(types: Iterable[Any]) -> str:
    """Print types in one spelling; the parser has turned `int` into `pg_catalog.int4` before."""
    return ", ".join(_type(given) for given in types)


def _type(given: Any) -> str:
    names = [part.sval for part in given.names]
    name = ".".join(names[1:] if names[0] == "pg_catalog" else names)
    return name + "[]" * len(given.arrayBounds or ())


def _define(node: Any, default: str) -> Subject:
    if node.kind != enums.ObjectType.OBJECT_AGGREGATE:
        what = node.kind.name.removeprefix("OBJECT_").lower()
        raise Unsupported(f"a CREATE statement for this kind of object ({what})")
    schema, name = _name(node.defnames, default)
    parameters = (node.args or ((),))[0] or ()
    types = _types(p.argType for p in parameters)
    made = EntityIdentifier(schema, name, kind="aggregate", arguments=types)
    return Subject(41, makes=made)


def _trigger(node: Any, default: str) -> Subject:
    others = [_relation(node.constrrel, default)] if node.constrrel else []
    return _part(
        "trigger", 80, node.trigname, _relation(node.relation, default), locks=tuple(others)
    )


def _policy(node: Any, default: str) -> Subject:
    roles = _role_names(node.roles)
    return _part("policy", 85, node.policy_name, _relation(node.table, default), roles=roles)


def _rule(node: Any, default: str) -> Subject:
    return _part("rule", 75, node.rulename, _relation(node.relation, default))


def _extension(node: Any, _default: str) -> Subject:
    return Subject(15, makes=EntityIdentifier("", node.extname, kind="extension"))


def _role(node: Any, _default: str) -> Subject:
    others: set[str] = set()
    for option in node.options or ():
        if isinstance(option.arg, tuple):
            others |= _role_names(option.arg)
    made = EntityIdentifier("", node.role, kind="role")
    return Subject(5, makes=made, roles=frozenset(others))


def _alter_role(node: Any, _default: str) -> Subject:
    # Roles are read from their statements and never tried out, so all of them only need a place.
    name = node.role.rolename
    return Subject(6, alters=(EntityIdentifier("", name, kind="role"),), roles=frozenset({name}))


def _grant_role(node: Any, _default: str) -> Subject:
    granted = {privilege.priv_name for privilege in node.granted_roles}
    members = _role_names(node.grantee_roles)
    alters = tuple(EntityIdentifier("", name, kind="role") for name in sorted(members))
    return Subject(6, alters=alters, roles=frozenset(granted | members))


def _grant(node: Any, default: str) -> Subject:
    roles = _role_names(node.grantees)
    objects: list[EntityIdentifier] = []
    if node.targtype == enums.GrantTargetType.ACL_TARGET_OBJECT:
        objects = [_object(node.objtype, found, default) for found in node.objects]
    return Subject(90, alters=tuple(objects), roles=roles)


def _default_privileges(node: Any, _default: str) -> Subject:
    roles = _role_names(node.action.grantees)
    for option in node.options or ():
        if option.defname == "roles":
            roles |= _role_names(option.arg)
    return Subject(12, roles=roles)


def _comment(node: Any, default: str) -> Subject:
    if node.objtype == enums.ObjectType.OBJECT_DOMCONSTRAINT:
        kind, name = "domain", _name(node.object[0].names, default)
        return Subject(92, alters=(EntityIdentifier(*name, kind=kind),))
    return Subject(92, alters=(_object(node.objtype, node.object, default),))


def _object(kind: enums.ObjectType, found: Any, default: str) -> EntityIdentifier:
    """Name an object as GRANT, COMMENT and ALTER ... OWNER give it."""
    if isinstance(found, ast.RangeVar):
        return EntityIdentifier(*_relation(found, default), kind=_RELATION_KINDS[kind])
    if kind in _ROUTINE_KINDS:
        schema, name = _name(found.objname, default)
        types = None if found.args_unspecified else _types(_input_types(found))
        return EntityIdentifier(schema, name, kind=_ROUTINE_KINDS[kind], arguments=types)
    if kind in _PART_KINDS:
        schema, table = _name(found[:-1], default)
        return EntityIdentifier(schema, found[-1].sval, kind=_PART_KINDS[kind], table=table)
    if kind == enums.ObjectType.OBJECT_SCHEMA:
        return EntityIdentifier(found.sval, None, kind="schema")
    if kind in _GLOBAL_KINDS:
        return EntityIdentifier("", found.sval, kind=_GLOBAL_KINDS[kind])
    names = found.names if isinstance(found, ast.TypeName) else found
    known = {**_RELATION_KINDS, **_TYPE_KINDS}
    if kind not in known or not isinstance(names, tuple):
        what = kind.name.removeprefix("OBJECT_").lower().replace("_", " ")
        raise Unsupported(f"a statement about a {what}")
    return EntityIdentifier(*_name(names, default), kind=known[kind])


def _input_types(found: Any) -> list[Any]:
    return list(found.objargs or ())


def _alter_table(node: Any, default: str) -> Subject:
    if node.objtype not in _RELATION_KINDS:
        what = node.objtype.name.removeprefix("OBJECT_").lower().replace("_", " ")
        raise Unsupported(f"an ALTER {what.upper()}")
    on = _relation(node.relation, default)
    dropped = [c for c in node.cmds if c.subtype.name.startswith("AT_Drop")]
    if any(c.subtype.name in ("AT_DropColumn", "AT_DropConstraint") for c in dropped):
        raise Unsupported("a statement that drops something (declare only what is to be there)")
    late = any(command.subtype in _LATE_ACTIONS for command in node.cmds)
    altered = EntityIdentifier(*on, kind=_RELATION_KINDS[node.objtype])
    roles = _role_names(c.newowner for c in node.cmds if c.newowner is not None)
    others = tuple(_foreign_keys(node, default)) + tuple(_attached(node, default))
    rank = _rank_of_alteration(node.objtype, late)
    return Subject(rank, alters=(altered,), locks=(on, *others), roles=roles)


def _attached(node: Any, default: str) -> list[tuple[str, str]]:
    return [
        _relation(command.def_.name, default)
        for command in node.cmds
        if isinstance(command.def_, ast.PartitionCmd) and command.def_.name is not None
    ]


def _rank_of_alteration(kind: enums.ObjectType, late: bool) -> int:
    if kind == enums.ObjectType.OBJECT_TABLE:
        return 82 if late else 55
    return {
        enums.ObjectType.OBJECT_SEQUENCE: 56,
        enums.ObjectType.OBJECT_INDEX: 61,
    }.get(kind, 73)


def _alter_owner(node: Any, default: str) -> Subject:
    roles = _role_names([node.newowner])
    return Subject(88, alters=(_object(node.objectType, node.object, default),), roles=roles)


def _alter_sequence(node: Any, default: str) -> Subject:
    name = _relation(node.sequence, default)
    return Subject(56, alters=(EntityIdentifier(*name, kind="sequence"),), locks=(name,))


def _alter_routine(node: Any, default: str) -> Subject:
    return Subject(42, alters=(_object(node.objtype, node.func, default),))


def _alter_enum(_node: Any, _default: str) -> Subject:
    raise Unsupported("ALTER TYPE ... ADD VALUE (declare the whole type; migrations add the value)")


_READINGS: Mapping[type, _Reading] = {
    ast.CreateSchemaStmt: _create_schema,
    ast.CreateStmt: _create_table,
    ast.CreateTableAsStmt: _create_table_as,
    ast.ViewStmt: _view,
    ast.CreateSeqStmt: _sequence,
    ast.IndexStmt: _index,
    ast.CreateStatsStmt: _statistics,
    ast.CreateFunctionStmt: _routine,
    ast.DefineStmt: _define,
    ast.CreateTrigStmt: _trigger,
    ast.CreatePolicyStmt: _policy,
    ast.RuleStmt: _rule,
    ast.CreateExtensionStmt: _extension,
    ast.CreateRoleStmt: _role,
    ast.AlterRoleStmt: _alter_role,
    ast.AlterRoleSetStmt: _alter_role,
    ast.GrantRoleStmt: _grant_role,
    ast.GrantStmt: _grant,
    ast.AlterDefaultPrivilegesStmt: _default_privileges,
    ast.CommentStmt: _comment,
    ast.CreateEnumStmt: lambda n, d: _made("enum", 20, _name(n.typeName, d)),
    ast.CreateDomainStmt: lambda n, d: _made("domain", 20, _name(n.domainname, d)),
    ast.CompositeTypeStmt: lambda n, d: _made("composite", 20, _relation(n.typevar, d)),
    ast.CreateRangeStmt: lambda n, d: _made("range", 20, _name(n.typeName, d)),
    ast.AlterTableStmt: _alter_table,
    ast.AlterOwnerStmt: _alter_owner,
    ast.AlterSeqStmt: _alter_sequence,
    ast.AlterFunctionStmt: _alter_routine,
    ast.AlterEnumStmt: _alter_enum,
}
