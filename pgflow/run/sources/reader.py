"""What a reader is: it says which columns a source has, and brings its rows in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pgflow.plan.spec import SyncSpec
from pgflow.run.session import Session
from pgflow.run.sources.csv_format import Format

#: Names a row for people: its number in the source, from 1, and where it stands.
Place = Callable[[int], str]

#: Rows of the first batch; later ones are as long as keeps their text near `BLOCK`.
FIRST = 100

#: Bytes of text that one batch should come to.
BLOCK = 1 << 18


@dataclass(frozen=True)
class Found:
    """A column as a source has it.

    Attributes:
        name: Its name there.
        kind: What its values are, as a family of types (`families.family`), or `number`; an empty
            string where only the values can tell.
        type: The PostgreSQL type that holds all of them, for columns that the target lacks.
    """

    name: str
    kind: str = ""
    type: str | None = None


@dataclass(frozen=True)
class Batch:
    """Rows that were read together.

    Attributes:
        columns: The values of each column, all of one length.
        first: The number of the first row in the source, from 1.
    """

    columns: Sequence[Sequence[Any]]
    first: int

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.columns[0]) if self.columns else 0


@dataclass(frozen=True)
class Raw:
    """Rows that stand there as the server reads them, in the reader's format.

    Attributes:
        data: Whole lines.
        count: How many rows there are.
    """

    data: bytes
    count: int


class BadShape(ValueError):
    """A row that has not the shape of the others.

    Attributes:
        row: Its number in the source, from 1.
        column: The column in question, or an empty string.
    """

    def __init__(self, reason: str, row: int, column: str = "") -> None:
        super().__init__(reason)
        self.row = row
        self.column = column


@dataclass
class Pace:
    """How many rows to read at once, so that a batch of wide rows takes no more memory.

    Attributes:
        rows: Rows of the next batch.
        limit: No batch has more.
    """

    rows: int = FIRST
    limit: int = 5000

    def learn(self, rows: int, size: int) -> None:
        """Take the size of a batch into account."""
        if rows and size:
            self.rows = max(1, min(self.limit, self.rows * 4, rows * BLOCK // size))


@dataclass(frozen=True)
class Wanted:
    """What a reader is to bring.

    Attributes:
        names: The source's names of the columns, in the order of the stage.
        spec: What is planned.
        session: The target's session, which can work out where an incremental run starts.
        stage: The stage's names of the same columns.
        kinds: Their types there.
        pace: How many rows a batch is to have.
    """

    names: tuple[str, ...]
    spec: SyncSpec
    session: Session
    stage: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    pace: Pace = field(default_factory=Pace)

    def name_of(self, column: str) -> str | None:
        """The source's name of a column of the stage."""
        return next((n for n, s in zip(self.names, self.stage, strict=True) if s == column), None)


class Reader(Protocol):
    """Reads one kind of source, once."""

    @property
    def label(self) -> str:
        """Where the rows come from, for people; never a password."""

    @property
    def reason(self) -> str:
        """Why the rows come by this path."""

    @property
    def documents(self) -> bool:
        """Whether text for a JSON column is a value, not JSON already."""

    @property
    def picks(self) -> bool:
        """Whether columns that the target lacks are left in the source without a word."""

    @property
    def format(self) -> Format | None:
        """The format of CSV in which the rows go to the server; None for COPY's own text."""

    @property
    def column_map(self) -> Mapping[str, str]:
        """Target column to source column."""

    @property
    def types(self) -> Mapping[str, str]:
        """PostgreSQL types of columns that the target lacks."""

    @property
    def time_zone(self) -> str | None:
        """What times without a zone are meant in."""

    def describe(self) -> tuple[Found, ...] | None:
        """Say which columns there are; None if there are no rows, and nothing else tells."""

    def query(self, names: Sequence[str]) -> str | None:
        """Return the statement that brings these columns, for previews; None if there is none."""

    def batches(self, wanted: Wanted) -> Iterator[Batch | Raw]:
        """Begin to read, and bring the rows; only the beginning may use the target's session.

        Raises:
            BadShape: A row has not the shape of the others.
        """

    def row_of(self, line: int) -> int:
        """Say which row the server means by a line of what it was sent."""

    def place(self, row: int) -> str:
        """Say where a row stands besides its number, such as a file and a line; or nothing."""

    def close(self) -> None:
        """Let go of whatever is held."""
