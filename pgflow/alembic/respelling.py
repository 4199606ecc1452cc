"""SQL that names one schema into the same SQL that names another: a migration for each tenant.

Names are found as the server finds them: by its own scanner and parser, never by a search in text.
Texts that the server does not look into when it reads a statement (bodies of functions) are
respelled too; where it cannot be said whether a word there is the schema, they are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pglast import ast, parse_sql
from pglast.error import Error as SyntaxProblem
from pglast.parser import Token, scan

from pgflow import idents
from pgflow.alembic import comments
from pgflow.alembic.literals import dollar, literal
from pgflow.alembic.qualifiers import aliases_in, name, qualifiers, unquoted
from pgflow.errors import AmbiguousSchema

_PLACEHOLDER = re.compile(r"%\(\w+\)s")
_REG_TYPE = re.compile(
    r"reg(class|collation|config|dictionary|namespace|oper|operator|proc|procedure|role|type)\Z"
)

#: Functions whose first argument is the name of an object, as text.
_NAMING = (
    "nextval",
    "currval",
    "setval",
    "pg_get_serial_sequence",
    "to_regclass",
    "to_regproc",
    "to_regprocedure",
    "to_regtype",
    "to_regoper",
    "to_regoperator",
    "to_regcollation",
)
#: What runs for every tenant although it makes nothing: questions and settings.
_PERSONAL = (
    ast.SelectStmt,
    ast.VariableSetStmt,
    ast.VariableShowStmt,
    ast.TransactionStmt,
    ast.ConstraintsSetStmt,
    ast.ExplainStmt,
)
#: What a database or a server has once.
_SHARED = (
    ast.CreateRoleStmt,
    ast.AlterRoleStmt,
    ast.AlterRoleSetStmt,
    ast.DropRoleStmt,
    ast.GrantRoleStmt,
    ast.CreateExtensionStmt,
    ast.AlterExtensionStmt,
)
_WRITING = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


@dataclass(frozen=True)
class Respelling:
    """From the schema that migrations are written for to another one.

    Attributes:
        old: The schema in the text.
        new: The schema that is meant.
        history: The migration history that pgflow's marks in comments shall name; None to leave
            them as they are.
    """

    old: str
    new: str
    history: str | None = None

    def text(self, sql: str) -> str:
        """Respell a text of SQL statements.

        Args:
            sql: The statements; `%(name)s` placeholders are left as they are.

        Returns:
            The same text, each mention of the old schema replaced by the new one.

        Raises:
            AmbiguousSchema: A body mentions the old schema's name in a way that may mean
                something else, or inside of a text that it may execute.
        """
        return _Text(sql, self).respelled()

    def concerns(self, sql: str) -> bool:
        """Say whether a text makes or changes something in the schema, or asks or sets something.

        What belongs to other schemas, to the database or to the server is made only once, by
        the migration of the schema that the files are written for.

        Args:
            sql: One or several statements, before or after respelling.

        Raises:
            AmbiguousSchema: Some of several statements belong here, and some do not.
        """
        found = _Text(sql, self).concerned()
        if len(set(found)) > 1:
            raise AmbiguousSchema(
                f"Some statements of one text are for schema {idents.quote(self.old)} and some "
                f"are not, so it cannot be run for {idents.quote(self.new)}: {_begin(sql)} Give "
                "each statement an op.execute() of its own.",
                schema=self.old,
            )
        return all(found)


@dataclass(frozen=True)
class _Edit:
    start: int
    end: int
    text: str


class _Text:
    """A text with its tokens, and with what the parser knows about them."""

    def __init__(self, sql: str, respelling: Respelling, *, body: bool = False) -> None:
        self.sql = sql
        self.by = respelling
        self.is_body = body
        # Placeholders are no SQL; numbers of the same length are, and leave positions alone.
        masked = _PLACEHOLDER.sub(lambda found: "1".ljust(len(found[0])), sql)
        self.masked = masked
        self.tokens: Sequence[Token] = [
            token for token in scan(masked) if token.name not in ("SQL_COMMENT", "C_COMMENT")
        ]
        try:
            self.statements: Sequence[Any] | None = [raw.stmt for raw in parse_sql(masked)]
        except SyntaxProblem:
            self.statements = None
        self.aliases = aliases_in(self.statements) if self.statements is not None else frozenset()

    def respelled(self) -> str:
        if self.statements is None:
            self._refuse_ambiguity()
        text = self.sql
        for edit in sorted(self._edits(), key=lambda edit: edit.start, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        return text

    def concerned(self) -> list[bool]:
        if self.statements is None:
            return [self._first_schema(self.tokens) in (self.by.old, self.by.new)]
        return [self._is_concerned(*each) for each in enumerate(self.statements)]

    def _is_concerned(self, at: int, statement: Any) -> bool:
        if isinstance(statement, _PERSONAL):
            return True
        if isinstance(statement, _SHARED):
            return False
        if isinstance(statement, ast.CreateSchemaStmt) or _drops_schema(statement):
            return False  # a tenant's schema comes before its first migration, and stays
        if isinstance(statement, ast.DoStmt):
            return any(self._mentions_old(body) for body in self._strings())
        mine = (self.by.old, self.by.new)
        if isinstance(statement, _WRITING):
            target: Any = statement.relation
            return target.schemaname in mine
        return self._first_schema(self._tokens_of(at)) in mine

    def _tokens_of(self, at: int) -> list[Token]:
        """Return the tokens of one of several statements."""
        parts: list[list[Token]] = [[]]
        depth = 0
        for token in self.tokens:
            word = self._written(token).lower()
            depth += (word == "atomic") - (word == "end" and depth > 0)
            if word == ";" and not depth:
                parts.append([])
            else:
                parts[-1].append(token)
        full = [part for part in parts if part]
        return full[at] if at < len(full) else list(self.tokens)

    def _first_schema(self, tokens: Sequence[Token]) -> str | None:
        for at in qualifiers(tokens, self.masked, self.aliases):
            return name(self._written(tokens[at]))
        return None

    def _strings(self) -> Iterator[str]:
        for token in self.tokens:
            if token.name == "SCONST":
                yield unquoted(self._written(token))

    def _edits(self) -> Iterator[_Edit]:
        new = idents.quote(self.by.new)
        for at in qualifiers(self.tokens, self.masked, self.aliases):
            if self._is_old(self.tokens[at]):
                yield self._edit(self.tokens[at], new)
        for at, token in enumerate(self.tokens):
            if token.name == "SCONST":
                content = unquoted(self._written(token))
                replaced = self._respelled_string(at, content)
                if replaced != content:
                    quoted = self._written(token).startswith("$")
                    yield self._edit(token, (dollar if quoted else literal)(replaced))
            elif self._in_search_path(at) and self._is_old(token):
                yield self._edit(token, new)

    def _respelled_string(self, at: int, content: str) -> str:
        """Respell what is between quotes, where the server will look into it."""
        language = self._language_of_body(at)
        if language is not None:
            return _respelled_body(content, language, self.by)
        if self._word(at - 1) == "is" and self._is_comment():
            return self._remarked(content)
        if self._in_search_path(at) or self._word(at - 1) == "schema":
            return self.by.new if content == self.by.old else content
        if self._word(at - 4) == "set_config" and self._word(at - 2) == "'search_path'":
            return ", ".join(
                idents.quote(self.by.new) if name(part.strip()) == self.by.old else part.strip()
                for part in content.split(",")
            )
        if self._names_something(at):
            return _respelled_name(content, self.by)
        if self.is_body and self._mentions_old(content):
            raise AmbiguousSchema(
                f"A body holds a text that mentions {idents.quote(self.by.old)}: {_begin(content)} "
                "If the text is executed it would reach the wrong schema. Take the schema from "
                "TG_TABLE_SCHEMA or current_schema() there, or write the text otherwise.",
                schema=self.by.old,
            )
        return content

    def _is_comment(self) -> bool:
        return any(isinstance(each, ast.CommentStmt) for each in self.statements or ())

    def _remarked(self, comment: str) -> str:
        """Let a mark name the history of the new schema: others must not drop what is in it."""
        own, mark = comments.split(comment)
        if mark is None or self.by.history is None:
            return comment
        return comments.join(own, replace(mark, owner=self.by.history)) or ""

    def _language_of_body(self, at: int) -> str | None:
        """Return the language of a string that is a body; None if it is none."""
        if self.statements is None or len(self.statements) != 1:
            return None
        statement = self.statements[0]
        if isinstance(statement, ast.DoStmt) and self._word(at - 1) != "language":
            return _language(statement.args)
        if not isinstance(statement, ast.CreateFunctionStmt) or statement.sql_body is not None:
            return None
        return _language(statement.options) if self._word(at - 1) == "as" else None

    def _in_search_path(self, at: int) -> bool:
        """Whether a token stands in the list after `SET search_path =`."""
        at -= 1
        while at > 1 and (self._word(at) == "," or self.tokens[at].name in ("IDENT", "SCONST")):
            at -= 1
        return self._word(at) in ("=", "to") and self._word(at - 1) == "search_path"

    def _names_something(self, at: int) -> bool:
        """Whether a string is the name of an object: `nextval('s')`, `'t'::regclass`."""
        if self._word(at - 1) == "(" and self._word(at - 2) in _NAMING:
            return True
        after = at + 1
        while self._word(after) == "::":
            if _REG_TYPE.match(self._word(after + 1)):
                return True
            after += 2
        return self._word(after) == "as" and _REG_TYPE.match(self._word(after + 1)) is not None

    def _refuse_ambiguity(self) -> None:
        """Stop where the old schema's name may be a variable, an alias or a table."""
        schemas = set(qualifiers(self.tokens, self.masked, self.aliases))
        named = [at for at, token in enumerate(self.tokens) if self._is_old(token)]
        if schemas.intersection(named) and not schemas.issuperset(named):
            other = next(at for at in named if at not in schemas)
            around = self.sql[max(0, self.tokens[other].start - 20) : self.tokens[other].end + 20]
            raise AmbiguousSchema(
                f"{idents.quote(self.by.old)} is a schema in this text, and something else too: "
                f"{_begin(around)} Which of them is meant where cannot be told. Give the variable, "
                "alias or column another name.",
                schema=self.by.old,
            )

    def _mentions_old(self, content: str) -> bool:
        word = re.escape(self.by.old)
        return re.search(rf'(?<![\w"])(?:{word}|"{word}")\s*\.\s*["\w%]', content) is not None

    def _is_old(self, token: Token) -> bool:
        if token.name != "IDENT" and token.kind == "NO_KEYWORD":
            return False
        return name(self._written(token)) == self.by.old

    def _word(self, at: int) -> str:
        return self._written(self.tokens[at]).lower() if 0 <= at < len(self.tokens) else ""

    def _written(self, token: Token) -> str:
        return self.masked[token.start : token.end + 1]

    def _edit(self, token: Token, text: str) -> _Edit:
        return _Edit(token.start, token.end + 1, text)


