"""The load of an empty target by event time: every version of every key in one pass."""

from __future__ import annotations

from pgflow.plan import writes
from pgflow.plan.batch import batch_ctes, batch_query
from pgflow.plan.first_load import an_insert_will_do, remember_loaded, with_hash
from pgflow.plan.history.event_splice import differs_from_before
from pgflow.plan.history.event_time import (
    begins,
    ends,
    event_column,
    keeps_confirmations,
    seen,
    usable,
)
from pgflow.plan.spec import SyncSpec
from pgflow.plan.sql import Sql, join, name, names, sql
from pgflow.plan.stamps import loaded
from pgflow.plan.statement import Statement


def load_versions(spec: SyncSpec) -> tuple[Statement, ...] | None:
    """Plan the load of an empty target; its constraints check the batch.

    A row without an instant, or at the end of time, meets NOT NULL; two rows of one key and one
    instant meet the unique indexes.

    Args:
        spec: What is planned.

    Returns:
        The statements, or None where the run needs more than one INSERT can tell.
    """
    if not an_insert_will_do(spec):
        return None
    load = _plain(spec) if spec.source.unique.value else _versions(spec)
    return tuple(s for s in (load, remember_loaded(spec)) if s is not None)


def _plain(spec: SyncSpec) -> Statement:
    """Each key has one row, which opens its only version."""
    event = usable(name("batch", event_column(spec)))
    stamps = {**loaded(spec), **seen(spec, event), begins(spec): event}
    return writes.load(
        spec, with_hash(spec, stamps), batch_query(spec), purpose="load the empty target"
    )


def _versions(spec: SyncSpec) -> Statement:
    """Rows of a key in order; those that only repeat the values before them are counted."""
    stamps = {
        **loaded(spec),
        **seen(spec, name("batch", "pgflow_last")),
        begins(spec): usable(name("batch", event_column(spec))),
        ends(spec): name("batch", "pgflow_until"),
    }
    insert = writes.load(spec, with_hash(spec, stamps), _heads(spec), purpose="")
    text = sql(
        "WITH {batch}, loaded AS (\n{insert}\nRETURNING 1\n)\n"
        "SELECT (SELECT count(*) FROM loaded) AS inserted, (SELECT count(*) FROM batch) AS read",
        batch=join(", ", batch_ctes(spec)),
        insert=insert.sql,
    )
    return Statement("load the empty target with every version", text, tallies=True)


def _heads(spec: SyncSpec) -> Sql:
    """The rows that open a version, each with its end; an end that is no later is left out.

    Of rows with one instant each opens one, so that they meet the unique indexes, also where the
    first of them only repeats the values before it: the careful plan can tell what they are.
    """
    last = sql(", coalesce(lead(pgflow_before) OVER w, pgflow_last) AS pgflow_last")
    at = name(event_column(spec))
    window = sql("WINDOW w AS (PARTITION BY {k} ORDER BY {at})", k=names(spec.keys.value), at=at)
    return sql(
        "SELECT {columns},\n"
        "         CASE WHEN lead({at}) OVER w > {at} THEN lead({at}) OVER w END AS pgflow_until"
        "{last}\n"
        "    FROM (SELECT *, lag({at}) OVER w AS pgflow_before,\n"
        "                 max({at}) OVER (PARTITION BY {keys}) AS pgflow_last,\n"
        "                 coalesce(lag({at}) OVER w = {at}, true)\n"
        "                   OR coalesce(lead({at}) OVER w = {at}, false)\n"
        "                   OR NOT isfinite({at}) OR {differs} AS pgflow_breaks\n"
        "            FROM batch {window}) AS b\n"
        "   WHERE pgflow_breaks {window}",
        columns=names(spec.delivered),
        at=at,
        last=last if keeps_confirmations(spec) else Sql(),
        keys=names(spec.keys.value),
        differs=differs_from_before(spec),
        window=window,
    )
