"""What factories need of the server is known to whoever migrates their MetaData."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, MetaData, Text

import pgflow
from pgflow.errors import PostgresTooOld
from pgflow.plugins import UUIDV7PKPlugin
from pgflow.resolve.requirements import check_server


def test_a_server_that_is_too_old_for_one_factory_is_refused_by_its_name():
    """The factory, the plugin and the version are named; a server that is new enough passes."""
    metadata = MetaData()
    pgflow.SimpleTable("a", "app", metadata, [Column("x", Text)])
    pgflow.SimpleTable("b", "app", metadata, [Column("x", Text)], plugins=[UUIDV7PKPlugin()])
    with pytest.raises(PostgresTooOld, match=r"SimpleTable app\.b: .*UUIDV7PKPlugin needs 18"):
        check_server(metadata, 170004)
    check_server(metadata, (18, 1))


def test_a_factory_that_failed_needs_nothing():
    """A declaration that was refused leaves no demand behind."""
    metadata = MetaData()
    with pytest.raises(pgflow.PgflowError):
        pgflow.SimpleTable(
            "b", "app", metadata, [Column("x", Text), Column("x", Text)], plugins=[UUIDV7PKPlugin()]
        )
    check_server(metadata, 15)
