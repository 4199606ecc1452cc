"""The pictures of the documentation can be made again, and show what they are for."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.doc_pages import ROOT

#: What each picture has to show; times and ids are another run's.
SHOWN = {
    "preview": (
        "$ pgflow preview customers",
        "merge key customer_id [pk()]",
        "_loaded_at, _batch_id, valid_from, valid_to, is_current, _closed_batch_id [added",
        "connection postgresql database",
        "-- 1. read the source and find what is new, changed or gone",
    ),
    "sync": (
        "$ pgflow sync --all",
        "customers -> warehouse.customer: inserted 2,000, read 2,000 in",
        "sales -> warehouse.sale:",
        "0:00:01",
    ),
    "error": ("$ pgflow sync sales", "different rows share a merge key: sale_id=5001", "failed"),
    "history": ("$ pgflow history", "customers", "success", "failed", "share a merge key"),
}


def text(path: Path) -> str:
    """The words of a picture, line by line, one blank between them."""
    rows: dict[float, list[tuple[float, str]]] = {}
    pattern = r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>'
    for x, y, content in re.findall(pattern, path.read_text(encoding="utf-8")):
        plain = html.unescape(content).replace("\xa0", " ")
        rows.setdefault(float(y), []).append((float(x), plain))
    lines = (" ".join(piece for _, piece in sorted(rows[y])) for y in sorted(rows))
    return "\n".join(" ".join(line.split()) for line in lines)


def check(directory: Path) -> None:
    assert {path.stem for path in directory.glob("*.svg")} == SHOWN.keys()
    for name, parts in SHOWN.items():
        shown = text(directory / f"{name}.svg")
        for part in parts:
            assert part in shown, f"{name}.svg lacks {part!r}:\n{shown}"
        assert "Traceback" not in shown


def test_the_pictures_show_what_they_are_for() -> None:
    """Those in the repository, which name no place of the machine that made them."""
    check(ROOT / "docs" / "screens")
    for path in (ROOT / "docs" / "screens").glob("*.svg"):
        assert not re.search(r"/(home|root|tmp|dev|work)/", text(path))


def test_the_pictures_can_be_made_again(database: str, home: Path) -> None:
    """From real runs of the command line on a terminal."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "screens.py", "--url", database, "--output", home / "new"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    check(home / "new")
