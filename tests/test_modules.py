"""The modules of pgflow that users write after `pgflow.`."""

from __future__ import annotations

import importlib

import pytest

import pgflow


@pytest.mark.parametrize(
    "name", ["checks", "errors", "graph", "plugins", "project", "testing", "types"]
)
def test_a_module_needs_no_import_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What messages advise, such as `pgflow.checks.NotNull`, works after `import pgflow`."""
    module = importlib.import_module(f"pgflow.{name}")
    monkeypatch.delattr(pgflow, name)
    assert getattr(pgflow, name) is module
