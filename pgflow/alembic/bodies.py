"""What SQL and PL/pgSQL texts name: relations, functions and types, for the order of operations.

Nothing here asks a database, and nothing is refused: what cannot be parsed is searched for names.
A name that is in truth a variable's or an alias' does no harm; it is looked up and not found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pglast.parser import ParseError, parse_sql_json

from pgflow.alembic import plpgsql
from pgflow.alembic.entity import Entity

#: A schema, None where the text names none, and a name in it.
Name: TypeAlias = tuple[str | None, str]

_Names: TypeAlias = set[Name]

#: Fields of a statement that hold the name of what it makes.
_MADE = {
    "ViewStmt": "view",
    "CreateStmt": "relation",
    "CreateSeqStmt": "sequence",
    "CompositeTypeStmt": "typevar",
    "CreateEnumStmt": "typeName",
    "CreateRangeStmt": "typeName",
    "CreateDomainStmt": "domainname",
    "CreateFunctionStmt": "funcname",
    "CreateTableAsStmt": "into",
    "CreateStatsStmt": "defnames",
    "DefineStmt": "defnames",
}
_WRITES = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")

#: Functions whose constant argument is the name of a sequence or relation.
_TAKES_RELATION = ("nextval", "currval", "setval", "pg_get_serial_sequence")
_REGISTRIES = {
    "regclass": "relations",
    "regproc": "functions",
    "regprocedure": "functions",
    "regtype": "types",
}


@dataclass(frozen=True, slots=True)
class Mentioned:
    """What a text names.

    Attributes:
        relations: Tables, views and sequences.
        functions: Functions, procedures and aggregates.
        types: Types; a table's name too where it is used as one.
    """

    relations: frozenset[Name] = frozenset()
    functions: frozenset[Name] = frozenset()
    types: frozenset[Name] = frozenset()


@dataclass
class _Found:
    relations: _Names = field(default_factory=set)
    functions: _Names = field(default_factory=set)
    types: _Names = field(default_factory=set)

    def frozen(self) -> Mentioned:
        kinds = (self.relations, self.functions, self.types)
        return Mentioned(*(frozenset(n for n in names if n[0] != "pg_catalog") for names in kinds))


def references(sql: str) -> Mentioned:
    """Find what a statement names, in its body too if it makes a function.

    Args:
        sql: One or several statements; what they make themselves is not among the names.
    """
    found = _Found()
    _search_sql(sql, found)
    return found.frozen()


def mentions(entity: Entity, language: str, text: str) -> Mentioned:
    """Find what the body of a function names.

    Args:
        entity: The function or procedure; its parameters are needed to read PL/pgSQL.
        language: "sql" or "plpgsql"; the body of another language is not looked into.
        text: The body.
    """
    found = _Found()
    if language == "sql":
        _search_sql(text, found)
    elif language == "plpgsql":
        opening = "CREATE PROCEDURE f" if entity.id.kind == "procedure" else "CREATE FUNCTION f"
        _search_plpgsql(_routine(f"{opening}{entity.facts.get('definition', '()')}"), text, found)
    return found.frozen()


def _routine(sql: str) -> dict[str, Any]:
    try:
        statement = json.loads(parse_sql_json(sql))["stmts"][0]["stmt"]
    except (ParseError, LookupError, ValueError, RecursionError):
        return {}
    routine: dict[str, Any] = statement.get("CreateFunctionStmt", {})
    return routine


def _search_sql(sql: str, found: _Found) -> None:
    try:
        tree = json.loads(parse_sql_json(sql))
    except (ParseError, ValueError, RecursionError):
        _search_tokens(sql, found)
    else:
        _search_tree(tree, found)


def _search_tree(tree: Any, found: _Found) -> None:
    """Walk over a statement's tree, with the names of WITH queries that are in sight."""
    no_names: frozenset[str] = frozenset()
    stack: list[tuple[Any, frozenset[str]]] = [(tree, no_names)]
    while stack:
        node, hidden = stack.pop()
        if isinstance(node, list):
            stack.extend((item, hidden) for item in node)
        elif isinstance(node, dict):
            _note(node, hidden, found)
            stack.extend(_children(node, hidden))


