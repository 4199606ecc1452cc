"""What a run would do, and why: every decision with its reason, and every statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pgflow.plan.decision import UNKNOWN, Decision, Unknown
from pgflow.plan.spec import SyncSpec, Watermark
from pgflow.plan.statement import Feed, Plan, Statement

_INDENT = "  "


@dataclass(frozen=True)
class TargetPreview:
    """What a run would do to one target.

    Attributes:
        target: The target's qualified name.
        mode: The mode's name.
        connection: Where the target is: host, database and user, never a password.
        decisions: What was decided, by subject, each with its reason.
        declared: The columns that the user declared.
        added: The columns that pgflow adds.
        plan: The statements.
        estimated_rows: The planner's estimate of the target's rows, or UNKNOWN.
        problem: What could not be known, or why the run would be refused; empty if nothing.
        refused: Whether the run would be refused.
    """

    target: str
    mode: str
    connection: str
    decisions: tuple[tuple[str, Decision[Any]], ...]
    declared: tuple[str, ...]
    added: tuple[str, ...]
    plan: Plan
    estimated_rows: int | Unknown = UNKNOWN
    problem: str = ""
    refused: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the preview as plain data; the same for the same state of the database."""
        return {
            "target": self.target,
            "mode": self.mode,
            "connection": self.connection,
            "decisions": {
                subject: {"value": _plain(d.value), "reason": d.reason, "warning": d.warning}
                for subject, d in self.decisions
            },
            "columns": {"declared": list(self.declared), "added": list(self.added)},
            "estimated_rows": None
            if isinstance(self.estimated_rows, Unknown)
            else self.estimated_rows,
            "hazards": list(self.plan.hazards),
            "prepare": [_statement(s) for s in self.plan.prepare],
            "statements": [_statement(s) for s in self.plan.statements],
            "fallback": [_statement(s) for s in self.plan.fallback.statements]
            if self.plan.fallback
            else [],
            "problem": self.problem,
            "refused": self.refused,
        }

    def lines(self, *, statements: bool = True) -> Iterator[str]:
        """Write the preview as lines of text."""
        facts = [("target", self.target, ""), ("connection", self.connection, "")]
        facts += [(s, _spoken(d.value), d.reason) for s, d in self.decisions]
        facts += [("columns", ", ".join(self.declared), "declared")]
        facts += [("", ", ".join(self.added), "added by pgflow")] if self.added else []
        if not isinstance(self.estimated_rows, Unknown) and self.estimated_rows >= 0:
            facts.append(("rows", f"about {self.estimated_rows:,}", "the planner's estimate"))
        width = max(len(subject) for subject, _, _ in facts)
        for subject, value, reason in facts:
            yield f"{_INDENT}{subject:<{width}}  {value}" + (f"  [{reason}]" if reason else "")
        for warning in (d.warning for _, d in self.decisions if d.warning):
            yield f"{_INDENT}warning: {warning}"
        for hazard in self.plan.hazards:
            yield f"{_INDENT}hazard: {hazard}"
        if self.problem:
            yield f"{_INDENT}{'refused' if self.refused else 'not known'}: {self.problem}"
        if statements:
            yield from _statement_lines((*self.plan.prepare, *self.plan.statements))
            if self.plan.fallback is not None:
                yield ""
                yield (
                    f"{_INDENT}if a constraint of the target is violated, all that is undone, and "
                    "instead:"
                )
                yield from _statement_lines(self.plan.fallback.statements)

    @property
    def summary(self) -> str:
        """The preview in one line."""
        keys = next((d.value for s, d in self.decisions if s == "merge key"), ())
        path = next((d.value for s, d in self.decisions if s == "path"), "")
        mark = "✗" if self.refused else "✓"
        named = f"({', '.join(keys)})" if keys else "—"
        return f"{mark} {self.target}  mode={self.mode}  keys={named}  path={path}"


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
        """Return the preview as plain data."""
        return {
            "pipeline": self.pipeline,
            "schedule": self.schedule,
            "parameters": dict(self.parameters),
            "targets": [t.to_dict() for t in self.targets],
        }

    def to_json(self) -> str:
        """Return the preview as JSON; byte for byte the same for the same state."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def render(self, *, verbose: bool | None = None) -> str:
        """Write the preview as text.

        Args:
            verbose: Whether every statement is shown; by default for a single target only.

        Returns:
            The text, without a newline at its end.
        """
        full = len(self.targets) == 1 if verbose is None else verbose
        head = self.pipeline
        if self.schedule:
            head += f"  schedule: {self.schedule}"
        if len(self.targets) > 1:
            head += f"  targets: {len(self.targets)}"
        lines = [head]
        if self.parameters:
            lines.append(f"{_INDENT}with " + ", ".join(f"{k}={v}" for k, v in self.parameters))
        for target in self.targets:
            if full:
                lines += ["", *target.lines()]
            else:
                lines.append(f"{_INDENT}{target.summary}")
                if target.problem:
                    lines.append(f"{_INDENT * 2}{target.problem}")
        if not full:
            lines.append(f"{_INDENT}verbose for every decision and statement")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


def preview_target(
    spec: SyncSpec,
    plan: Plan,
    connection: str,
    path: Decision[str],
    *,
    problem: str = "",
    refused: bool = False,
) -> TargetPreview:
    """Put together what is known of one target.

    Args:
        spec: What is planned, with the facts that are known.
        plan: The plan.
        connection: Where the target is, without a password.
        path: How rows get from source to target.
        problem: What could not be known, or why a run would be refused.
        refused: Whether it would be refused.

    Returns:
        The preview.
    """
    decisions = dict(plan.decisions)
    mode = decisions.pop("mode", Decision(spec.mode, ""))
    ordered = [("mode", mode), ("path", path), *decisions.items()]
    if spec.watermark is not None:
        value = spec.watermark.value
        state = "not known" if isinstance(value, Unknown) else value or "nothing read yet"
        ordered.append(("last read", Decision(state, _origin(spec.watermark))))
    if spec.scope is not None:
        ordered.append(("scope", Decision(spec.scope_name, "scope=")))
    return TargetPreview(
        target=spec.target.label,
        mode=spec.mode,
        connection=connection,
        decisions=tuple(ordered),
        declared=tuple(c.name for c in spec.target.columns),
        added=spec.target.system.names,
        plan=plan,
        estimated_rows=spec.facts.estimated_rows,
        problem=problem,
        refused=refused,
    )


def _origin(mark: Watermark) -> str:
    """What a position is."""
    if mark.by_value:
        return f"value of {mark.column}"
    return f"transactions by {mark.column}" if mark.column else f"position of the {mark.kind}"


def _statement(statement: Statement) -> dict[str, Any]:
    return {
        "purpose": statement.purpose,
        "sql": statement.text,
        "parameters": list(statement.parameter_names),
        "counts": statement.counts,
        "when": list(statement.when),
        "feed": _feed(statement.feed),
    }


def _feed(feed: Feed | None) -> dict[str, Any] | None:
    if feed is None:
        return None
    return {"from": feed.label, "sql": None if feed.sql is None else feed.sql.render()[0]}


def _statement_lines(statements: Iterable[Statement]) -> Iterator[str]:
    for number, statement in enumerate(statements, 1):
        notes = []
        if statement.counts:
            notes.append(f"counts as {statement.counts}")
        if statement.when:
            notes.append(f"only if there is any {' or '.join(statement.when)}")
        yield ""
        yield f"{_INDENT}-- {number}. {statement.purpose}" + (
            f" ({'; '.join(notes)})" if notes else ""
        )
        for line in statement.text.splitlines():
            yield f"{_INDENT}{line}"
        if statement.feed is not None:
            yield f"{_INDENT}-- rows from {statement.feed.label}"
            text = "" if statement.feed.sql is None else statement.feed.sql.render()[0]
            yield from (f"{_INDENT}--   {line}" for line in text.splitlines())
        names = statement.parameter_names
        if names:
            yield f"{_INDENT}-- with " + ", ".join(f"${i} = {n}" for i, n in enumerate(names, 1))


def _plain(value: object) -> object:
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return str(value)


def _spoken(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value) or "—"
    return "—" if value is None else str(value)
