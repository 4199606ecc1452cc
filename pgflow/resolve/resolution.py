"""Running a factory's plugins, all of them or none: the step from a list to a filled context."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Table

from pgflow.errors import UndeclaredWrite, UnwrittenKey
from pgflow.resolve.context import FactoryContext, Journal, Staged
from pgflow.resolve.explain import Explanation, explain
from pgflow.resolve.keys import COLUMNS, check_type
from pgflow.resolve.order import Arrangement, arrange
from pgflow.resolve.plugin import Plugin
from pgflow.resolve.snapshot import Snapshot
from pgflow.resolve.wiring import Entry

#: One factory at a time puts objects on a MetaData, which SQLAlchemy does not guard itself.
_one_at_a_time = threading.RLock()
#: Snapshots of the factories being resolved, the outermost first: a plugin may make a factory.
_open: list[Snapshot] = []


@dataclass(frozen=True, eq=False)
class Resolution:
    """A plugin list, checked as a whole and put into order; nothing has run yet.

    Attributes:
        name: Name of the factory.
        given: Keys that have a value before any plugin runs.
        entries: The plugins in list order, with their origins.
        arrangement: Their order, and its reasons.
    """

    name: str
    given: tuple[str, ...]
    entries: tuple[Entry, ...]
    arrangement: Arrangement

    @property
    def ordered(self) -> list[Entry]:
        """The entries in the order in which they run."""
        return [self.entries[index] for index in self.arrangement.order]

    @property
    def plugins(self) -> list[Plugin]:
        """The plugins in the order in which they run."""
        return [entry.plugin for entry in self.ordered]

    def explain(self) -> Explanation:
        """Say in which order the plugins run, and why."""
        return explain(self.name, self.given, self.entries, self.arrangement)

    def run(self, ctx: FactoryContext) -> None:
        """Run the plugins over a context, then apply what they staged.

        A context that other plugins have filled may be given too: that is how a view adds
        itself to the table that it is about.

        Args:
            ctx: The context; it holds the given keys.

        Raises:
            PluginError: A plugin wrote something else than it declares.
            Exception: Whatever a plugin or a staged operation raises, with a note that says
                which. In every case the MetaData is exactly as it was.
        """
        ctx._learn(self.arrangement.typed)
        with _undone_on_failure(ctx) as snapshot:
            present = {id(plugin) for plugin in ctx.plugins}
            ctx.plugins.extend(plugin for plugin in self.plugins if id(plugin) not in present)
            staged: list[Staged] = []
            ctx._staged = staged
            try:
                for entry in self.ordered:
                    _run(entry, ctx, self.name)
            finally:
                ctx._staged = None
            _apply(staged, snapshot)


def resolve(name: str, entries: Sequence[Entry], given: Sequence[str] = ()) -> Resolution:
    """Check a plugin list as a whole and put it into order.

    Args:
        name: Name of the factory, for messages.
        entries: The plugins in list order.
        given: Keys that have a value before any plugin runs.

    Returns:
        What `run` needs.

    Raises:
        PluginError: The list cannot work; nothing has run.
    """
    return Resolution(name, tuple(given), tuple(entries), arrange(entries, name, given))


@contextmanager
def _undone_on_failure(ctx: FactoryContext) -> Iterator[Snapshot]:
    with _one_at_a_time:
        snapshot = Snapshot(ctx.metadata)
        restore_context = ctx._checkpoint()
        # Tables that the factory was given are those that its plugins may reach without asking.
        snapshot.keep(value for value in ctx._values.values() if isinstance(value, Table))
        _open.append(snapshot)
        try:
            yield snapshot
        except BaseException:
            snapshot.restore()
            restore_context()
            raise
        else:
            for outer in _open[-2:-1]:
                snapshot.hand_over(outer)
        finally:
            _open.pop()


def _apply(staged: Sequence[Staged], snapshot: Snapshot) -> None:
    if any(operation.tables is None for operation in staged):
        snapshot.keep()
    for operation in staged:
        snapshot.keep(operation.tables or ())
    for operation in staged:
        with _noted(f"raised by what {operation.by} staged"):
            operation.apply()


def _run(entry: Entry, ctx: FactoryContext, owner: str) -> None:
    """Run one plugin, and hold what it wrote against what it declares."""
    journal = Journal(entry.name, frozenset(map(str, entry.wires.overrides)))
    injected = len(ctx.injected_columns)
    outer, ctx._journal = ctx._journal, journal
    try:
        with _noted(f"raised by {entry.name} ({entry.origin} of {owner!r})"):
            entry.plugin.run(ctx)
            for column in ctx.injected_columns[injected:]:
                check_type(COLUMNS, column, entry.name)
    finally:
        ctx._journal = outer
    if len(ctx.injected_columns) > injected:
        journal.contributed.append(str(COLUMNS))
    _verify(entry, journal, owner)


@contextmanager
def _noted(note: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise


def _verify(entry: Entry, journal: Journal, owner: str) -> None:
    wires = entry.wires
    written = {*journal.written, *journal.forced}
    for key in (*wires.produces, *wires.overrides):
        if key not in written:
            raise UnwrittenKey(
                f"{entry.name} ({entry.origin} of {owner!r}) declares that it writes {str(key)!r}, "
                "but its run method did not. Write ctx[...] there, or take the key out of "
                "@produces or @overrides.",
                plugin=entry.name,
                origin=entry.origin,
                key=str(key),
            )
    for keys, allowed, decorator, verb in (
        (journal.written, {*wires.produces, *wires.overrides}, "produces", "wrote"),
        (
            journal.forced,
            {*wires.overrides, *wires.reads, *wires.produces},
            "overrides",
            "replaced",
        ),
        (journal.contributed, {*wires.contributes}, "contributes", "added to"),
    ):
        for key in keys:
            if key not in allowed:
                raise UndeclaredWrite(
                    f"{entry.name} ({entry.origin} of {owner!r}) {verb} {key!r}, which it does not "
                    f"declare. Add @{decorator}({key!r}) to it, so that its readers run later, or "
                    "keep the value out of the context.",
                    plugin=entry.name,
                    origin=entry.origin,
                    key=key,
                )