def _children(node: dict[str, Any], hidden: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    clause = node.get("withClause")
    if clause is not None:
        queries = [item["CommonTableExpr"] for item in clause["ctes"]]
        names = [query["ctename"] for query in queries]
        for number, query in enumerate(queries):
            # Without RECURSIVE a query sees those before it, and not itself.
            seen = names if clause.get("recursive") else names[:number]
            yield query["ctequery"], hidden.union(seen)
        hidden = hidden.union(names)
    for key, value in node.items():
        if key == "withClause" or not isinstance(value, dict | list):
            continue
        if key in _MADE and isinstance(value, dict):
            value = {name: part for name, part in value.items() if name != _MADE[key]}
        if key in _WRITES and isinstance(value, dict):
            # What is written to is a table, also if a WITH query has the same name.
            yield value.get("relation"), frozenset()
            value = {name: part for name, part in value.items() if name != "relation"}
        yield value, hidden


def _note(node: dict[str, Any], hidden: frozenset[str], found: _Found) -> None:
    """Take down what one node names; nodes are known by their fields."""
    if isinstance(node.get("relname"), str):
        schema, name = node.get("schemaname"), node["relname"]
        if schema is not None or name not in hidden:
            found.relations.add((schema, name))
    elif "funcname" in node:
        _note_call(node, found)
    elif "names" in node and "typemod" in node:
        _note_type(node, found)
    elif "objname" in node:
        found.functions.update(_name(node["objname"]))
    elif "CreateFunctionStmt" in node:
        _note_body(node["CreateFunctionStmt"], found)
    elif "CommentStmt" in node or "GrantStmt" in node:
        _note_objects(node.get("CommentStmt") or node["GrantStmt"], found)
    elif "TypeCast" in node:
        _note_cast(node["TypeCast"], found)
    elif "DefElem" in node:
        _note_option(node["DefElem"], found)


def _note_call(node: dict[str, Any], found: _Found) -> None:
    for schema, name in _name(node["funcname"]):
        found.functions.add((schema, name))
        if name in _TAKES_RELATION:
            for argument in (node.get("args") or [])[:1]:
                found.relations.update(_spelled(_constant(argument)))


def _note_type(node: dict[str, Any], found: _Found) -> None:
    names = _strings(node["names"])
    if node.get("pct_type"):
        # The type of a column, which is named last.
        found.relations.update(_pair(names[:-1]))
    else:
        found.types.update(_pair(names))


def _note_cast(node: dict[str, Any], found: _Found) -> None:
    names = _strings(node.get("typeName", {}).get("names", []))
    registry = _REGISTRIES.get(names[-1]) if names else None
    if registry is not None:
        constant = _constant(node.get("arg"))
        getattr(found, registry).update(_spelled(constant.partition("(")[0]))


def _note_option(node: dict[str, Any], found: _Found) -> None:
    """Take down the functions that CREATE AGGREGATE and CREATE TYPE list as if they were types."""
    value = node.get("arg")
    if isinstance(value, dict) and "TypeName" in value:
        found.functions.update(_name(value["TypeName"].get("names", [])))
    elif isinstance(value, dict) and "List" in value and node.get("defname") == "owned_by":
        found.relations.update(_pair(_strings(value["List"].get("items", []))[:-1]))


def _note_objects(node: dict[str, Any], found: _Found) -> None:
    """Take down what COMMENT and GRANT are about where the tree has bare lists of names."""
    listed = node.get("objects") or [node.get("object")]
    kind = node.get("objtype", "")
    for item in listed:
        names = (
            _strings(item["List"].get("items", []))
            if isinstance(item, dict) and "List" in item
            else []
        )
        if kind in (
            "OBJECT_COLUMN",
            "OBJECT_TRIGGER",
            "OBJECT_POLICY",
            "OBJECT_RULE",
            "OBJECT_TABCONSTRAINT",
        ):
            names = names[:-1]
        if kind in ("OBJECT_TYPE", "OBJECT_DOMAIN"):
            found.types.update(_pair(names))
        elif not kind.endswith("SCHEMA"):
            found.relations.update(_pair(names))


def _note_body(routine: dict[str, Any], found: _Found) -> None:
    options = {
        item["DefElem"]["defname"]: item["DefElem"].get("arg")
        for item in routine.get("options", [])
    }
    language = next(iter(_strings([options.get("language")])), "sql").lower()
    body = options.get("as")
    texts = (
        _strings(body["List"].get("items", [])) if isinstance(body, dict) and "List" in body else []
    )
    if not texts:
        return
    if language == "sql":
        _search_sql(texts[0], found)
    elif language == "plpgsql":
        _search_plpgsql(routine, texts[0], found)


def _search_plpgsql(routine: dict[str, Any], text: str, found: _Found) -> None:
    body = plpgsql.read(routine, text)
    if body is None:
        _search_tokens(text, found)
        return
    for statement in body.statements:
        _search_sql(statement, found)
    for expression in body.dynamic:
        _search_sql(expression, found)
        for constant in _constants(expression):
            _search_sql(constant, found)
    for names, reference in body.declared:
        if not reference:
            found.types.update(_pair(names))
        else:
            found.relations.update(_pair(names if reference == "rowtype" else names[:-1]))


def _constants(expression: str) -> Iterator[str]:
    """Give the string constants of an expression: what EXECUTE runs, or puts together."""
    try:
        stack = [json.loads(parse_sql_json(expression))]
    except (ParseError, ValueError, RecursionError):
        return
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            constant = _constant(node)
            if constant:
                yield constant
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


#: A name of two parts, and the parenthesis after it if it is called.
_PAIR = re.compile(r'([^\W\d][\w$]*|"(?:[^"]|"")+")\s*\.\s*([^\W\d][\w$]*|"(?:[^"]|"")+")\s*(\()?')
_BARE = re.compile(
    r'\b(?:from|join|into|update|table|only)\s+([^\W\d][\w$]*|"(?:[^"]|"")+")(?![\w$]|\s*\.)',
    re.IGNORECASE,
)


def _search_tokens(text: str, found: _Found) -> None:
    """Search a text that cannot be parsed for what looks like a name."""
    for schema, name, called in _PAIR.findall(text):
        pair = (*plpgsql.words(schema), *plpgsql.words(name))
        found.relations.update(_pair(pair))
        (found.functions if called else found.types).update(_pair(pair))
    for name in _BARE.findall(text):
        found.relations.update(_pair(tuple(plpgsql.words(name))))


def _constant(node: Any) -> str:
    """Return the text of a string constant, with or without a cast; "" for anything else."""
    if isinstance(node, dict) and "TypeCast" in node:
        node = node["TypeCast"].get("arg")
    constant = node.get("A_Const") if isinstance(node, dict) else None
    value = constant.get("sval") if isinstance(constant, dict) else None
    text: str = value.get("sval", "") if isinstance(value, dict) else ""
    return text


def _strings(nodes: Iterable[Any]) -> list[str]:
    found = (node.get("String") for node in nodes if isinstance(node, dict))
    return [node.get("sval", "") for node in found if isinstance(node, dict)]


def _name(nodes: Iterable[Any]) -> frozenset[Name]:
    return _pair(_strings(nodes))


def _spelled(text: str) -> frozenset[Name]:
    return _pair(tuple(plpgsql.words(text)))


def _pair(names: Sequence[str]) -> frozenset[Name]:
    """Return the schema and name of a name of one, two or (with the database) three parts."""
    if not names:
        return frozenset()
    return frozenset({(names[-2] if len(names) > 1 else None, names[-1])})