def _respelled_name(content: str, by: Respelling) -> str:
    """Respell the name of an object that is given as text."""
    try:
        tokens = scan(content)
    except SyntaxProblem:
        return content
    for at in qualifiers(tokens, content, frozenset()):
        token = tokens[at]
        if name(content[token.start : token.end + 1]) == by.old:
            return content[: token.start] + idents.quote(by.new) + content[token.end + 1 :]
    return content


def _respelled_body(content: str, language: str, by: Respelling) -> str:
    if language not in ("sql", "plpgsql"):
        if _Text("", by)._mentions_old(content):
            raise AmbiguousSchema(
                f"A body in language {language} mentions {idents.quote(by.old)}, and only SQL and "
                f"PL/pgSQL can be respelled: {_begin(content)} Set the function's search_path, "
                "and leave the schema out in the body.",
                schema=by.old,
            )
        return content
    return _Text(content, by, body=language == "plpgsql").respelled()


def _language(options: Sequence[Any] | None) -> str:
    named = (str(option.arg.sval) for option in options or () if option.defname == "language")
    return next(named, "plpgsql")


def _drops_schema(statement: Any) -> bool:
    return (
        isinstance(statement, ast.DropStmt)
        and getattr(statement.removeType, "name", "") == "OBJECT_SCHEMA"
    )


def _begin(sql: str) -> str:
    """Return the beginning of a text, for a message."""
    line = " ".join(sql.split())
    return repr(line if len(line) <= 60 else line[:57] + "...") + "."
