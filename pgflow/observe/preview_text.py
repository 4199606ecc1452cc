"""A preview as text for people: what was decided, then every statement; styled on a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from pgflow.observe.listing import printable

if TYPE_CHECKING:
    from pgflow.observe.preview import Preview, TargetPreview
    from pgflow.plan.statement import Statement
    from pgflow.run.server_plans import ServerPlan

#: A line in pieces, each with a style as rich names them; an empty one is plain.
Line: TypeAlias = tuple[tuple[str, str], ...]

_INDENT = "  "
#: Says where the rest of a compact preview is.
HINT: Line = ((f"{_INDENT}-v (verbose=True) shows every decision and statement", "dim"),)

#: Says of a target that the same is in the way as at one before it.
_AGAIN: Line = ((f"{_INDENT}not known: for the same reason", "yellow"),)

#: Columns that a line of a compact preview has for a sentence.
_WIDTH = 100

#: Where a sentence ends, and the next one says what to do.
_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")

_BOLD, _DIM, _CAREFUL, _BAD, _GOOD = "bold", "dim", "yellow", "bold red", "green"


def plain(written: Iterable[Line]) -> Iterator[str]:
    """Leave the styles out, and whatever would move the cursor or break the line."""
    return (printable("".join(text for text, _ in line), keep="\t") for line in written)


def lines(preview: Preview, verbose: bool | None = None) -> Iterator[Line]:
    """Write a preview.

    Args:
        preview: The preview.
        verbose: Whether every statement is shown; by default for a single target only of which
            everything is known.

    Yields:
        Its lines.
    """
    full = len(preview.targets) == 1 if verbose is None else verbose
    yield from _head(preview)
    if not full:
        yield from compact_lines(preview)
        yield HINT
        return
    for target in preview.targets:
        yield _plain("")
        yield from target_lines(target, statements=bool(verbose) or not target.problem)
        if target.problem and not verbose:
            yield HINT


def brief_lines(preview: Preview) -> Iterator[Line]:
    """Write a preview in a few lines, for a list of them.

    Args:
        preview: The preview.

    Yields:
        Its lines, without the one that says where the rest is.
    """
    yield from _head(preview)
    yield from compact_lines(preview)


def compact_lines(preview: Preview) -> Iterator[Line]:
    """Write what is most important of each target.

    Args:
        preview: The preview.

    Yields:
        A line for each target, what is amiss with it, and how often the source is read.
    """
    told: set[str] = set()
    for target in preview.targets:
        yield ((_INDENT, ""), *summary(target, _part(target, preview.targets)))
        again = bool(target.problem) and target.problem in told and not target.refused
        obstacles = [_refusal(target)] if target.refused else _obstacles(target)
        found = [*_cautions(target), *([_AGAIN] if again else obstacles)]
        yield from (((_INDENT, ""), *line) for line in found)
        told.add(target.problem)
    yield from (_plain(f"{_INDENT}{line}") for line in _readings(preview.targets))


def _part(target: TargetPreview, targets: Sequence[TargetPreview]) -> str:
    """Say which part of its table a target is, and on which connection if another one has it too.

    Args:
        target: One of the targets.
        targets: All of the pipeline.

    Returns:
        What tells it apart; empty if it is the only one, and a whole table.
    """
    scope = target.decision("scope")
    found = [f"scope={' '.join(str(scope).split())}"] if scope else []
    same = [each for each in targets if each.target == target.target]
    if len({each.place for each in same}) > 1:
        found.append(f"connection={target.place.name or target.connection}")
    return "  ".join(found)


def _refusal(target: TargetPreview) -> Line:
    """Say in one line why a target would be refused: its first sentence, as far as it fits."""
    first = target.problem.partition("\n")[0]
    told = first.rpartition(f" -> {target.target}: ")[2]
    told = _SENTENCE.split(told, maxsplit=1)[0]
    short = textwrap.shorten(told, _WIDTH - len(f"{_INDENT * 2}refused: "), placeholder=" ...")
    return ((f"{_INDENT}refused: {short}", _BAD),)


def _head(preview: Preview) -> Iterator[Line]:
    more = [f"  schedule: {preview.schedule}"] if preview.schedule else []
    more += [f"  targets: {len(preview.targets)}"] if len(preview.targets) > 1 else []
    yield ((preview.pipeline, _BOLD), ("".join(more), ""))
    if preview.parameters:
        yield _plain(f"{_INDENT}with " + ", ".join(f"{k}={v}" for k, v in preview.parameters))


def summary(target: TargetPreview, part: str = "") -> Line:
    """Write what is most important of a target in one line.

    Args:
        target: The target.
        part: What tells it apart from others of the same name.
    """
    mark, style = ("✗", _BAD) if target.refused else ("✓", _GOOD)
    if target.problem and not target.refused:
        mark, style = "?", _CAREFUL
    keys = target.decision("merge key")
    named = f"({', '.join(keys)})" if keys else "—"
    path = target.decision("path") or ""
    about = [target.target, *([part] if part else []), f"mode={target.mode}", f"keys={named}"]
    return ((mark, style), (f" {'  '.join(about)}  path={path}", ""))


def _readings(targets: Sequence[TargetPreview]) -> Iterator[str]:
    """Say how often the source is read, and why again."""
    groups: dict[tuple[str, str], list[str]] = {}
    for target in targets:
        reading = dict(target.decisions).get("reading")
        if reading is not None:
            once = reading.value if reading.value.startswith("once") else ""
            part = _part(target, targets)
            name = f"{target.target} ({part})" if part else target.target
            groups.setdefault((once, reading.reason), []).append(name)
    for (once, why), names in groups.items():
        if len(names) == len(targets):
            yield f"the source is read {once or f'by each target, because {why}'}"
        elif once:
            yield f"the source is read {once}: {', '.join(names)}"
        else:
            yield f"the source is read by {', '.join(names)} itself, because {why}"


def target_lines(target: TargetPreview, *, statements: bool = True) -> Iterator[Line]:
    """Write what a run would do to one target.

    Args:
        target: The preview of the target.
        statements: Whether every statement is shown.

    Yields:
        Its lines.
    """
    yield from _facts(target)
    yield from _cautions(target)
    yield from _obstacles(target)
    if not statements:
        return
    first = len(target.plan.prepare) + len(target.plan.statements)
    if target.unknown and not target.refused and target.steps:
        yield _plain("")
        yield ((f"{_INDENT}as far as it can be told without the database:", _CAREFUL),)
    yield from _statements(target.steps[:first])
    if target.plan.fallback is not None:
        yield _plain("")
        yield _plain(
            f"{_INDENT}if keys repeat or a constraint is violated, all that is undone, and instead:"
        )
        yield from _statements(target.steps[first:])


def facts(target: TargetPreview) -> list[tuple[str, str, str]]:
    """Return what is known of a target: subject, value in words, and why."""
    name = target.place.name
    found = [("target", target.target, ""), ("connection", target.connection, name or "")]
    found += [("source", target.source, "")] if target.source else []
    found += [(s, spoken(d.value), d.reason) for s, d in target.decisions]
    found += [("columns", ", ".join(target.declared), "declared")]
    found += [("", ", ".join(target.added), "added by pgflow")] if target.added else []
    if target.rows is not None:
        found.append(("rows", f"about {target.rows:,}", "the planner's estimate"))
    return found


def spoken(value: object) -> str:
    """Write the value of a decision in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value) or "—"
    return "—" if value is None else str(value)


