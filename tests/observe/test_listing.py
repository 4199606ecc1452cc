"""Tables of text, for pipes and for terminals."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pgflow.observe.listing import Listing, printable

COUNTED = Listing(
    ("name", "mode", "rows", "closed"),
    (("customers", "merge", "1000", "0"), ("x", "", "7", "0")),
    numeric=frozenset({"rows", "closed"}),
    faint=frozenset({"closed"}),
    minor=("mode",),
)


def shown(listing: Listing, width: int) -> list[str]:
    """What a terminal of this width shows."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    listing.show(console)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_text_is_aligned_with_as_many_words_in_each_line() -> None:
    """Numbers stand right, an empty cell is a dash, and no line ends in blanks."""
    assert str(COUNTED).splitlines() == [
        "name       mode   rows  closed",
        "customers  merge  1000       0",
        "x          -         7       0",
    ]


def test_headings_alone_are_a_listing_too() -> None:
    """Without any row the headings are shown."""
    assert str(Listing(("a", "b"), ())) == "a  b"


def test_a_cell_stays_on_one_line() -> None:
    """Line ends in a value do not break the table, and control characters do not reach anybody."""
    listing = Listing(("a", "b"), (("x\ny", "\x1b[31mred"),))
    assert str(listing).splitlines()[1] == "x y  \N{REPLACEMENT CHARACTER}[31mred"


def test_a_terminal_leaves_out_columns_of_zeros() -> None:
    """A column that says nothing takes no room on a terminal; others stay."""
    assert shown(COUNTED, 80) == [
        "name       mode   rows",
        "customers  merge  1000",
        "x          -         7",
    ]


def test_a_narrow_terminal_leaves_out_minor_columns_first() -> None:
    """What matters least goes first when there is no room for all."""
    assert shown(COUNTED, 20) == ["name       rows", "customers  1000", "x             7"]


def test_a_very_narrow_terminal_shows_cells_below_each_other() -> None:
    """Names are never cut: rows become blocks, without what is empty or zero."""
    assert shown(COUNTED, 14) == [
        "name    customers",
        "mode    merge",
        "rows    1000",
        "",
        "name    x",
        "rows    7",
    ]


WIDE = Listing(
    ("at", "name", "mode", "run", "error"),
    (
        ("1", "customers", "merge", "ab12", "a sentence of several words"),
        ("2", "x", "", "cd34", ""),
    ),
    minor=("mode",),
    below=("name",),
    wrapping=frozenset({"error"}),
)


def test_sentences_stand_below_their_row_where_there_is_no_room() -> None:
    """They are whole there, wrapped between words; a row without one has no such line."""
    assert shown(WIDE, 80)[1] == "1   customers  merge  ab12  a sentence of several words"
    assert shown(WIDE, 30) == [
        "at  name       mode   run",
        "1   customers  merge  ab12",
        "    error a sentence of",
        "    several words",
        "2   x          -      cd34",
    ]
    assert "a sentence of several words" in str(WIDE)


def test_what_a_reader_goes_on_with_is_on_the_narrowest_table() -> None:
    """What is minor is left out if that is enough; else it stands below, and nothing is lost."""
    assert shown(WIDE, 20)[:2] == ["at  name       run", "1   customers  ab12"]
    assert shown(WIDE, 15) == [
        "at  run",
        "1   ab12",
        "    name",
        "    customers",
        "    mode merge",
        "    error a",
        "    sentence of",
        "    several",
        "    words",
        "2   cd34",
        "    name x",
    ]


def test_markup_in_a_value_is_only_text() -> None:
    """Brackets in names are shown as they are."""
    listing = Listing(("[bold]", "b"), (("[red]x[/red]", "y"),))
    assert shown(listing, 40) == ["[bold]        b", "[red]x[/red]  y"]


@pytest.mark.parametrize("code", [0, 7, 8, 13, 27, 127, 155])
def test_control_characters_are_replaced(code: int) -> None:
    """Nothing that a database returns can move the cursor or colour the screen."""
    assert printable(f"a{chr(code)}b") == "a\N{REPLACEMENT CHARACTER}b"
    assert printable("a\tb\nc") == "a\tb\nc"
