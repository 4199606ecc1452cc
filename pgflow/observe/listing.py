"""Rows under headings: aligned text for pipes and files, a styled table for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

#: What an empty cell shows, so that every line has as many words as there are columns.
EMPTY = "-"

#: Blanks between columns.
_GAP = 2

#: The width below which a wrapping column is not worth showing.
_ENOUGH = 30

#: Characters that would move the cursor or colour the screen.
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Replace control characters, which a value from a database may hold.

    Args:
        text: Any text.
        keep: Control characters that stay.
    """
    return text.translate({k: v for k, v in _CONTROLS.items() if chr(k) not in keep})


@dataclass(frozen=True)
class Listing:
    """A table of texts.

    Attributes:
        headings: One for each column.
        rows: Cells; an empty one shows as `-`.
        numeric: Headings of columns that are aligned to the right.
        faint: Headings of columns that a terminal leaves out where every cell is `0` or empty.
        minor: Headings of columns that a terminal too narrow for all leaves out, first one first.
        wrapping: Headings of columns whose text a terminal may wrap.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    faint: frozenset[str] = frozenset()
    minor: tuple[str, ...] = ()
    wrapping: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return aligned columns, two blanks apart, one line a row, never cut off."""
        columns = range(len(self.headings))
        widths = [self._width(i) for i in columns]
        lines = [self._line([_cell(text) for text in row], widths) for row in self.rows]
        return "\n".join([self._line(self.headings, widths), *lines])

    def show(self, console: Console) -> None:
        """Show the listing on a terminal: as a table, or below each other where it is too narrow.

        Args:
            console: A rich console.
        """
        width = console.width
        shown = [i for i, heading in enumerate(self.headings) if not self._is_blank(i, heading)]
        for heading in self.minor:
            index = self.headings.index(heading)
            if not self._fits(shown, width) and index in shown:
                shown.remove(index)
        if self._fits(shown, width):
            console.print(self._table(shown))
        else:
            console.print(self._blocks(), soft_wrap=True)

    def _table(self, shown: Sequence[int]) -> Table:
        from rich.markup import escape
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        for i in shown:
            heading = self.headings[i]
            wraps = heading in self.wrapping
            right = heading in self.numeric
            table.add_column(
                escape(heading),
                justify="right" if right else "left",
                overflow="fold",
                no_wrap=not wraps,
            )
        for row in self.rows:
            table.add_row(*(Text(_cell(row[i]), style=_style(row[i])) for i in shown))
        return table

    def _blocks(self) -> Text:
        """One line a cell, as wide as it likes: the terminal wraps it."""
        from rich.text import Text

        width = max(map(len, self.headings))
        text = Text()
        for number, row in enumerate(self.rows):
            text.append("\n" if number else "")
            for heading, cell in zip(self.headings, row, strict=True):
                if cell not in ("", "0"):
                    text.append(f"{heading:<{width}}  ", style="bold")
                    text.append(f"{_cell(cell)}\n", style=_style(cell))
        text.rstrip()
        return text

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        parts = zip(self.headings, row, widths, strict=True)
        padded = (
            cell.rjust(width) if heading in self.numeric else cell.ljust(width)
            for heading, cell, width in parts
        )
        return (" " * _GAP).join(padded).rstrip()

    def _width(self, index: int) -> int:
        return max(len(self.headings[index]), *(len(_cell(row[index])) for row in self.rows), 0)

    def _fits(self, shown: Sequence[int], width: int) -> bool:
        wanted = [
            min(self._width(i), _ENOUGH) if self.headings[i] in self.wrapping else self._width(i)
            for i in shown
        ]
        return sum(wanted) + _GAP * len(shown) <= width

    def _is_blank(self, index: int, heading: str) -> bool:
        return heading in self.faint and all(row[index] in ("", "0") for row in self.rows)


_STYLES = {
    "success": "green",
    "failed": "bold red",
    "abandoned": "red",
    "running": "yellow",
    "not run": "yellow",
    "0": "dim",
    "": "dim",
}


def _style(cell: str) -> str:
    return _STYLES.get(cell, "")


def _cell(text: str) -> str:
    return printable(" ".join(text.split("\n")), keep="") or EMPTY
