"""The small world of the syncs' tests, for tests of the runner itself."""

from __future__ import annotations

from tests.sync.conftest import counts_fixture, world

__all__ = ["counts_fixture", "world"]
