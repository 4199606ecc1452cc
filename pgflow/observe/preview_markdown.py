"""A preview as Markdown, for pull requests: what needs a reader's eye first, SQL folded away."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pgflow.observe.listing import printable
from pgflow.observe.preview_text import facts, notes

if TYPE_CHECKING:
    from pgflow.observe.preview import Preview, TargetPreview
    from pgflow.plan.statement import Statement
    from pgflow.run.server_plans import ServerPlan

#: What Markdown could take for its own in a sentence.
_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")


def write(preview: Preview) -> str:
    """Write a preview.

    Args:
        preview: The preview.

    Returns:
        GitHub's Markdown. Names cannot become markup: they stand in code, or escaped.
    """
    return "\n".join(_lines(preview))


def _lines(preview: Preview) -> Iterator[str]:
    yield f"### {_code(preview.pipeline)}"
    about = [f"schedule {_code(preview.schedule)}"] if preview.schedule else []
    about += [_code(f"{name}={value}") for name, value in preview.parameters]
    if about:
        yield from ("", ", ".join(about))
    for target in preview.targets:
        yield from ("", f"#### {_code(target.target)}: {_mark(target)}", "")
        yield from _troubles(target)
        yield from _table(target)
        yield from ("", *_folded(target))


def _mark(target: TargetPreview) -> str:
    if target.refused:
        return "❌ would be refused"
    return f"❔ {_code(target.mode)}" if target.problem else f"✅ {_code(target.mode)}"


def _troubles(target: TargetPreview) -> Iterator[str]:
    told = [("❌ Refused", target.problem)] if target.problem and target.refused else []
    told += [("⚠️ Hazard", hazard) for hazard in target.plan.hazards]
    told += [("⚠️ Warning", warning) for warning in target.warnings]
    if target.problem and not target.refused:
        unknown = f" So it is not known {'; '.join(target.unknown)}." if target.unknown else ""
        told.append(("❔ Not known", target.problem + unknown))
    for title, text in told:
        first, *others = text.splitlines()
        yield f"> **{title}**: {_escaped(first)}"
        yield from (f"> {_escaped(line)}" for line in others)
        yield ""


def _table(target: TargetPreview) -> Iterator[str]:
    yield "| | | why |"
    yield "|---|---|---|"
    for subject, value, reason in facts(target):
        yield f"| {_escaped(subject)} | {_cell(value)} | {_escaped(reason)} |"


def _folded(target: TargetPreview) -> Iterator[str]:
    count = len(target.steps)
    if not count:
        yield "No statement of pgflow's: the pipeline's function does the work itself."
        return
    yield f"<details><summary>{count} statement{'s' if count > 1 else ''}</summary>"
    first = len(target.plan.prepare) + len(target.plan.statements)
    yield from _statements(target.steps[:first])
    if target.plan.fallback is not None:
        yield from (
            "",
            "If keys repeat or a constraint is violated, all that is undone, and instead:",
        )
        yield from _statements(target.steps[first:])
    yield from ("", "</details>")


def _statements(told: Iterable[tuple[Statement, ServerPlan | None]]) -> Iterator[str]:
    for number, (statement, server_plan) in enumerate(told, 1):
        said = notes(statement)
        title = f"{statement.purpose} ({said})" if said else statement.purpose
        yield from ("", f"{number}\\. {_escaped(title)}", "", *_fenced(statement.text, "sql"))
        names = statement.parameter_names
        if names:
            told_names = ", ".join(f"${i} = {n}" for i, n in enumerate(names, 1))
            yield from ("", f"with {_code(told_names)}")
        if statement.feed is not None:
            yield from ("", f"Rows from {_code(statement.feed.label)}:")
            if statement.feed.sql is not None:
                yield from ("", *_fenced(statement.feed.sql.render()[0], "sql"))
        if server_plan is not None:
            yield from _server_plan(server_plan, "The server's plan")


def _server_plan(told: ServerPlan, whose: str) -> Iterator[str]:
    if told.missing:
        yield from ("", f"{whose}: none, because {_escaped(told.missing)}")
    else:
        yield from ("", f"{whose}:", "", *_fenced("\n".join(told.lines), "text"))
    if told.feed is not None:
        yield from _server_plan(told.feed, "The plan of the source's server")


def _fenced(text: str, language: str) -> Iterator[str]:
    """A block that no text in it can end."""
    ticks = max((len(run) for run in re.findall(r"`{3,}", text)), default=2) + 1
    yield "`" * ticks + language
    yield from printable(text).splitlines()
    yield "`" * ticks


def _code(text: str) -> str:
    """A code span that no text in it can end."""
    line = _line(text)
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    edge = " " if line.startswith("`") or line.endswith("`") or not line.strip() else ""
    return f"{ticks}{edge}{line}{edge}{ticks}"


def _cell(text: str) -> str:
    """A code span in a table, in which a pipe ends the cell even there."""
    return _code(text).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Text in which nothing is markup."""
    return _SPECIAL.sub(r"\\\1", html.escape(_line(text), quote=False))


def _line(text: str) -> str:
    return printable(" ".join(text.split("\n")), keep="").strip()
