"""Every promise on the page of guarantees has a test, and every test that it names is there."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from tests.docs.doc_pages import ROOT

PAGE = ROOT / "docs" / "explanation" / "guarantees.md"

#: Rows of tables, without the heading and the line below it.
ROWS = [
    line
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not re.match(r"\| (mode \| )?promise \| test \|", line)
]


@functools.cache
def named_in(path: str) -> frozenset[str]:
    """The names of the tests of a file below `tests/`."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return frozenset(
        each.name
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    )


def test_the_page_promises_something() -> None:
    """The tables of the page are found."""
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_every_promise_is_proved_by_a_test_that_exists(row: str) -> None:
    """The last cell of each row names one test or more, and each of them is in its file."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", cells[-1])
    assert named, f"no test proves: {cells[0]}"
    for path, name in named:
        assert name in named_in(path), f"{path} has no {name}"
