"""The command: `python -m tests.benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import closing

from sqlalchemy import URL

from tests.benchmarks import budgets, client, migrations, transfer
from tests.benchmarks.budgets import Line
from tests.benchmarks.cases import SIZES, Case, chosen, named
from tests.benchmarks.contest import hold
from tests.benchmarks.databases import Databases
from tests.benchmarks.server import dial, server

_TINY = 10
#: How many times the rows of a case the memory of a copy is looked at with.
_MORE = 10
#: The number of tables for which autogenerate has a budget.
_JUDGED = 100


def main() -> int:
    """Measure, print each line when it is known, and return the exit code."""
    options = _options()
    begun = time.monotonic()
    missed = 0
    with server(options.dsn) as url:
        _say(_where(url, SIZES[options.size], options.runs))
        for line in _lines(url, options):
            _say(str(line))
            missed += line.missed
    _say(f"\n{missed} over budget, in {time.monotonic() - begun:.0f} s")
    return 1 if options.strict and missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full", help="rows of each case")
    parser.add_argument("--runs", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument("--dsn", help="a server to use; its role may create databases")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a budget is missed")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="cases by name")
    return parser.parse_args()


def _lines(url: URL, options: argparse.Namespace) -> Iterator[Line]:
    if not options.only:
        yield from _client_lines(url)
        yield Line("")
    rows = SIZES[options.size]
    yield Line(budgets.heading())
    with closing(Databases(url, rows)) as databases:
        for case in chosen(options.only):
            yield _sync_line(case, databases, options.runs)
        if not options.only:
            yield Line("")
            yield _memory(databases, rows)
        if not options.only or any(text in transfer.CASE.name for text in options.only):
            yield from _transfer_lines(databases, options)


def _sync_line(case: Case, databases: Databases, runs: int) -> Line:
    """Judge a case; what seems to miss its budget is measured again.

    A few runs may swing by more than a budget leaves. Twice as many more say which it was.
    """
    contest = hold(case, databases, runs)
    line = budgets.judge_sync(contest, databases.rows)
    if not line.missed:
        return line
    contest = contest.and_more(hold(case, databases, 2 * runs))
    return budgets.judge_sync(contest, databases.rows)


def _client_lines(url: URL) -> Iterator[Line]:
    floor, bare, script_floor, script, creating = client.import_seconds(
        client.FLOOR, "import pgflow", client.SCRIPT_FLOOR, client.SCRIPT, client.CREATING
    )
    yield budgets.judge_import("import pgflow", bare, floor)
    yield budgets.tell_import("import what a script uses", script, script_floor)
    yield budgets.tell_import("the same with create_all", creating, script_floor)
    for kind in ("tables", "pipelines"):
        seconds = client.factories(kind)
        what = f"1000 {kind}, declared and resolved"
        yield budgets.judge_seconds(what, seconds, budgets.FACTORIES)
    with closing(Databases(url, _TINY)) as databases:
        hand, pgflow = client.overhead(databases)
        what = f"sync of {_TINY} rows beyond hand-written SQL"
        yield budgets.judge_seconds(what, pgflow - hand, budgets.OVERHEAD)
        yield from _migration_lines(databases)


def _migration_lines(databases: Databases) -> Iterator[Line]:
    for tables in (100, 300):
        with databases.empty() as url:
            target = url.render_as_string(hide_password=False)
            metadata = migrations.schema(tables)
            new = migrations.autogenerate(target, metadata)
            yield budgets.tell_seconds(
                f"autogenerate, {tables} tables, {new.operations} steps", new.seconds
            )
            migrations.create(target, metadata)
            same = migrations.autogenerate(target, metadata)
            what = f"autogenerate, {tables} tables, {same.operations} steps"
            if tables == _JUDGED:
                yield budgets.judge_seconds(what, same.seconds, budgets.AUTOGENERATE)
            else:
                yield budgets.tell_seconds(what, same.seconds)


def _transfer_lines(databases: Databases, options: argparse.Namespace) -> Iterator[Line]:
    """A source in another database: time beside psql, and memory, also with ten times the rows."""
    rows = databases.rows
    yield budgets.judge_copy(*transfer.seconds(databases, options.runs), rows)
    yield budgets.judge_memory(
        f"peak memory, copy of {rows:,} rows", *transfer.peak_memory(databases)
    )
    with closing(Databases(databases.server, rows * _MORE)) as larger:
        what = f"peak memory, copy of {larger.rows:,} rows"
        yield budgets.judge_memory(what, *transfer.peak_memory(larger))


def _memory(databases: Databases, rows: int) -> Line:
    before, after = client.peak_memory(named("merge, 1 % changed"), databases)
    return budgets.tell_memory(f"peak memory, merge of {rows:,} rows", before, after)


def _where(url: URL, rows: int, runs: int) -> str:
    with dial(url) as connection:
        version = connection.execute("SHOW server_version").fetchone()
    said = version[0] if version else "?"
    return f"PostgreSQL {said}; {rows:,} rows; medians of {runs} runs of each side\n"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
