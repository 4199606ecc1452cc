"""Pipelines with several targets, and how often their sources are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pgflow
from pgflow.run.events import RunStarted, Silence
from pgflow.run.result import TargetResult
from pgflow.run.sharing.part import READING

#: The rows of the source that `fan` makes.
A_AND_B = [(1, "a", "1.00"), (2, "b", "2.00")]

#: A source that is no plain table: it aggregates, so that reading it again costs something.
SUMS = "SELECT id, max(a) AS a, max(b) AS b FROM w.s GROUP BY id"

#: A source that counts how often it is read; see `count_reads`.
COUNTED = "SELECT * FROM w.counted()"


def count_reads(world: Any) -> None:
    """Make the function `w.counted()`, which gives the rows of `w.s`, and counts its calls."""
    world.run("CREATE SEQUENCE w.calls")
    world.run(
        "CREATE FUNCTION w.counted() RETURNS TABLE (id bigint, a text, b numeric)"
        " LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('w.calls');"
        " RETURN QUERY SELECT s.id, s.a, s.b FROM w.s AS s; END $$"
    )


def reads(world: Any) -> int:
    """How often `w.counted()` was called."""
    return int(
        world.run("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM w.calls")[0][0]
    )


class Between(Silence):
    """Does something once, when the first target is done."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act: Callable[[], object] | None = act

    def finished(self, run: RunStarted, result: TargetResult) -> None:
        """Do it."""
        act, self.act = self.act, None
        if act is not None:
            act()


@dataclass
class Fan:
    """Makes pipelines into targets `w.t1`, `w.t2`, ... of a world."""

    world: Any

    def __call__(self, source: Any, *options: dict[str, Any], **more: Any) -> pgflow.Pipeline:
        """Declare a pipeline, by default into a merge and a truncate, and create its tables."""
        chosen = options or ({"mode": "merge"}, {"mode": "truncate"})
        targets = [
            pgflow.target(self.world.table(f"t{number}"), **each)
            for number, each in enumerate(chosen, 1)
        ]
        given = {"connection": self.world.engine, "source": source, **more}
        pipeline = pgflow.Pipeline("p", targets=targets, **given)
        pgflow.create_all(self.world.metadata, connection=self.world.engine)
        return pipeline

    def rows(self, number: int) -> list[Any]:
        """The rows of a target, in the order of their keys."""
        found: list[Any] = self.world.run(f"SELECT id, a, b::text FROM w.t{number} ORDER BY 1, 2")
        return found

    def left_behind(self) -> list[Any]:
        """Temporary tables of pgflow's that are still on some connection."""
        text = "SELECT relname FROM pg_class WHERE relname LIKE 'pgflow~_%%' ESCAPE '~'"
        found: list[Any] = self.world.run(text)
        return found


def told(result: Any) -> list[str]:
    """How each target says that the source was read."""
    return [str(each.details.get(READING)) for each in result.targets]


def statements(shown: Any) -> list[list[tuple[str, str]]]:
    """The statements of a result or a preview, for each target; without random names."""
    return [
        [(s.purpose, re.sub("(pgflow_source)_[0-9a-f]{32}", r"\1", s.text)) for s in all_of(each)]
        for each in shown.targets
    ]


def all_of(target: Any) -> list[Any]:
    """The statements of a target: what is prepared, and what follows."""
    return [*target.plan.prepare, *target.plan.statements]


def foretold(pipeline: pgflow.Pipeline) -> list[str]:
    """How a preview says it for each target; who shares is only its to say."""
    found = [dict(each.decisions)["reading"] for each in pipeline.preview().targets]
    return [f"read {d.value}{'' if d.value.startswith('once') else f': {d.reason}'}" for d in found]
