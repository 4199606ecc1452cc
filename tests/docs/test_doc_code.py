"""The code of the documentation runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.doc_pages import ROOT, Block, Page, pages

WITH_CODE = [p for p in pages() if p.code]
MARK = "\x1e"


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: p.name)
def test_the_code_of_a_page_runs(page: Page, database: str, home: Path) -> None:
    """The blocks of a page run from top to bottom, as one script with a `default` connection."""
    script = home / "page.py"
    script.write_text(_script(page), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=home,
        env={**os.environ, "PGFLOW_DSN": database, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, f"{page.name} (lines as on the page):\n{run.stderr}"
    printed = dict(zip(_ends(page), run.stdout.split(MARK + "\n"), strict=False))
    for code, said in _promises(page):
        assert re.fullmatch(_pattern(said), printed[code.line].rstrip(), re.DOTALL), (
            f"{page.name}:{said.line} says\n{said.text}\nand the code printed\n{printed[code.line]}"
        )


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
