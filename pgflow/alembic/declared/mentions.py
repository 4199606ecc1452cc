"""Where declared statements name each other's objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pglast import ast, enums
from pglast.parser import ParseError, Token, scan

from pgflow import idents
from pgflow.alembic.declared.declaration import Declaration
from pgflow.alembic.declared.implied import adds_key, implied
from pgflow.alembic.declared.nodes import Class, Occurrences, occurrences
from pgflow.alembic.declared.sql_bodies import sql_body
from pgflow.alembic.identifiers import EntityIdentifier

_CLASSES: dict[str, tuple[Class, ...]] = {
    "table": ("relation", "type"),
    "view": ("relation", "type"),
    "materialized_view": ("relation", "type"),
    "composite": ("relation", "type"),
    "sequence": ("relation",),
    "index": ("relation",),
    "enum": ("type",),
    "domain": ("type",),
    "range": ("type",),
    "function": ("function",),
    "procedure": ("function",),
    "aggregate": ("function",),
}
#: Kinds whose names meet no others: statistics are only named where they are the subject.
_ANY: tuple[Class, ...] = ("relation", "type", "function")


class Span(NamedTuple):
    """A schema's name in a text, from its first character to behind its last."""

    start: int
    end: int
    schema: str


class Body(NamedTuple):
    """The body of an SQL function in a text, and the schemas of declared objects in it."""

    start: int
    end: int
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Mentions:
    """What a statement names of what is declared.

    Attributes:
        spans: Where the schema of a declared object stands in the text.
        strings: Strings that hold a declared object's name: start, end and the string itself.
        makers: Which declarations, by number, make what it names.
        body: A function's body that names declared objects; it needs none of them to be there.
    """

    spans: tuple[Span, ...]
    strings: tuple[tuple[int, int, str], ...]
    makers: frozenset[int]
    body: Body | None = None


class Register:
    """The names of all declared objects.

    Args:
        declarations: All declarations.
        path: The schemas in which a name without one is looked for.
    """

    def __init__(self, declarations: Sequence[Declaration], path: Sequence[str]) -> None:
        self.path = tuple(path)
        self._makers: dict[tuple[Class | None, str, str], set[int]] = {}
        self._keys: dict[tuple[str, str], set[int]] = {}
        for number, declaration in enumerate(declarations):
            self._enter(number, declaration)

    def _enter(self, number: int, declaration: Declaration) -> None:
        made = declaration.subject.makes
        if adds_key(declaration.node):
            for table in declaration.subject.locks[:1]:
                self._keys.setdefault(table, set()).add(number)
        if made is None:
            return
        if made.name is not None and made.schema:
            self.add(made, number)
        if made.kind == "table":
            for kind, name in implied(declaration.node):
                self.add(EntityIdentifier(made.schema, name, kind=kind), number)

    def add(self, made: EntityIdentifier, number: int = -1) -> None:
        """Enter the name of an object; -1 stands for one that no declaration makes."""
        if made.name is None or made.kind in ("trigger", "policy", "rule"):
            return
        for role in (None, *_CLASSES.get(made.kind or "", ())):
            self._makers.setdefault((role, made.schema, made.name), set()).add(number)

    def find(self, schema: str | None, name: str, role: Class | None) -> set[int] | None:
        """Return who makes an object of this name; None if it is not declared."""
        if schema is not None:
            return self._find(schema, name, role)
        found = (self._find(place, name, role) for place in self.path)
        return next((makers for makers in found if makers is not None), None)

    def _find(self, schema: str, name: str, role: Class | None) -> set[int] | None:
        return self._makers.get((role, schema, name))

    def mentions(self, declaration: Declaration) -> Mentions:
        """Find what a declared statement names of what is declared."""
        places = occurrences(declaration.node)
        makers = self._unqualified(places)
        tokens = _tokens(declaration.sql)
        spans = list(_schema_words(declaration, tokens))
        for span, found in self._qualified(declaration.sql, tokens, places):
            spans.append(span)
            makers |= found
        strings, named = self._strings(declaration.sql, tokens, places)
        return Mentions(
            tuple(sorted(spans)),
            strings,
            frozenset((makers | named | self._keys_for(declaration)) - {-1}),
            self._body(declaration, tokens),
        )

    def _keys_for(self, declaration: Declaration) -> set[int]:
        """Return who adds the keys to which foreign keys in a statement can point."""
        if not isinstance(declaration.node, (ast.CreateStmt, ast.AlterTableStmt)):
            return set()
        made = declaration.subject.makes
        own = None if made is None else (made.schema, made.name)
        tables = (table for table in declaration.subject.locks if table != own)
        return {number for table in tables for number in self._keys.get(table, ())}

    def _qualified(
        self, sql: str, tokens: Sequence[Token], places: Occurrences
    ) -> Iterator[tuple[Span, set[int]]]:
        roles = {name.location: name.role for name in places.names}
        for span, name in _pairs(tokens, sql):
            if span.start in places.columns:
                continue
            role = None if span.start in places.loose else roles.get(span.start)
            found = self._find(span.schema, name, role)
            if found is not None:
                yield span, found

    def _body(self, declaration: Declaration, tokens: Sequence[Token]) -> Body | None:
        body = sql_body(declaration.node, declaration.sql, tokens)
        if body is None:
            return None
        qualified = self._qualified(body.text, _tokens(body.text), body.places)
        spans = tuple(span for span, _ in qualified)
        return Body(body.start, body.end, body.text, spans) if spans else None

    def _unqualified(self, places: Occurrences) -> set[int]:
        found: set[int] = set()
        for name in places.names:
            if name.schema is None and name.name not in places.local:
                found |= self.find(None, name.name, name.role) or set()
            elif name.schema is not None and name.location < 0:
                found |= self._find(name.schema, name.name, name.role) or set()
        return found

    def _strings(
        self, sql: str, tokens: Sequence[Token], places: Occurrences
    ) -> tuple[tuple[tuple[int, int, str], ...], set[int]]:
        found: list[tuple[int, int, str]] = []
        makers: set[int] = set()
        for token in _named_strings(tokens, places.strings):
            text = sql[token.start : token.end + 1]
            if not text.startswith("'"):
                continue
            content = text[1:-1].replace("''", "'")
            if self.in_string(content):
                found.append((token.start, token.end + 1, content))
            makers |= self._makers_in_string(content)
        return tuple(found), makers

    def foreign_in_strings(self, declaration: Declaration) -> set[tuple[str | None, str]]:
        """Return what strings such as `nextval('sales.numbers')` name and nobody declares."""
        found: set[tuple[str | None, str]] = set()
        places = occurrences(declaration.node)
        for token in _named_strings(_tokens(declaration.sql), places.strings):
            text = declaration.sql[token.start + 1 : token.end].replace("''", "'")
            pairs = _pairs(_tokens(text), text)
            names: list[tuple[str | None, str]] = [(span.schema, name) for span, name in pairs]
            names = names or [(None, text.strip('" '))]
            found.update(pair for pair in names if self.find(*pair, None) is None)
        return found

    def in_string(self, content: str) -> list[Span]:
        """Find the schemas of declared objects in a string such as `app.orders_id_seq`."""
        pairs = _pairs(_tokens(content), content)
        return [s for s, name in pairs if self._find(s.schema, name, None) is not None]

    def _makers_in_string(self, content: str) -> set[int]:
        pairs = list(_pairs(_tokens(content), content))
        if not pairs:
            return self.find(None, content.strip().strip('"'), "relation") or set()
        found = [self._find(span.schema, name, None) for span, name in pairs]
        return {number for makers in found for number in makers or ()}


