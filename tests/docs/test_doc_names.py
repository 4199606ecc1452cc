"""Everything public is explained in the reference."""

from __future__ import annotations

import re
from dataclasses import fields
from types import ModuleType

import pytest

import pgflow
import pgflow.plugins
import pgflow.types
from pgflow.bookkeeping import register
from pgflow.declare.options import SyncOptions
from pgflow.declare.system_columns import SystemColumns
from pgflow.plan.modes import modes
from pgflow.run.result import SyncResult, TargetResult
from pgflow.types import TypeForm
from tests.docs.doc_pages import page, pages

REFERENCE = [p for p in pages() if p.name.startswith("docs/reference/") and "/seeds/" not in p.name]


def _named() -> set[str]:
    """Words that stand in code in the reference, the index of names left out."""
    spans = (s for p in REFERENCE if p.name != "docs/reference/names.md" for s in p.code_spans())
    return {word for span in spans for word in re.findall(r"\w+", span)}


def _public(module: ModuleType) -> list[str]:
    if module is pgflow.types:
        return sorted(n for n, value in vars(module).items() if isinstance(value, TypeForm))
    return sorted(module.__all__)


@pytest.mark.parametrize("module", [pgflow, pgflow.plugins, pgflow.types], ids=lambda m: m.__name__)
def test_public_names_are_documented(module: ModuleType) -> None:
    """Every public name stands in a page of the reference."""
    missing = set(_public(module)) - _named()
    assert not missing, f"no page of docs/reference explains {sorted(missing)}"


def test_the_index_of_names_is_complete() -> None:
    """`docs/reference/names.md` lists every name of `pgflow`, and no other."""
    listed = {row[0] for row in _table("docs/reference/names.md")}
    assert listed == set(_public(pgflow))


def test_the_index_of_names_leads_to_the_name() -> None:
    """A name's page in `docs/reference/names.md` really speaks of that name."""
    index = page("docs/reference/names.md")
    for line in index.prose:
        row = re.match(r"\| `(\w+)` \|.*\]\(([^)#]+)", line)
        if row is None:
            continue
        name, target = row.groups()
        text = (index.path.parent / target).read_text()
        assert re.search(rf"\b{name}\b", text), f"{target} does not speak of {name}"


def test_every_option_is_in_the_table() -> None:
    """The table of options has one row for each option, in the order of the code."""
    listed = [row[0] for row in _table("docs/reference/sync-options.md")]
    assert listed == [f.name for f in fields(SyncOptions)]


def test_every_mode_is_in_the_table() -> None:
    """The table of modes has one row for each built-in mode."""
    listed = [row[0] for row in _table("docs/reference/modes.md")]
    assert listed == [mode.name for mode in modes][: len(listed)]
    assert len(listed) == 5


def test_every_attribute_of_a_result_is_documented() -> None:
    """The page of results names every attribute."""
    words = _words("docs/reference/results.md")
    wanted = {f.name for kind in (SyncResult, TargetResult) for f in fields(kind)}
    assert not wanted - words


def test_every_column_of_the_bookkeeping_is_documented() -> None:
    """The page of pgflow's own tables names every column."""
    from sqlalchemy import MetaData

    own = register(MetaData())
    wanted = {c.name for t in (own.runs, own.watermarks) for c in t.columns}
    assert not wanted - _words("docs/reference/bookkeeping.md")


def test_every_system_column_is_documented() -> None:
    """The page of modes names every system column."""
    words = _words("docs/reference/modes.md")
    for attribute in (f.name for f in fields(SystemColumns)):
        assert attribute in words or f"_{attribute}" in words, attribute


def _words(name: str) -> set[str]:
    return {word for span in page(name).code_spans() for word in re.findall(r"\w+", span)}


def _table(name: str) -> list[list[str]]:
    """The rows of a page's first table, the first cell's code taken out of its backticks."""
    rows: list[list[str]] = []
    for line in page(name).prose:
        if line.startswith("|"):
            rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]