def notes(statement: Statement) -> str:
    """Say of a statement what its row count is, when it runs, and what ends the plan with it."""
    found = [f"counts as {statement.counts}"] if statement.counts else []
    found += [f"only if there is any {' or '.join(statement.when)}"] if statement.when else []
    found += [f"gives way if there is any {' or '.join(statement.instead)}"] * bool(
        statement.instead
    )
    return "; ".join(found)


def _facts(target: TargetPreview) -> Iterator[Line]:
    told = facts(target)
    width = max(len(subject) for subject, _, _ in told)
    for subject, value, reason in told:
        added = reason == "added by pgflow"
        yield (
            (f"{_INDENT}{subject:<{width}}  ", ""),
            (value, _DIM if added else _BOLD if subject == "target" else ""),
            (f"  [{reason}]" if reason else "", _DIM),
        )


def _cautions(target: TargetPreview) -> Iterator[Line]:
    """Warnings and hazards."""
    for warning in target.warnings:
        yield ((f"{_INDENT}warning: {warning}", _CAREFUL),)
    for hazard in target.plan.hazards:
        yield ((f"{_INDENT}hazard: {hazard}", _CAREFUL),)


def _obstacles(target: TargetPreview) -> Iterator[Line]:
    """What could not be known, or would be refused."""
    if target.problem:
        word, style = ("refused", _BAD) if target.refused else ("not known", _CAREFUL)
        first, *others = target.problem.splitlines()
        yield ((f"{_INDENT}{word}: {first}", style),)
        yield from (((f"{_INDENT * 2}{line}", style),) for line in others)
    if target.unknown and not target.refused:
        yield ((f"{_INDENT}so it is not known {'; '.join(target.unknown)}", _CAREFUL),)


def _statements(told: Iterable[tuple[Statement, ServerPlan | None]]) -> Iterator[Line]:
    for number, (statement, server_plan) in enumerate(told, 1):
        said = notes(statement)
        yield _plain("")
        yield ((f"{_INDENT}-- {number}. {statement.purpose}{f' ({said})' if said else ''}", _DIM),)
        yield from (_plain(f"{_INDENT}{line}") for line in statement.text.splitlines())
        comments = [*_feed(statement), *_parameters(statement)]
        if server_plan is not None:
            comments += _server_plan(server_plan)
        yield from (((f"{_INDENT}-- {comment}", _DIM),) for comment in comments)


def _feed(statement: Statement) -> Iterator[str]:
    if statement.feed is None:
        return
    yield f"rows from {statement.feed.label}"
    text = "" if statement.feed.sql is None else statement.feed.sql.render()[0]
    yield from (f"  {line}" for line in text.splitlines())


def _parameters(statement: Statement) -> Iterator[str]:
    names = statement.parameter_names
    if names:
        yield "with " + ", ".join(f"${i} = {n}" for i, n in enumerate(names, 1))


def _server_plan(told: ServerPlan, whose: str = "the server's plan") -> Iterator[str]:
    if told.missing:
        yield f"{whose}: none, because {told.missing}"
    else:
        yield f"{whose}:"
        yield from (f"  {line}" for line in told.lines)
    if told.feed is not None:
        yield from _server_plan(told.feed, "the source's server's plan")


def _plain(text: str) -> Line:
    return ((text, ""),)
