"""Each test begins with nothing configured."""

from __future__ import annotations

import pytest

from pgflow.alembic import settings


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what `configure()` said in other tests."""
    monkeypatch.setattr(settings, "_latest", [])
