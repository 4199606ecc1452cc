"""What every check has in common: its name, how bad a failure is, and how many are tolerated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypedDict

from pgflow.declare.spelling import nearest
from pgflow.errors import InvalidCheck


class Limits(TypedDict, total=False):
    """What every check can be told; `DataCheck` explains each."""

    severity: Literal["error", "warning"]
    max_failures: int
    max_ratio: float
    quarantine: bool


class Terms(Limits, total=False):
    """The same for checks whose name is made from their columns."""

    name: str


_TERMS = ("name", "severity", "max_failures", "max_ratio", "quarantine")


@dataclass(frozen=True, init=False)
class DataCheck:
    """Something that must hold of the rows that a source delivers.

    Attributes:
        name: How errors, results and the history call it; unique in a pipeline.
        severity: `error` stops the run before anything is written, `warning` lets it go on.
        max_failures: So many failing rows are tolerated.
        max_ratio: This share of the rows (0 to 1) is tolerated.
        quarantine: Whether failing rows are kept out of the target, and in `pgflow.quarantine`.
    """

    name: str
    severity: str
    max_failures: int | None
    max_ratio: float | None
    quarantine: bool

    #: Whether it is about single rows, so that failing ones can be kept out.
    of_rows: ClassVar[bool] = False

    def _settle(self, default: str, terms: Terms, **own: object) -> None:
        """Set what was given, and refuse what cannot work."""
        kind = type(self).__name__
        unknown = sorted(set(terms) - set(_TERMS))
        if unknown:
            known = ", ".join(_TERMS)
            raise InvalidCheck(
                f"{kind} takes no {unknown[0]!r}; it takes {known}.{nearest(unknown[0], _TERMS)}"
            )
        values: dict[str, object] = {
            "name": terms.get("name", default),
            "severity": terms.get("severity", "error"),
            "max_failures": terms.get("max_failures"),
            "max_ratio": terms.get("max_ratio"),
            "quarantine": terms.get("quarantine", False),
            **own,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check(kind)

    def _check(self, kind: str) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or "\0" in self.name:
            raise InvalidCheck(f"{kind}: name={self.name!r} is no name; give some text.")
        owner = f"check {self.name!r}"
        if self.severity not in ("error", "warning"):
            raise InvalidCheck(f"{owner}: severity={self.severity!r} must be 'error' or 'warning'.")
        most, share = self.max_failures, self.max_ratio
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
            raise InvalidCheck(f"{owner}: max_failures={most!r} is no number of rows.")
        if share is not None and (
            isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1
        ):
            raise InvalidCheck(f"{owner}: max_ratio={share!r} is no share: give a number 0 to 1.")
        if self.quarantine and not self.of_rows:
            raise InvalidCheck(
                f"{owner}: quarantine=True keeps single rows out, and {kind} is about all rows "
                "together. It goes with NotNull, AcceptedValues, Relationship and SQLCheck."
            )

    def tolerates(self, failed: int, rows: int) -> bool:
        """Tell whether so many failing rows out of all are few enough.

        Args:
            failed: How many rows fail.
            rows: How many were looked at.
        """
        limits = [] if self.max_failures is None else [failed <= self.max_failures]
        if self.max_ratio is not None:
            limits.append(failed <= self.max_ratio * rows)
        if not limits:
            return failed == 0 or self.quarantine
        return all(limits)

    @property
    def columns_named(self) -> tuple[str, ...]:
        """The columns that the source must deliver for it."""
        return ()


def check_names(checks: Iterable[object], owner: str) -> tuple[DataCheck, ...]:
    """Refuse what is no check, and checks that could not be told apart.

    Args:
        checks: The checks of one target.
        owner: Who declares them, for the message.

    Returns:
        The checks.

    Raises:
        InvalidCheck: Something is no check, or two have one name.
    """
    known: dict[str, DataCheck] = {}
    for check in checks:
        if not isinstance(check, DataCheck):
            raise InvalidCheck(
                f"{owner}: {check!r} is no check of rows. Use those of pgflow.checks: NotNull, "
                "Unique, AcceptedValues, Relationship, RowCount, Freshness, SQLCheck, QueryCheck."
            )
        if known.setdefault(check.name, check) != check:
            raise InvalidCheck(
                f"{owner}: two checks are called {check.name!r}; give one another name=."
            )
    return tuple(known.values())
