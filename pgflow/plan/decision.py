"""Choices that carry their reason, and facts that may not be known yet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Decision(Generic[T]):
    """A value that was chosen, and why.

    Attributes:
        value: What was chosen.
        reason: Where it came from, in the words of a preview.
        warning: What a run says once about it, or an empty string.
    """

    value: T
    reason: str
    warning: str = ""


class Unknown(Enum):
    """The type of `UNKNOWN`: a fact that nobody has asked the database for."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return False


#: A fact that is not known, as in a preview while the database is down.
UNKNOWN: Final = Unknown.UNKNOWN
