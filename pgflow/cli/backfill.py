"""`pgflow backfill`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pgflow.cli import signals
from pgflow.cli.failures import OK, exit_code, sentence
from pgflow.cli.output import Output
from pgflow.cli.selection import select_one
from pgflow.cli.sync import watching
from pgflow.factories.backfill import Backfill
from pgflow.observe.listing import Listing
from pgflow.observe.report import counts_text
from pgflow.run.positions.backfills import Step
from pgflow.run.result import Counts


@dataclass(frozen=True)
class Request:
    """What a user asks of `pgflow backfill`.

    Attributes:
        name: The pipeline.
        begin: `--from`.
        end: `--to`.
        step: `--step`.
        column: `--column`.
        bounds: `--param-from` and `--param-to`.
        parameters: `--param`.
        advance: `--advance`.
        again: `--again`.
        dry_run: `--dry-run`.
    """

    name: str
    begin: str
    end: str
    step: str
    column: str | None = None
    bounds: tuple[str, str] | None = None
    parameters: dict[str, object] = field(default_factory=dict)
    advance: bool = False
    again: bool = False
    dry_run: bool = False


@dataclass
class Done:
    """What has become of a backfill so far.

    Attributes:
        left: The steps that were still to be done.
        done: How many of them are.
        counts: What they did.
        failure: What ended it, if not the last step.
    """

    left: tuple[Step, ...]
    done: int = 0
    counts: Counts = field(default_factory=Counts)
    failure: BaseException | None = None

    @property
    def code(self) -> int:
        """The exit code."""
        if isinstance(self.failure, KeyboardInterrupt):
            return signals.exit_code(self.failure)
        return OK if self.failure is None else exit_code(self.failure)


def backfill_pipeline(
    output: Output, request: Request, modules: Sequence[str] | None, *, as_json: bool
) -> int:
    """Read a range of a source again in steps, and say how far it came.

    Args:
        output: Where to.
        request: What is asked for.
        modules: What `--module` said.
        as_json: Whether to write JSON.
    """
    pipeline = select_one(request.name, modules)
    with watching(output) as progress:
        backfill = Backfill(
            pipeline,
            request.begin,
            request.end,
            request.step,
            column=request.column,
            bounds=request.bounds,
            parameters=request.parameters,
            advance=request.advance,
            again=request.again,
            observer=progress,
        )
        left = backfill.left()
        if request.dry_run:
            _show(output, backfill, left, as_json)
            return OK
        done = _run(output, backfill, Done(left))
    if as_json:
        output.json(_plain(backfill, done))
    else:
        output.line(_summary(backfill, done))
    if done.failure is not None:
        _tell(output, done)
    return done.code


def _run(output: Output, backfill: Backfill, done: Done) -> Done:
    try:
        for step, result in backfill.run():
            done.done += 1
            done.counts += Counts(**result.counts)
            output.note(f"step {step.number} of {step.of}, to {step.end}: {counts_text(result)}")
    except (Exception, KeyboardInterrupt) as error:
        done.failure = error
    return done


def _tell(output: Output, done: Done) -> None:
    step = done.left[done.done] if done.done < len(done.left) else None
    where = "" if step is None else f" Run the same command again to go on from {step.begin}."
    if isinstance(done.failure, KeyboardInterrupt):
        output.error(f"interrupted; nothing of the step in progress was written.{where}")
    elif done.failure is not None:
        output.error(sentence(done.failure) + where, done.failure)


def _summary(backfill: Backfill, done: Done) -> str:
    name, total = backfill.pipeline.name, len(backfill.all_steps)
    if not done.left:
        return f"{name}: all {total} steps were done before; --again does them once more"
    finished = total - len(done.left) + done.done
    return f"{name}: {finished} of {total} steps done: {counts_text(done.counts)}"


def _show(output: Output, backfill: Backfill, left: tuple[Step, ...], as_json: bool) -> None:
    if as_json:
        output.json([vars(step) for step in left])
        return
    rows = tuple((str(s.number), s.begin, s.end) for s in left)
    if rows:
        output.listing(Listing(("step", "from", "to"), rows, numeric=frozenset({"step"})))
    output.note(f"{len(left)} of {len(backfill.all_steps)} steps are left; nothing was done")


def _plain(backfill: Backfill, done: Done) -> dict[str, Any]:
    total = len(backfill.all_steps)
    finished = total - len(done.left) + done.done
    return {
        "pipeline": backfill.pipeline.name,
        "from": backfill.begin,
        "to": backfill.end,
        "step": backfill.step,
        "steps": total,
        "steps_done": finished,
        "done_to": backfill.all_steps[finished - 1].end if finished else None,
        "status": "success" if done.failure is None else "failed",
        **done.counts.counts,
    }
