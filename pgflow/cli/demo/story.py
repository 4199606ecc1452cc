"""What the demo tells: how tables are filled and why, and what became of one plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, text

from pgflow.factories.pipeline import Pipeline
from pgflow.observe.preview import TargetPreview

#: Decisions that are the same for every pipeline of the demo.
_LEFT_OUT = ("path",)

_RICHEST = text(
    """
    SELECT tailnum, carrier, home_airport,
           (valid_from AT TIME ZONE 'UTC')::date AS since,
           (valid_to AT TIME ZONE 'UTC')::date AS until
      FROM warehouse.plane_base
     WHERE tailnum = (SELECT tailnum FROM warehouse.plane_base GROUP BY tailnum
                       ORDER BY count(DISTINCT carrier) DESC, count(*) DESC, tailnum LIMIT 1)
     ORDER BY valid_from
    """
)


def decisions(pipeline: Pipeline) -> Iterator[str]:
    """Say how a pipeline fills its table, and why.

    Args:
        pipeline: A pipeline with one target.

    Returns:
        Lines of text.
    """
    target = pipeline.preview().targets[0]
    yield f"{pipeline.name} -> {target.target}: {pipeline.doc}"
    facts = [(s, _plain(d.value), d.reason) for s, d in target.decisions if s not in _LEFT_OUT]
    width = max(len(subject) for subject, _, _ in facts)
    for subject, value, reason in facts:
        yield f"  {subject:<{width}}  {value}" + (f"  [{reason}]" if reason else "")


def steps(target: TargetPreview) -> Iterator[str]:
    """Name the statements of a plan, in order, without their SQL."""
    for number, statement in enumerate(target.plan.statements, 1):
        counts = f" (counts as {statement.counts})" if statement.counts else ""
        yield f"  {number}. {statement.purpose}{counts}"


def arrivals(new: Mapping[str, int]) -> str:
    """Say what has happened in the airlines' system."""
    if not any(new.values()):
        return "nothing new in ops"
    return f"{new['flights']:,} flights and {new['weather']:,} weather reports arrive in ops"


def one_plane(connection: Connection) -> Iterator[str]:
    """Tell the history of a plane that changed its carrier, and its home most often."""
    versions = connection.execute(_RICHEST).all()
    if not versions:
        return
    yield f"History, for instance of {versions[0].tailnum} in warehouse.plane_base:"
    for each in versions:
        until = f"until {each.until}" if each.until else "to this day"
        home = f"flown by {each.carrier}, at home in {each.home_airport}"
        yield f"  from {each.since} {until}: {home}"


def _plain(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
