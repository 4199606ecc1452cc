"""What was measured beside what it may be: lines of text, each with a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.cases import SIZES
from tests.benchmarks.contest import Contest
from tests.benchmarks.meter import median_cpu, median_wall

#: The work of a sync, as a multiple of hand-written SQL of the same effect.
SYNC = 1.10
#: `import pgflow`, as a multiple of importing SQLAlchemy and psycopg.
IMPORT = 1.3
#: A copy from another database, as a multiple of `psql | psql`.
COPY = 1.35
#: Megabytes that a process may need that copies any number of rows.
MEMORY = 80.0
#: Seconds that a warm sync may take beyond the hand-written SQL.
OVERHEAD = 0.020
#: Seconds for a thousand factories.
FACTORIES = 2.0
#: Seconds of autogenerate over a hundred tables with views and triggers, nothing changed.
AUTOGENERATE = 3.0

_TITLES = ("", "hand cpu", "pgflow cpu", "ratio", "hand s", "pgflow s", "ratio", "")
_WIDTHS = (42, 9, 11, 7, 8, 9, 7, 12)


@dataclass(frozen=True)
class Line:
    """One line of the results.

    Attributes:
        text: What was measured.
        verdict: `ok`, `over 1.10`, or nothing where no budget applies.
        missed: Whether the budget was missed.
    """

    text: str
    verdict: str = ""
    missed: bool = False

    def __str__(self) -> str:
        return f"{self.text}  {self.verdict}".rstrip()


def heading() -> str:
    """Return the heading of the table of syncs."""
    return _row(*_TITLES)


def judge_sync(contest: Contest, rows: int) -> Line:
    """Judge the work of a sync: by seconds of CPU, or by the clock where CPU cannot be seen.

    The budget is for a million rows; below, the fixed costs of a run outweigh its work.
    """
    wall = median_wall(contest.hand), median_wall(contest.pgflow)
    cpu = median_cpu(contest.hand), median_cpu(contest.pgflow)
    known = cpu[0] is not None and cpu[1] is not None
    text = _row(contest.case.name, *_ratio(*cpu), *_ratio(*wall), "")
    if rows < SIZES["full"]:
        return Line(text)
    work = (cpu[1] or 0) / (cpu[0] or 1) if known else wall[1] / wall[0]
    return _judge(text, work, SYNC, f"{SYNC:.2f}")


def judge_seconds(what: str, seconds: float, limit: float) -> Line:
    """Judge a time that has a limit of its own."""
    text = f"{what:<{_WIDTHS[0]}}{seconds * 1000:>9.1f} ms"
    return _judge(text, seconds, limit, f"{limit * 1000:.0f} ms")


def tell_seconds(what: str, seconds: float) -> Line:
    """Tell a time that has no limit."""
    return Line(f"{what:<{_WIDTHS[0]}}{seconds * 1000:>9.1f} ms")


def judge_import(what: str, seconds: float, floor: float) -> Line:
    """Judge the time of an import beside that of what pgflow stands on."""
    text = str(tell_import(what, seconds, floor))
    return _judge(text, seconds / floor, IMPORT, f"{IMPORT:.1f}")


def tell_import(what: str, seconds: float, floor: float) -> Line:
    """Tell the time of an import that has no limit."""
    return Line(
        f"{what:<{_WIDTHS[0]}}{seconds * 1000:>9.1f} ms, {seconds / floor:.2f} of the "
        f"{floor * 1000:.1f} ms of what it stands on"
    )


def judge_copy(hand: float | None, copied: float, whole: float, rows: int) -> Line:
    """Judge a copy from another database by the clock: four processes share the work."""
    rest = f"{copied:.2f} s, {rows / copied / 1000:,.0f} thousand rows/s; the sync {whole:.2f} s"
    what = f"{'copy from another database':<{_WIDTHS[0]}}"
    if hand is None:
        return Line(f"{what}{rest}; no psql to compare with")
    text = f"{what}{rest}; psql | psql {hand:.2f} s, {copied / hand:.2f} of it"
    return Line(text) if rows < SIZES["full"] else _judge(text, copied / hand, COPY, f"{COPY:.2f}")


def judge_memory(what: str, before: float, after: float) -> Line:
    """Judge the peak of memory of a process through which all rows go."""
    return _judge(str(tell_memory(what, before, after)), after, MEMORY, f"{MEMORY:.0f} MB")


def tell_memory(what: str, before: float, after: float) -> Line:
    """Tell the peak of memory; no budget applies where the rows stay in the server."""
    return Line(f"{what:<{_WIDTHS[0]}}{after:>9.1f} MB, of which {before:.1f} MB before the run")


def _judge(text: str, value: float, limit: float, spelt: str) -> Line:
    return Line(text, f"over {spelt}", missed=True) if value > limit else Line(text, "ok")


def _ratio(hand: float | None, pgflow: float | None) -> tuple[str, str, str]:
    if hand is None or pgflow is None:
        return "", "", ""
    return f"{hand:.2f}", f"{pgflow:.2f}", f"{pgflow / hand:.2f}"


def _row(first: str, *cells: str) -> str:
    rest = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS[1:], strict=True))
    return (f"{first:<{_WIDTHS[0]}}" + "".join(rest)).rstrip()
