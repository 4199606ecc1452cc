"""What types of a database's own are made of, so that two of one name can be compared.

Such values travel as text, and text says less than it seems: a composite's fields go by position,
and a domain over fewer digits rounds what it reads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pgflow.plan.sql import bind, sql
from pgflow.run.session import Session

_PARTS = (
    "WITH RECURSIVE part (root, oid, path) AS (\n"
    "  SELECT o, o, '' COLLATE \"C\" FROM unnest({oids}::oid[]) AS o\n"
    "  UNION ALL\n"
    '  SELECT p.root, n.oid, (p.path || n.label) COLLATE "C"\n'
    "    FROM part AS p JOIN pg_type AS t ON t.oid = p.oid CROSS JOIN LATERAL (\n"
    "      SELECT t.typelem AS oid, '[]' AS label\n"
    "       WHERE t.typcategory = 'A' AND t.typelem <> 0\n"
    "      UNION ALL\n"
    "      SELECT t.typbasetype, ' over ' || CASE WHEN t.typbasetype < 10000\n"
    "             THEN format_type(t.typbasetype, t.typtypmod) ELSE '' END\n"
    "       WHERE t.typtype = 'd'\n"
    "      UNION ALL\n"
    "      SELECT r.rngsubtype, ' of ' || CASE WHEN r.rngsubtype < 10000\n"
    "             THEN format_type(r.rngsubtype, NULL) ELSE '' END\n"
    "        FROM pg_range AS r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)\n"
    "      UNION ALL\n"
    "      SELECT a.atttypid, format('.%s %s %s',\n"
    "             row_number() OVER (ORDER BY a.attnum), a.attname,\n"
    "             CASE WHEN a.atttypid < 10000 THEN format_type(a.atttypid, a.atttypmod)\n"
    "                  ELSE (SELECT typname FROM pg_type WHERE oid = a.atttypid) END)\n"
    "        FROM pg_attribute AS a\n"
    "       WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0\n"
    "         AND NOT a.attisdropped) AS n)\n"
    "SELECT root::bigint AS oid, array_agg(path ORDER BY path) AS parts\n"
    "  FROM part GROUP BY root"
)


def shapes(session: Session, oids: Collection[int]) -> Mapping[int, tuple[str, ...]]:
    """Ask what types are made of, down to built-in ones.

    Args:
        session: A session on the database that has them.
        oids: The types.

    Returns:
        For each of them, texts that are the same in another database if, and only if, the type
        there has the same parts in the same order.
    """
    text = sql(_PARTS, oids=bind(list(oids), "oids"))
    found = session.run(text, "ask what the types are made of").rows
    return {row["oid"]: tuple(row["parts"]) for row in found}
