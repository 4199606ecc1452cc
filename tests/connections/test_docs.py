"""The pages about connections show code that runs and settings that are read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pgflow.connections import registry, settings

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)


@pytest.mark.parametrize(
    "page", ["how-to/connections.md", "reference/connections.md", "reference/embedded.md"]
)
def test_the_code_runs(
    page: str,
    data_directory: Path,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A reader may paste a page's code, top to bottom, and sees what the page shows."""
    monkeypatch.setenv("PGFLOW_DSN", database)
    code = blocks(page, "python")
    assert code
    namespace: dict[str, object] = {}
    for block in code:
        exec(block, namespace)
    shown = capsys.readouterr().out
    for output in blocks(page, "text"):
        assert output in shown
    registry.dispose()


@pytest.mark.parametrize("page", ["how-to/connections.md", "reference/connections.md"])
def test_the_settings_are_read(page: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that a page shows are valid, each entry of them."""
    for block in blocks(page, "toml"):
        (home / "pgflow.toml").write_text(block)
        for variable in re.findall(r"\$\{(\w+)\}", block):
            monkeypatch.setenv(variable, "value")
        for name in tomllib.loads(block)["connections"]:
            assert registry.engine(name).dialect.name == "postgresql"
            assert "$" not in settings.find_entry(name).dsn
    registry.dispose()


def test_the_shown_ambiguity(home: Path) -> None:
    """An `@` that could be the end of the password is taken for it, as the page says."""
    assert registry.describe(registry.engine("postgresql://u:a@b:1/x")).host == "b"
    registry.dispose()
