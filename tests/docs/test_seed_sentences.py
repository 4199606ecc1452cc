"""Every sentence of a seed that the reference lists has a pgflow form and a test that is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.doc_pages import ROOT
from tests.docs.test_guarantees import named_in

PAGE = ROOT / "docs" / "reference" / "seeds" / "ematix-sentences.md"

#: Rows of tables, without headings and the lines below them.
ROWS = [
    line
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| sentence |")
]


def test_the_page_lists_the_sentences() -> None:
    """The tables of the page are found."""
    assert len(ROWS) > 80


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_every_sentence_is_held_by_a_test_that_exists(row: str) -> None:
    """Each row has a sentence, a form, and one test or more, which are in their files."""
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    assert len(cells) == 3
    assert all(cells), row
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", cells[-1])
    assert named, f"no test holds: {cells[0]}"
    for path, name in named:
        assert name in named_in(path), f"{path} has no {name}"
