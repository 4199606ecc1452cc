"""The page of errors is the errors."""

from __future__ import annotations

import inspect
import subprocess
import sys

from pgflow import errors
from tests.docs.doc_pages import ROOT, page


def test_the_page_of_errors_is_up_to_date() -> None:
    """`docs/reference/errors.md` is what `python docs/errors_page.py` writes."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "errors_page.py"), "--print"],
        capture_output=True,
        text=True,
        check=True,
    )
    written = page("docs/reference/errors.md").path.read_text(encoding="utf-8")
    assert written == run.stdout, "run `python docs/errors_page.py`"


def test_every_error_is_on_the_page() -> None:
    """Every class of `pgflow.errors` has its heading."""
    text = page("docs/reference/errors.md").path.read_text(encoding="utf-8")
    classes = [
        n for n, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__
    ]
    assert len(classes) > 50
    missing = [name for name in classes if f"### {name}\n" not in text]
    assert not missing
