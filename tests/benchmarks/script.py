"""Hand-written scripts: psql's variables and `\\gset`, so that the files also run under psql."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_SCRIPTS = Path(__file__).parent / "sql"
_VARIABLE = re.compile(r":'(\w+)'")


def run(connection: psycopg.Connection[Any], script: str, **variables: object) -> None:
    r"""Run a script, statement after statement; statements are parted by blank lines.

    As in psql, `:'name'` stands for a variable's value, `ROW_COUNT` is the count of the statement
    before, and a statement that ends in `\gset` puts its row into variables.

    Args:
        connection: A connection that commits by itself.
        script: A file in `sql/`.
        **variables: Values by name.
    """
    known = {name: str(value) for name, value in variables.items()}
    for statement in (_SCRIPTS / script).read_text().split("\n\n"):
        text, asks, _ = statement.partition("\\gset")
        cursor = connection.execute(_spell(text, known).encode())
        known["ROW_COUNT"] = str(cursor.rowcount)
        if asks:
            known |= _row(cursor)


def _spell(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: sql.Literal(known[found[1]]).as_string(), text)


def _row(cursor: psycopg.Cursor[Any]) -> dict[str, str]:
    names = [column.name for column in cursor.description or ()]
    return dict(zip(names, map(str, cursor.fetchone() or ()), strict=True))
