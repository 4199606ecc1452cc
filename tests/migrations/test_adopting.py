"""Objects that no migration of pgflow's has made can be taken over, and are dropped later."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table

from pgflow.alembic import configure, configure_metadata
from tests.migrations.matrix.workshop import Workshop


def declared(*, index: bool = True) -> MetaData:
    """A table, perhaps with an index."""
    metadata = MetaData()
    table = Table("t", metadata, Column("a", Integer), schema="public")
    if index:
        Index("t_a", table.c.a)
    configure_metadata(metadata)
    return metadata


@pytest.fixture
def workshop(engine: Engine) -> Workshop:
    """A database whose table somebody else made, with a comment of his own."""
    workshop = Workshop(engine)
    empty = MetaData()
    configure_metadata(empty)
    workshop.upgrade(workshop.draft(empty))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE public.t (a integer)")
        connection.exec_driver_sql("CREATE INDEX t_a ON public.t (a)")
        connection.exec_driver_sql("COMMENT ON TABLE public.t IS 'Made by hand.'")
    return workshop


def test_adoption_is_silent_by_default(workshop: Workshop) -> None:
    """What is as declared makes no step, keeps its comment, and is never dropped."""
    assert workshop.draft(declared()).steps == []
    assert workshop.draft(declared(index=False)).steps == []


def test_what_is_adopted_can_be_dropped_later(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `adopt`, marks take the place of foreign comments; a later migration drops the index."""
    before = workshop.state()
    monkeypatch.setattr("tests.migrations.matrix.workshop.configure", lambda: configure(adopt=True))
    draft = workshop.draft(declared())
    assert sorted(draft.steps) == ["alter index public.t.t_a", "alter table public.t"]
    assert "# Remove the comment of table public.t" in draft.upgrade
    assert "# Take over index public.t_a" in draft.upgrade
    workshop.upgrade(draft)
    monkeypatch.undo()
    assert workshop.draft(declared()).steps == []
    assert workshop.draft(declared(index=False)).steps == ["drop index public.t.t_a"]
    workshop.downgrade(draft)
    assert workshop.state() == before
