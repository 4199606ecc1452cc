"""Everything that a MetaData declares, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pglast import ast
from sqlalchemy import MetaData
from sqlalchemy.engine import Dialect

from pgflow.alembic.concealment import concealed
from pgflow.alembic.declared.database_objects import object_declarations
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.declared.mentions import Mentions, Register, named_schemas
from pgflow.alembic.declared.statements import declared_texts, parse
from pgflow.alembic.declared.tables import table_declarations
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.errors import DeclaredTwice, InvalidDeclaration


@dataclass(frozen=True)
class DeclaredWorld:
    """All declarations of a MetaData.

    Attributes:
        declarations: The statements, in the order of declaration.
        mentions: What each of them names of the others.
        register: The names of all declared objects.
        schemas: The schemas in which they are, and those that are declared themselves.
        stand_ins: Relations of others, as (schema, name), that declared objects are part of or
            point to. Only copies of them may be locked.
    """

    declarations: Sequence[Declaration]
    mentions: Sequence[Mentions]
    register: Register
    schemas: frozenset[str]
    stand_ins: Mapping[tuple[str, str], Declaration]

    def of_kind(self, *kinds: str) -> Iterator[Declaration]:
        """Give the declarations that make an object of some kinds."""
        for declaration in self.declarations:
            made = declaration.subject.makes
            if made is not None and made.kind in kinds:
                yield declaration

    def makes(self, identifier: EntityIdentifier) -> bool:
        """Tell whether a declaration makes an object; overloads of a function are one here."""
        return _without_arguments(identifier) in self._made

    @cached_property
    def _made(self) -> frozenset[EntityIdentifier]:
        made = (d.subject.makes for d in self.declarations)
        return frozenset(_without_arguments(m) for m in made if m is not None)


def declared_world(
    metadata: MetaData | Sequence[MetaData], dialect: Dialect, path: Sequence[str]
) -> DeclaredWorld:
    """Collect what a MetaData declares, and refuse what contradicts itself.

    Args:
        metadata: The MetaData with tables, sde objects and declared SQL; or several, which may
            share what they declare by the same statement, such as a schema.
        dialect: The dialect of the connection.
        path: The schemas of the connection's search path; names without schema are in the first.

    Returns:
        All declarations.

    Raises:
        InvalidDeclaration: A declaration is no valid SQL, or is about what is not declared.
        DeclaredTwice: Two declarations make the same object.
    """
    default = path[0]
    declarations: list[Declaration] = []
    for each in (metadata,) if isinstance(metadata, MetaData) else metadata:
        known = {declaration.sql for declaration in declarations}
        found = list(table_declarations(each, dialect, default))
        found += object_declarations(each, dialect, default)
        for text in declared_texts(each):
            found += parse(text.sql, text.origin, default, text.renamed_from)
        declarations += [declaration for declaration in found if declaration.sql not in known]
    declarations = _without_implied(declarations)
    _refuse_twins(declarations)
    register = Register(declarations, path)
    _refuse_strangers(declarations, register)
    stand_ins = _stand_ins(declarations, register)
    for schema, name in stand_ins:
        register.add(EntityIdentifier(schema, name, kind="table"))
    mentions = [register.mentions(declaration) for declaration in declarations]
    schemas = frozenset(_schemas(declarations, stand_ins))
    return DeclaredWorld(declarations, mentions, register, schemas, stand_ins)


def _schemas(
    declarations: Sequence[Declaration], stand_ins: Collection[tuple[str, str]]
) -> Iterator[str]:
    for declaration in declarations:
        yield from named_schemas(declaration)
        made = declaration.subject.makes
        # What is only attached to other people's tables does not make their schema a declared one.
        if made is not None and made.schema and (made.schema, made.table) not in stand_ins:
            yield made.schema


def _without_arguments(identifier: EntityIdentifier) -> EntityIdentifier:
    return replace(identifier, arguments=None, phase=None)


def _stand_ins(
    declarations: Sequence[Declaration], register: Register
) -> dict[tuple[str, str], Declaration]:
    found: dict[tuple[str, str], Declaration] = {}
    for declaration in declarations:
        for schema, name in declaration.subject.locks:
            if register.find(schema, name, "relation") is None:
                found.setdefault((schema, name), declaration)
    return found


def _without_implied(declarations: Sequence[Declaration]) -> list[Declaration]:
    """Leave out schemas and extensions that say no more than their name where others make them.

    A schema is on the MetaData for each table in it, an extension for each plugin that needs it,
    whether or not somebody declares it in SQL.
    """
    made = Counter(each.subject.makes for each in declarations)
    kept = []
    for declaration in declarations:
        if _says_only_a_name(declaration) and made[declaration.subject.makes] > 1:
            made[declaration.subject.makes] -= 1
        else:
            kept.append(declaration)
    return kept


def _says_only_a_name(declaration: Declaration) -> bool:
    node = declaration.node
    if isinstance(node, ast.CreateSchemaStmt):
        return node.authrole is None
    return isinstance(node, ast.CreateExtensionStmt) and not node.options


def _refuse_twins(declarations: Sequence[Declaration]) -> None:
    seen: dict[EntityIdentifier, Declaration] = {}
    for declaration in declarations:
        made = declaration.subject.makes
        if made is None:
            continue
        first = seen.setdefault(_place(made), declaration)
        if first is not declaration:
            raise DeclaredTwice(
                f"{made} is declared twice: by {first.origin} and by {declaration.origin}. "
                "Declare it once.",
                name=str(made),
                origins=(first.origin, declaration.origin),
            )


def _place(made: EntityIdentifier) -> EntityIdentifier:
    """Return what no two objects may share: relations of all kinds share their names."""
    kind, table = made.kind, made.table
    if kind in ("table", "view", "materialized_view", "sequence", "index", "composite"):
        kind, table = "relation", None
    elif kind in ("enum", "domain", "range"):
        kind = "type"
    elif kind in ("function", "procedure", "aggregate"):
        kind = "routine"
    elif kind == "statistics":
        table = None
    return EntityIdentifier(made.schema, made.name, None, kind, made.arguments, table)


def _refuse_strangers(declarations: Sequence[Declaration], register: Register) -> None:
    for declaration in declarations:
        for altered in declaration.subject.alters:
            if altered.kind in ("schema", "role", "extension"):
                continue
            if altered.table is not None and _makes(declarations, altered):
                continue
            name = altered.table or altered.name or ""
            if register.find(altered.schema, name, None) is None:
                raise InvalidDeclaration(
                    f"{declaration.origin} changes {altered}, which is not declared. Declare the "
                    "object as well, or run the statement with op.execute() in a migration.",
                    sql=concealed(declaration.sql),
                )


def _makes(declarations: Sequence[Declaration], wanted: EntityIdentifier) -> bool:
    return any(d.subject.makes == wanted for d in declarations)
