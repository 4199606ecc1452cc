"""What a run would do, and why: every decision with its reason, and every statement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from pgflow.connections.registry import Description
from pgflow.errors import InvalidOption
from pgflow.observe import preview_markdown, preview_text
from pgflow.plan.decision import UNKNOWN, Decision, Unknown
from pgflow.plan.spec import SyncSpec, Watermark
from pgflow.plan.statement import Feed, Plan, Statement
from pgflow.run.server_plans import ServerPlan, steps

#: The version of the layout that `to_dict()` has; it is counted up when a program that reads the
#: former one could fail.
LAYOUT = 1

#: The value of a decision that only a database could have helped with.
_OPEN = "not known"

#: How a preview can be written.
Style = Literal["text", "markdown", "json"]


@dataclass(frozen=True)
class Place:
    """Where a target is.

    Attributes:
        name: What the connection is called, or None if it was given as a URL or an engine.
        description: Where it leads, without a password; None while that is not known.
    """

    name: str | None
    description: Description | None

    def __str__(self) -> str:
        return "not known" if self.description is None else str(self.description)

    def to_dict(self) -> dict[str, str | None]:
        """Return it as plain data."""
        names = [field.name for field in fields(Description)]
        return {"name": self.name} | {n: getattr(self.description, n, None) for n in names}


@dataclass(frozen=True)
class Obstacle:
    """Why not everything is known.

    Attributes:
        reason: What the database or pgflow said.
        refused: Whether a run would be refused; else it could not be found out.
    """

    reason: str
    refused: bool


@dataclass(frozen=True)
class TargetPreview:
    """What a run would do to one target.

    Attributes:
        target: The target's qualified name.
        mode: The mode's name.
        place: Where the target is.
        decisions: What was decided, by subject, each with its reason.
        declared: The columns that the user declared.
        added: The columns that pgflow adds.
        plan: The statements.
        source: Where the rows come from if that is not the target's database, else empty.
        estimated_rows: The planner's estimate of the target's rows, or UNKNOWN.
        problem: What could not be known, or why the run would be refused; empty if nothing.
        refused: Whether the run would be refused.
        unknown: What is not known for that reason.
        server_plans: The servers' own plans, one for each statement, or none if they were not
            asked for.
    """

    target: str
    mode: str
    place: Place
    decisions: tuple[tuple[str, Decision[Any]], ...]
    declared: tuple[str, ...]
    added: tuple[str, ...]
    plan: Plan
    source: str = ""
    estimated_rows: int | Unknown = UNKNOWN
    problem: str = ""
    refused: bool = False
    unknown: tuple[str, ...] = ()
    server_plans: tuple[ServerPlan, ...] = ()

    @property
    def connection(self) -> str:
        """Where the target is: host, database and user, never a password."""
        return str(self.place)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a run would say once about its decisions."""
        return tuple(d.warning for _, d in self.decisions if d.warning)

    @property
    def steps(self) -> tuple[tuple[Statement, ServerPlan | None], ...]:
        """Every statement, each with the server's plan where it was asked for.

        Those of the plan that is made instead if a constraint is violated come last.
        """
        statements = steps(self.plan)
        told = self.server_plans or (None,) * len(statements)
        return tuple(zip(statements, told, strict=True))

    @property
    def rows(self) -> int | None:
        """The planner's estimate of the target's rows; None if there is none."""
        estimate = self.estimated_rows
        return None if isinstance(estimate, Unknown) or estimate < 0 else estimate

    def decision(self, subject: str) -> Any:
        """Return the value of a decision; None if nothing was decided on that subject."""
        return next((d.value for s, d in self.decisions if s == subject), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the preview as plain data; the same for the same state of the database."""
        told = [_statement(*step) for step in self.steps]
        first = len(self.plan.prepare)
        instead = first + len(self.plan.statements)
        return {
            "target": self.target,
            "mode": self.mode,
            "connection": self.place.to_dict(),
            "source": self.source,
            "decisions": {
                subject: {"value": _plain(d.value), "reason": d.reason, "warning": d.warning}
                for subject, d in self.decisions
            },
            "columns": {"declared": list(self.declared), "added": list(self.added)},
            "estimated_rows": self.rows,
            "hazards": list(self.plan.hazards),
            "prepare": told[:first],
            "statements": told[first:instead],
            "fallback": told[instead:],
            "problem": self.problem,
            "refused": self.refused,
            "unknown": list(self.unknown),
        }

    def lines(self, *, statements: bool = True) -> Iterator[str]:
        """Write the preview as lines of text."""
        return preview_text.plain(preview_text.target_lines(self, statements=statements))

    @property
    def summary(self) -> str:
        """The preview in one line."""
        (line,) = preview_text.plain([preview_text.summary(self)])
        return line


@dataclass(frozen=True)
class Preview:
    """What a run of a pipeline would do; `str()` of it is for people, `to_json()` for machines.

    Attributes:
        pipeline: The pipeline's name.
        schedule: Its cron expression, or None.
        targets: One preview for each target.
        parameters: The run parameters, by name.
    """

    pipeline: str
    schedule: str | None
    targets: tuple[TargetPreview, ...]
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no target would be refused, as far as could be known."""
        return not any(t.refused for t in self.targets)

    def to_dict(self) -> dict[str, Any]:
        """Return the preview as plain data, as `docs/reference/preview-schema.json` describes."""
        return {
            "version": LAYOUT,
            "pipeline": self.pipeline,
            "schedule": self.schedule,
            "parameters": dict(self.parameters),
            "ok": self.ok,
            "targets": [t.to_dict() for t in self.targets],
        }

    def to_json(self) -> str:
        """Return the preview as JSON; byte for byte the same for the same state."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_markdown(self) -> str:
        """Return the preview as Markdown for a pull request: hazards first, SQL folded away."""
        return preview_markdown.write(self)

    def render(self, *, verbose: bool | None = None, format: Style = "text") -> str:  # noqa: A002  # as on the command line
        """Write the preview.

        Args:
            verbose: For text: whether every statement is shown; by default for a single target
                only.
            format: `text` for people, `markdown` for pull requests, `json` for machines.

        Returns:
            The text, without a newline at its end.

        Raises:
            InvalidOption: There is no such format.
        """
        if format == "markdown":
            return self.to_markdown()
        if format == "json":
            return self.to_json()
        if format != "text":
            raise InvalidOption(f"format={format!r} is none of 'text', 'markdown' and 'json'.")
        return "\n".join(preview_text.plain(preview_text.lines(self, verbose)))

    def __str__(self) -> str:
        return self.render()


def preview_target(
    spec: SyncSpec,
    plan: Plan,
    place: Place,
    path: Decision[str],
    obstacle: Obstacle | None = None,
    *,
    source: str = "",
    reading: Decision[str] | None = None,
    server_plans: tuple[ServerPlan, ...] = (),
) -> TargetPreview:
    """Put together what is known of one target.

    Args:
        spec: What is planned, with the facts that are known.
        plan: The plan.
        place: Where the target is.
        path: How rows get from source to target.
        obstacle: Why not everything is known, if it is not.
        source: Where the rows come from if that is not the target's database.
        reading: Of several targets: whether the source is read once or again, and why.
        server_plans: The servers' own plans.

    Returns:
        The preview.
    """
    decisions = dict(plan.decisions)
    mode = decisions.pop("mode", Decision(spec.mode, spec.mode_reason))
    ordered: list[tuple[str, Decision[Any]]] = [("mode", mode), ("path", path)]
    ordered += [("reading", reading)] if reading is not None else []
    ordered += ((subject, _told(decision)) for subject, decision in decisions.items())
    if spec.watermark is not None:
        value = spec.watermark.value
        state = value if isinstance(value, Unknown) else value or "nothing read yet"
        ordered.append(("last read", _told(Decision(state, _origin(spec.watermark)))))
    if spec.scope is not None:
        ordered.append(("scope", Decision(spec.scope_name, "scope=")))
    feeds = (s.feed.label for s in plan.prepare if s.feed is not None)
    return TargetPreview(
        target=spec.target.label,
        mode=spec.mode,
        place=place,
        decisions=tuple(ordered),
        declared=tuple(c.name for c in spec.target.columns),
        added=spec.target.system.names,
        plan=plan,
        source=next(feeds, source),
        estimated_rows=spec.facts.estimated_rows,
        problem="" if obstacle is None else obstacle.reason,
        refused=obstacle is not None and obstacle.refused,
        unknown=() if obstacle is None else tuple(_unknown(spec, path)),
        server_plans=server_plans,
    )


def _told(decision: Decision[Any]) -> Decision[Any]:
    """Say in words what could not be decided."""
    return replace(decision, value=_OPEN) if isinstance(decision.value, Unknown) else decision


def _unknown(spec: SyncSpec, path: Decision[str]) -> Iterator[str]:
    """What only a database could have said."""
    if path.value == _OPEN:
        yield "how the rows get to the target"
    if isinstance(spec.source.columns, Unknown):
        yield "which columns the source delivers, and of which types"
    if isinstance(spec.facts.target_exists, Unknown):
        yield "whether the target is as declared, and how many rows it has"
    if spec.watermark is not None and isinstance(spec.watermark.value, Unknown):
        yield "how far the source was read"


def _origin(mark: Watermark) -> str:
    """What a position is."""
    if mark.by_value:
        return f"value of {mark.column}"
    return f"transactions by {mark.column}" if mark.column else f"position of the {mark.kind}"


def _statement(statement: Statement, told: ServerPlan | None) -> dict[str, Any]:
    return {
        "purpose": statement.purpose,
        "sql": statement.text,
        "parameters": list(statement.parameter_names),
        "counts": statement.counts,
        "when": list(statement.when),
        "instead": list(statement.instead),
        "feed": _feed(statement.feed),
        "server_plan": None if told is None else told.to_dict(),
    }


def _feed(feed: Feed | None) -> dict[str, Any] | None:
    if feed is None:
        return None
    return {"from": feed.label, "sql": None if feed.sql is None else feed.sql.render()[0]}


def _plain(value: object) -> object:
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return str(value)
