"""`pgflow slots`: lists, makes and drops the replication slots of pipelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgflow.cli.consent import consents
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.output import Output
from pgflow.cli.selection import select
from pgflow.connections.registry import connect, engine
from pgflow.errors import MissingTable
from pgflow.factories.slots import WantedSlot, drop_slot, wanted_slots
from pgflow.observe.listing import Listing
from pgflow.observe.report import instant
from pgflow.run.positions.slot_making import SlotState, list_slots, removal

_HEADINGS = ("slot", "database", "pipeline", "state", "lag", "kept", "read")


def show_slots(output: Output, connection: str | None, schema: str, *, as_json: bool) -> int:
    """Write which slots of pgflow's a server has.

    Args:
        output: Where to.
        connection: The connection to ask.
        schema: Where pgflow's own tables are.
        as_json: Whether to write JSON.
    """
    with connect(connection or "default") as live:
        found = list_slots(live, schema)
    if as_json:
        output.json([each.to_dict() for each in found])
    elif found:
        below = ("read", "database", "pipeline", "kept")
        output.listing(Listing(_HEADINGS, tuple(_row(each) for each in found), below=below))
    else:
        output.note("the server has no slot of pgflow's")
    return OK


def make_slots(
    output: Output,
    asked: tuple[str, Sequence[str] | None, Mapping[str, object]],
    *,
    unlimited_wal: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Make the slots that a pipeline needs.

    Args:
        output: Where to write what is done.
        asked: The pipeline, what `--module` said, and what `--param` said.
        unlimited_wal: Whether slots may fill the server's disk.
        dry_run: Whether nothing is made.
        yes: Whether to ask nothing.
        as_json: Whether to write JSON.

    Returns:
        `FAILED` if the user says no.
    """
    name, modules, given = asked
    (chosen,) = select([name], False, modules, given)
    wanted = wanted_slots(chosen.pipeline, chosen.values, unlimited_wal=unlimited_wal)
    missing = [each for each in wanted if not each.there]
    for each in missing:
        for statement in each.statements:
            output.note(f"{statement.render()[0]};")
    if missing and not dry_run:
        told = f"{missing[0].where} will keep its log until {name} has read it"
        if not _allowed(output, told, yes):
            return FAILED
        for each in missing:
            each.make()
    _tell(output, wanted, dry_run=dry_run, as_json=as_json)
    return OK


def drop_named(
    output: Output, names: Sequence[str], connection: str | None, *, dry_run: bool, yes: bool
) -> int:
    """Drop slots by name.

    Args:
        output: Where to write what is done.
        names: The slots.
        connection: The connection to their database.
        dry_run: Whether nothing is dropped.
        yes: Whether to ask nothing.

    Returns:
        `FAILED` if the user says no.
    """
    if dry_run:
        for name in names:
            for statement in removal(name):
                output.line(f"{statement.render()[0]};")
        return OK
    if not yes and not _allowed(output, _loss(names, connection), yes):
        return FAILED
    for name in names:
        there = drop_slot(engine(connection or "default"), name)
        output.line(f"{name}: {'dropped' if there else 'there was no such slot'}")
    return OK


def _loss(names: Sequence[str], connection: str | None) -> str:
    """Say whom it stops if slots are dropped."""
    told = ", ".join(names)
    try:
        with connect(connection or "default") as live:
            found = [each for each in list_slots(live) if each.name in names]
    except MissingTable:
        return f"pipelines that read {told} will stop"
    readers = sorted({each.pipeline for each in found if each.pipeline})
    if readers:
        return f"pipelines that read {told} will stop: {', '.join(readers)}"
    return f"no pipeline is known to read {told}; the server will no longer keep log for it"


def _tell(output: Output, wanted: Sequence[WantedSlot], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.json([{**each.to_dict(), "made": not each.there and not dry_run} for each in wanted])
        return
    for each in wanted:
        become = "there already" if each.there else ("not made" if dry_run else "made")
        output.line(f"{each.pipeline} -> {each.target}: {each.name} {become}")


def _allowed(output: Output, told: str, yes: bool) -> bool:
    sentence = f"{told[0].upper()}{told[1:]}."
    refusal = (
        f"Nothing was done. {sentence} Accept that with --yes, or call pgflow slots on a "
        "terminal, which asks."
    )
    if yes or consents(sentence, refusal, [told]):
        return True
    output.note("Nothing was done.")
    return False


def _row(slot: SlotState) -> tuple[str, ...]:
    state = "active" if slot.active else (slot.wal_status or "idle")
    return (
        slot.name,
        slot.database,
        slot.pipeline or ("nobody" if slot.here else ""),
        state,
        _size(slot.lag_bytes),
        _size(slot.kept_bytes),
        instant(slot.read_at),
    )


def _size(count: int | None) -> str:
    if count is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 10_000:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} TB"
