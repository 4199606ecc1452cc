"""The key that is to be erased: how its rows are known, wherever they are and however spelt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from enum import Enum
from functools import cached_property

from pgflow.errors import CannotForget, StatementFailed
from pgflow.plan.contract import unlimited
from pgflow.plan.samples import LONGEST
from pgflow.plan.spec import TargetColumn
from pgflow.plan.sql import Sql, bind, join, name, raw, sql
from pgflow.run.session import Session
from pgflow.run.sources.instants import duration

#: The server cuts values to so many bytes when it quotes a row.
_CUT = 64

#: Shorter texts may stand in a message by chance.
_TELLING = 6

# Whether a text reads as a value of a type; texts that cannot be read equal only themselves.
_FUNCTION = """
CREATE FUNCTION pg_temp.pgflow_reads_as(given text, wanted text, kind text) RETURNS boolean
LANGUAGE plpgsql AS $pgflow$
DECLARE
  same boolean;
BEGIN
  EXECUTE format('SELECT $1::%s = $2::%s', kind, kind) INTO same USING given, wanted;
  RETURN coalesce(same, false);
EXCEPTION WHEN OTHERS THEN
  RETURN false;
END
$pgflow$"""


class ErasedKey:
    """A key, by column.

    Args:
        session: A session in the erasure's transaction.
        values: The values as text, None for NULL.
    """

    def __init__(self, session: Session, values: Mapping[TargetColumn, str | None]) -> None:
        self._session = session
        self._values = [(column, value, bind(value, "key")) for column, value in values.items()]
        self._spelt: dict[str, str] = {}

    def check(self) -> None:
        """Have the server read the values by the types of their columns.

        Raises:
            CannotForget: It cannot.
        """
        for column, value, _ in self._values:
            if value is None:
                continue
            try:
                with self._session.connection.begin_nested():
                    self._spelt[column.name] = self._read(column, value)
            except StatementFailed as error:
                if not (error.sqlstate or "").startswith("22"):
                    raise
                raise CannotForget(
                    f"{value!r} is no {column.type}, which the column {column.name!r} is."
                ) from error

    def _read(self, column: TargetColumn, value: str) -> str:
        kind = raw(unlimited(column.type))
        text = sql("SELECT {v}::text::{k}::text AS text", v=bind(value, "key"), k=kind)
        return str(self._session.run(text, "read the key").rows[0]["text"])

    def rows(self, alias: str) -> Sql:
        """Say that a row of the table has the key; the server reads the values by their types.

        Args:
            alias: The row's alias.
        """
        return join(" AND ", (_equal(c, v, b, alias) for c, v, b in self._values))

    @contextmanager
    def comparison(self) -> Iterator[None]:
        """Have the server know how to compare texts by type, for as long as the block lasts."""
        self._session.run(raw(_FUNCTION), "make a temporary function")
        yield
        self._session.run(
            raw("DROP FUNCTION pg_temp.pgflow_reads_as(text, text, text)"),
            "drop the temporary function",
        )

    def documents(self, document: Sql) -> Sql:
        """Say that a JSON object has the key.

        Args:
            document: The object, as an expression.

        Returns:
            A condition; it holds for objects that have every column of the key.
        """
        return join(" AND ", (_same(document, c, v, b) for c, v, b in self._values))

    def matching(self, documents: Sequence[object]) -> set[int]:
        """Find the JSON objects that have the key.

        Args:
            documents: The objects.

        Returns:
            Their places.
        """
        if not documents:
            return set()
        text = sql(
            "SELECT e.n - 1 AS place FROM jsonb_array_elements({d}::jsonb) WITH ORDINALITY"
            " AS e(document, n) WHERE {same}",
            d=bind(json.dumps(list(documents)), "documents"),
            same=self.documents(raw("e.document")),
        )
        return {row["place"] for row in self._session.run(text, "look at sample keys").rows}

    def quoted_in(self, text: str) -> bool:
        """Whether a message quotes every value of the key, as errors of pgflow and the server do.

        Args:
            text: The message.
        """
        found = [pattern.search(text) is not None for pattern in self._patterns]
        return bool(found) and all(found)

    def might_be_quoted_in(self, text: Sql) -> Sql:
        """Say of a message in the server that it is worth looking at.

        Args:
            text: The message, as an expression.
        """
        known = (forms for forms in self._forms if forms)
        needles = [form.lower() for form in next(known, frozenset())]
        return sql(
            "EXISTS (SELECT FROM unnest({needles}::text[]) AS n WHERE strpos(lower({t}), n) > 0)",
            needles=bind(needles, "needles"),
            t=text,
        )

    @cached_property
    def _forms(self) -> tuple[frozenset[str], ...]:
        """How each value that is not NULL may be spelt: as given, by the server, and cut."""
        found = []
        for column, value, _ in self._values:
            if value is None:
                continue
            spelt = self._spelt.get(column.name, value)
            if column.type.startswith("numeric") and "." in spelt:
                spelt = spelt.rstrip("0").rstrip(".")  # the pattern takes any number of zeros
            forms = {value, spelt}
            forms |= {text[:LONGEST] for text in forms}
            forms |= {text.encode()[:_CUT].decode(errors="ignore") for text in forms}
            forms |= {repr(text)[1:-1] for text in forms}
            found.append(frozenset(forms - {""}))
        return tuple(found)

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        """One for each value: a short one counts only where a value is quoted."""
        patterns = []
        for forms in self._forms:
            longest_first = sorted(forms, key=len, reverse=True)
            either = "|".join(re.escape(form) + _zeros(form) for form in longest_first)
            short = max(map(len, forms)) < _TELLING
            before = r"(?:[=(\"'\t]|, )" if short else r"(?<!\w)"
            patterns.append(re.compile(rf"{before}(?:{either})(?!\w|\.\w)", re.IGNORECASE))
        return tuple(patterns)


def _zeros(form: str) -> str:
    """What may follow a number that stays the same number."""
    whole, _, fraction = form.removeprefix("-").partition(".")
    if not whole.isdigit() or not (fraction or "0").isdigit():
        return ""
    return "0*" if fraction else r"(?:\.0+)?"


def key_text(value: object) -> str | None:
    """Write a value of a key as the server reads it.

    Args:
        value: The value.

    Raises:
        CannotForget: It is of a kind that keys are not made of.
    """
    if isinstance(value, Enum):
        return key_text(value.value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, (list, tuple, dict, set)):
        raise CannotForget(
            f"a {type(value).__name__} is no value of a key: give it as text, as the server "
            "writes it."
        )
    return str(value)


def _equal(column: TargetColumn, value: str | None, bound: Sql, alias: str) -> Sql:
    if value is None:
        return sql("{c} IS NULL", c=name(alias, column.name))
    return sql(
        "{c} = {v}::text::{k}", c=name(alias, column.name), v=bound, k=raw(unlimited(column.type))
    )


def _same(document: Sql, column: TargetColumn, value: str | None, bound: Sql) -> Sql:
    label = bind(column.name, "column")
    if value is None:
        return sql("({d} -> {n}::text) = 'null'::jsonb", d=document, n=label)
    return sql(
        "({d} ->> {n}::text = {v}::text"
        " OR pg_temp.pgflow_reads_as({d} ->> {n}::text, {v}::text, {kind}::text))",
        d=document,
        n=label,
        v=bound,
        kind=bind(unlimited(column.type), "type"),
    )
