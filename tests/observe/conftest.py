"""The small world of the syncs' tests, for tests of what watches runs."""

from __future__ import annotations

from tests.sync.conftest import far, world

__all__ = ["far", "world"]
