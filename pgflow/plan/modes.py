"""The modes by name; users add their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pgflow.declare.options import nearest
from pgflow.errors import InvalidOption
from pgflow.plan import append, merge, scd1, truncate
from pgflow.plan.history import scd2
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Plan


@dataclass(frozen=True)
class Mode:
    """A way of putting rows into a target.

    Attributes:
        name: What `mode=` says.
        plan: Makes the plan of one run; it must be pure.
        keys: Whether merge keys are `required`, `optional` or not used (`none`).
        columns: The built-in mode whose system columns the target gets, and whose rules say
            with which other modes it may share a target.
        doc: One sentence for error messages and the command line.
    """

    name: str
    plan: Callable[[SyncSpec], Plan]
    keys: Literal["required", "optional", "none"] = "required"
    columns: str = "merge"
    doc: str = ""


class Modes:
    """A registry of modes."""

    def __init__(self, *modes: Mode) -> None:
        self._modes = {mode.name: mode for mode in modes}

    def __iter__(self) -> Iterator[Mode]:
        return iter(self._modes.values())

    def __contains__(self, name: object) -> bool:
        return name in self._modes

    def register(self, mode: Mode) -> Mode:
        """Add a mode.

        Args:
            mode: The mode; its name must be free, and its `columns` a built-in mode.

        Returns:
            The same mode.

        Raises:
            InvalidOption: The name is taken by another mode, or `columns` is unknown.
        """
        known = self._modes.get(mode.name)
        if known is not None and known != mode:
            raise InvalidOption(f"mode {mode.name!r} is registered already; choose another name.")
        if mode.columns not in _BUILT_IN:
            raise InvalidOption(
                f"mode {mode.name!r}: columns={mode.columns!r} is no built-in mode; "
                f"use one of {', '.join(_BUILT_IN)}."
            )
        self._modes[mode.name] = mode
        return mode

    def get(self, name: str | None, owner: str) -> Mode:
        """Return a mode by name.

        Args:
            name: What `mode=` says, or None where nobody has said anything.
            owner: Who asks, for the message.

        Raises:
            InvalidOption: There is no such mode, or none was given.
        """
        listed = ", ".join(repr(known) for known in self._modes)
        if name is None:
            raise InvalidOption(
                f"{owner}: no mode was given, neither by the pipeline nor by its table; "
                f"pass mode= with one of {listed}."
            )
        if not isinstance(name, str) or name not in self._modes:
            raise InvalidOption(
                f"{owner}: mode {name!r} is unknown.{nearest(str(name), list(self._modes))} "
                f"Known modes: {listed}."
            )
        return self._modes[name]


_BUILT_IN = ("append", "truncate", "merge", "scd1", "scd2")

#: Every mode that `mode=` can name.
modes = Modes(
    Mode("append", append.plan, "optional", "append", "add rows, never touch them again"),
    Mode("truncate", truncate.plan, "none", "truncate", "replace the whole target"),
    Mode("merge", merge.plan, "required", "merge", "insert new keys, update changed rows"),
    Mode("scd1", scd1.plan, "required", "scd1", "as merge, and stamp when a row changed"),
    Mode("scd2", scd2.plan, "required", "scd2", "keep every version with its validity"),
)