def _named_strings(tokens: Sequence[Token], places: set[int]) -> Iterator[Token]:
    for number, token in enumerate(tokens):
        if token.start not in places:
            continue
        if token.name == "TYPECAST":
            found = tokens[number - 1] if number else None
        else:
            found = next((t for t in tokens[number:] if t.name == "SCONST"), None)
        if found is not None and found.name == "SCONST":
            yield found


def _tokens(sql: str) -> list[Token]:
    try:
        tokens: Iterable[Token] = scan(sql)
    except ParseError:
        return []
    return [t for t in tokens if t.name not in ("SQL_COMMENT", "C_COMMENT")]


def _pairs(tokens: Sequence[Token], sql: str) -> list[tuple[Span, str]]:
    found: list[tuple[Span, str]] = []
    for number in range(len(tokens) - 2):
        first, dot, second = tokens[number : number + 3]
        if dot.name != "ASCII_46" or not _is_name(first) or not _is_name(second, label=True):
            continue
        if number and tokens[number - 1].name == "ASCII_46":
            continue
        span = Span(first.start, first.end + 1, _decoded(first, sql))
        found.append((span, _decoded(second, sql)))
    return found


def _is_name(token: Token, *, label: bool = False) -> bool:
    if token.name == "IDENT":
        return True
    return token.kind != "NO_KEYWORD" and (label or token.kind != "RESERVED_KEYWORD")


def _decoded(token: Token, sql: str) -> str:
    text = sql[token.start : token.end + 1]
    if text.startswith('"'):
        return idents.truncate(text[1:-1].replace('""', '"'))
    return idents.truncate("".join(c.lower() if c.isascii() else c for c in text))


def _schema_words(declaration: Declaration, tokens: Sequence[Token]) -> list[Span]:
    """Find the names behind the word SCHEMA, where a statement is about schemas as such."""
    if not _is_about_schemas(declaration.node):
        return []
    found: list[Span] = []
    expecting = False
    for token in tokens:
        if expecting and _is_name(token):
            name = _decoded(token, declaration.sql)
            found.append(Span(token.start, token.end + 1, name))
            expecting = False
        elif token.name == "SCHEMA" or (found and _follows(token, found[-1], tokens)):
            expecting = True
    return found


def _follows(token: Token, last: Span, tokens: Sequence[Token]) -> bool:
    if token.name != "ASCII_44":
        return False
    before = [t for t in tokens if t.start < token.start]
    return bool(before) and before[-1].start == last.start


def _is_about_schemas(node: ast.Node) -> bool:
    if isinstance(node, ast.AlterDefaultPrivilegesStmt):
        return True
    if isinstance(node, ast.GrantStmt):
        return (
            node.objtype == enums.ObjectType.OBJECT_SCHEMA
            or node.targtype == enums.GrantTargetType.ACL_TARGET_ALL_IN_SCHEMA
        )
    if isinstance(node, ast.CommentStmt):
        return bool(node.objtype == enums.ObjectType.OBJECT_SCHEMA)
    if isinstance(node, ast.AlterOwnerStmt):
        return bool(node.objectType == enums.ObjectType.OBJECT_SCHEMA)
    return False


def named_schemas(declaration: Declaration) -> set[str]:
    """Return the schemas that a statement names as such: GRANT ... ON SCHEMA, COMMENT, ..."""
    return {s.schema for s in _schema_words(declaration, _tokens(declaration.sql))}
