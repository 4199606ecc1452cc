"""Rows under headings: aligned text for pipes and files, a styled table for terminals.

A terminal shows what does not fit beside the rest below its row, so that a narrow one hides
nothing that a reader needs to go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

#: What an empty cell shows, so that every line has as many words as there are columns.
EMPTY = "-"

#: Blanks between columns.
_GAP = 2

#: Blanks before what stands below its row.
_INDENT = 4

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
        minor: Headings of columns that a terminal too narrow for all leaves out, first one first,
            if that is enough.
        below: Headings of columns that stand below their row where it is not, first one first;
            those of `minor` then join them, and nothing is left out.
        wrapping: Headings of columns that hold sentences. They are the first to stand below, on
            a line of their own, where they may wrap.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    faint: frozenset[str] = frozenset()
    minor: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    wrapping: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return aligned columns, two blanks apart, one line a row, never cut off."""
        columns = range(len(self.headings))
        widths = [self._width(i) for i in columns]
        lines = [self._line([_cell(text) for text in row], widths) for row in self.rows]
        return "\n".join([self._line(self.headings, widths), *lines])

    def show(self, console: Console) -> None:
        """Show the listing on a terminal, as wide as that is.

        Args:
            console: A rich console.
        """
        blank = self._blank()
        shown = [i for i in range(len(self.headings)) if i not in blank]
        beside, under = self._laid_out(shown, console.width)
        if not self._fits(beside, console.width):
            console.print(self._blocks(), soft_wrap=True)
        elif under:
            for part in self._parted(beside, under, console):
                console.print(part)
        else:
            console.print(self._table(beside, self.rows))

    def _laid_out(self, shown: Sequence[int], width: int) -> tuple[list[int], list[int]]:
        """Say which columns stand beside each other, and which below their row."""
        beside = list(shown)
        sentences = [i for i in shown if self.headings[i] in self.wrapping]
        while sentences and not self._fits(beside, width):
            beside.remove(sentences.pop(0))
        shorter = self._without(beside, self.minor, width)
        if not self._fits(shorter, width):
            shorter = self._without(beside, (*self.minor, *self.below), width)
            return shorter, [i for i in shown if i not in shorter]
        sentences = [i for i in shown if self.headings[i] in self.wrapping and i not in shorter]
        return shorter, sentences

    def _without(self, shown: Sequence[int], headings: Sequence[str], width: int) -> list[int]:
        """Leave columns out, one after the other, until the others fit."""
        left = list(shown)
        for heading in headings:
            index = self.headings.index(heading)
            if index in left and not self._fits(left, width):
                left.remove(index)
        return left

    def _table(self, shown: Sequence[int], rows: Sequence[Sequence[str]]) -> Table:
        """Rows under their headings, all tables of a listing equally wide."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        for i in shown:
            table.add_column(
                escape(self.headings[i]),
                justify="right" if self.headings[i] in self.numeric else "left",
                no_wrap=True,
                min_width=self._width(i),
            )
        for row in rows:
            table.add_row(*(_styled(row[i]) for i in shown))
        return table

    def _parted(
        self, beside: Sequence[int], under: Sequence[int], console: Console
    ) -> Iterator[RenderableType]:
        """The table, and after each row what stands below it."""
        width = console.width - _INDENT
        for number, row in enumerate(self.rows):
            table = self._table(beside, [row])
            table.show_header = number == 0
            yield table
            for line in self._under(row, under, width):
                for part in line.wrap(console, width):
                    part.rstrip()
                    part.pad_left(_INDENT)
                    yield part

    def _under(self, row: Sequence[str], under: Sequence[int], width: int) -> list[Text]:
        """Lines for what stands below a row: as many short ones as fit on each, then sentences."""
        from rich.text import Text

        short: list[Text] = []
        sentences: list[Text] = []
        for i in under:
            heading, cell = self.headings[i], row[i]
            if cell in ("", "0"):
                continue
            if len(heading) + 1 + len(cell) > width:
                cell = re.sub(r",(?=\S)", ", ", cell)  # a list may break between its members
            told = Text.assemble((heading, "dim"), " ", _styled(cell), overflow="fold")
            if heading in self.wrapping:
                sentences.append(told)
            elif short and len(short[-1]) + _GAP + len(told) <= width:
                short[-1] = Text.assemble(short[-1], " " * _GAP, told, overflow="fold")
            else:
                short.append(told)
        return short + sentences

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
                    text.append(f"{_cell(cell)}\n", style=_STYLES.get(cell, ""))
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
        return sum(self._width(i) for i in shown) + _GAP * (len(shown) - 1) <= width

    def _blank(self) -> frozenset[int]:
        """The columns that need not be shown: faint ones in which no row has anything."""
        return frozenset(
            i
            for i, heading in enumerate(self.headings)
            if heading in self.faint and all(row[i] in ("", "0") for row in self.rows)
        )


_STYLES = {
    "success": "green",
    "failed": "bold red",
    "abandoned": "red",
    "running": "yellow",
    "not run": "yellow",
    "0": "dim",
    "": "dim",
}


def _styled(cell: str) -> Text:
    from rich.text import Text

    return Text(_cell(cell), style=_STYLES.get(cell, ""))


def _cell(text: str) -> str:
    return printable(re.sub(r"[\n\t]\s*", " ", text), keep="") or EMPTY
