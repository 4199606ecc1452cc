"""The links of the documentation lead somewhere."""

from __future__ import annotations

import pytest

from tests.docs.doc_pages import ROOT, Page, pages, read


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Page) -> None:
    """A link within the project leads to a file, and its `#...` to a heading of it."""
    for link in page.links:
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        found = (page.path.parent / path).resolve() if path else page.path
        assert found.exists(), f"{page.name} links to {link}, which is not there"
        assert found.is_relative_to(ROOT), f"{page.name} links to {link}, outside the project"
        if anchor:
            assert anchor in read(found).anchors, f"{page.name}: {link} has no such heading"


def test_every_page_can_be_reached() -> None:
    """Every page of `docs/` is linked from another page."""
    linked = {
        (page.path.parent / link.partition("#")[0]).resolve()
        for page in pages()
        for link in page.links
        if "://" not in link
    }
    lost = [p.name for p in pages() if p.name.startswith("docs/") and p.path not in linked]
    assert lost == ["docs/index.md"] or not lost, f"no page links to {lost}"
