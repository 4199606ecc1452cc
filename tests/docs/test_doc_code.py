"""The code of the documentation runs as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.doc_pages import ROOT, Block, Page, pages

WITH_CODE = [p for p in pages() if p.code]
MARK = "\x1e"


@pytest.fixture(scope="module")
def nest() -> Iterator[subprocess.Popen[str]]:
    """A program that runs pages in processes of their own."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.docs.doc_nest"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: p.name)
def test_the_code_of_a_page_runs(
    page: Page, database: str, home: Path, nest: subprocess.Popen[str]
) -> None:
    """The blocks of a page run from top to bottom, as one script with a `default` connection."""
    script, output, errors = home / "page.py", home / "page.out", home / "page.err"
    script.write_text(_script(page), encoding="utf-8")
    environment = {**os.environ, "PGFLOW_DSN": database, "PYTHONPATH": str(ROOT)}
    code = _run(
        nest,
        script=str(script),
        directory=str(home),
        environment=environment,
        output=str(output),
        errors=str(errors),
    )
    assert code == 0, f"{page.name} (lines as on the page):\n{errors.read_text()}"
    told = output.read_text(encoding="utf-8")
    printed = dict(zip(_ends(page), told.split(MARK + "\n"), strict=False))
    for code, said in _promises(page):
        assert re.fullmatch(_pattern(said), printed[code.line].rstrip(), re.DOTALL), (
            f"{page.name}:{said.line} says\n{said.text}\nand the code printed\n{printed[code.line]}"
        )


def _run(nest: subprocess.Popen[str], **order: Any) -> int:
    """Run a page, and return its exit code."""
    assert nest.stdin is not None
    assert nest.stdout is not None
    nest.stdin.write(json.dumps(order) + "\n")
    nest.stdin.flush()
    return int(nest.stdout.readline())


def test_a_wrong_page_is_found(tmp_path: Path) -> None:
    """What the page says is printed must be what is printed."""
    block = Block("text", 3, ("a: sync in ... s: read 4",), prints=True)
    assert re.fullmatch(_pattern(block), "a: sync in 0.02 s: read 4")
    assert not re.fullmatch(_pattern(block), "a: sync in 0.02 s: read 5")


def _script(page: Page) -> str:
    """A script whose lines have the numbers that they have on the page."""
    lines: list[str] = []
    if any(block.run for block in page.code):
        lines.append(
            "from tests.docs.doc_sql import execute_sql"
        )  # in the place of the page's title
    for block in page.code:
        lines += [""] * (block.line - 2 - len(lines))
        begin, end = ('execute_sql(r"""', '""")') if block.run else ("", "")
        lines += [begin, *block.lines, f"{end}; print({MARK!r})".removeprefix("; ")]
    return "\n".join(lines) + "\n"


def _ends(page: Page) -> list[int]:
    return [block.line for block in page.code]


def _promises(page: Page) -> list[tuple[Block, Block]]:
    """The blocks that say what is printed, each with the code block before it."""
    found: list[tuple[Block, Block]] = []
    code: Block | None = None
    for block in page.blocks:
        if block in page.code:
            code = block
        elif block.prints:
            assert code is not None, f"{page.name}:{block.line}: no code before what is printed"
            found.append((code, block))
    return found


def _pattern(said: Block) -> str:
    """`...` on a page stands for anything."""
    return ".*?".join(re.escape(part) for part in said.text.rstrip().split("..."))
