"""Operations as lines of a migration file, and Alembic's indentation mended.

Alembic indents the code of `upgrade()` by a regular expression, which also moves the lines inside
of string literals and cuts the white space at their ends. A function's body would not survive.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterable, Iterator

from alembic.autogenerate import render
from alembic.autogenerate.api import AutogenContext

from pgflow.alembic import queues
from pgflow.alembic.operations import StepsOp, runs
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Step
from pgflow.alembic.text import call, formatted

_MARGIN = " " * 4
_RESETS = tuple(map(call, queues.RESETS))

_default_indent = render._indent


def install() -> None:
    """Let Alembic write pgflow's operations, and leave string literals alone when it indents."""
    render.renderers.dispatch_for(StepsOp, replace=True)(rendered)
    # The only place between the renderers and the file; there is no hook.
    vars(render)["_indent"] = indented


def rendered(context: AutogenContext, operation: StepsOp) -> list[str]:
    """Write an operation as it stands in a migration file.

    Args:
        context: Alembic's autogenerate.
        operation: Some steps.

    Returns:
        One piece of code, in a list; none if there are no steps.
    """
    lines = list(step_lines(operation.steps, operation.settings))
    if any("sa.DDL(" in line for line in lines):
        context.imports.add("import sqlalchemy as sa")
    return ["\n".join(lines)] if lines else []


def step_lines(steps: Iterable[Step], settings: MigrationSettings) -> Iterator[str]:
    """Write steps as code: a comment with the title and the hazards, then the statements.

    Args:
        steps: The steps.
        settings: How migrations are run.

    Returns:
        Pieces of code, each on lines of its own, not indented.
    """
    listed = list(steps)
    begun = {id(step.statements[0]): step for step in listed}
    for outside, part in runs(each for step in listed for each in step.statements):
        if not outside:
            yield from (_code(statement, begun.get(id(statement))) for statement in part)
            continue
        yield "# Outside the transaction: each statement is kept when it is done."
        yield "with op.get_context().autocommit_block():"
        for statement, sql in queues.limited(part, settings):
            step = None if statement is None else begun.get(id(statement))
            yield _shifted(call(sql) if statement is None else _code(statement, step))
        yield from map(_shifted, _RESETS)


def indented(source: str) -> str:
    """Indent code by four columns without touching the insides of its string literals.

    Args:
        source: Lines of Python.

    Returns:
        The lines, indented, white space at their ends cut, none before the first.
    """
    try:
        verbatim = _inside_literals(source)
    except (tokenize.TokenError, SyntaxError):
        # Another renderer gave something that is not Python: it stays Alembic's business.
        return str(_default_indent(source))
    lines = source.split("\n")
    for number, line in enumerate(lines):
        own = line if number in verbatim else _MARGIN + line
        lines[number] = own if number + 1 in verbatim else own.rstrip(" ")
    return "\n".join(lines).strip()


def _code(statement: Statement, begun: Step | None) -> str:
    lines = [] if begun is None else list(_title(begun))
    indentation = len(_MARGIN) * (2 if statement.autocommit else 1)
    return "\n".join((*lines, call(formatted(statement.sql), indentation)))


def _title(step: Step) -> Iterator[str]:
    yield f"# {_printable(step.title)}"
    hazards = dict.fromkeys(h.value for each in step.statements for h in each.hazards)
    if hazards:
        yield f"# {', '.join(hazards)}"


def _printable(title: str) -> str:
    """Keep a name with line breaks in it from ending the comment."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in title)


def _shifted(code: str) -> str:
    return _MARGIN + indented(code)


def _inside_literals(source: str) -> frozenset[int]:
    """Find the lines, counted from 0, that begin inside of a string."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return frozenset(
        number
        for token in tokens
        if token.type not in (tokenize.NEWLINE, tokenize.NL)
        for number in range(token.start[0], token.end[0])
    )
