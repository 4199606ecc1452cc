"""Any two declarations have a way between them, and back."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.migrations.planning.shapes import SHAPES
from tests.migrations.world_loop import Loop, titles


@pytest.mark.parametrize("way", ["there", "back"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_reached_and_left(engine: Engine, name: str, way: str) -> None:
    """The migration applies, nothing is left to do, the way back restores what was."""
    before, after = (["create schema app", *statements] for statements in SHAPES[name])
    if way == "back":
        before, after = after, before
    planned = Loop(engine).close(before, after)
    assert planned.upgrade
    assert planned.downgrade
    assert len(set(titles(planned.upgrade))) == len(planned.upgrade)
