"""Schemas are read with their owner, rights and mark, and made, renamed and dropped."""

from __future__ import annotations

from pgflow.alembic.entity import Mark, Privilege
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds.schemas import SCHEMA
from tests.migrations.kinds.catalogue import Catalogue, check_round_trip


def test_a_schema_is_read_with_everything_that_it_has(catalogue: Catalogue) -> None:
    """Owner, rights and comment come with a schema; another schema does not."""
    catalogue.run("CREATE SCHEMA other", "GRANT USAGE ON SCHEMA app TO PUBLIC")
    catalogue.run("COMMENT ON SCHEMA app IS 'ours [pgflow]'")
    [schema] = catalogue.read(SCHEMA)
    assert schema.id == EntityIdentifier("app", kind="schema")
    assert (schema.comment, schema.mark) == ("ours", Mark())
    assert schema.owner == catalogue.scalar("SELECT current_user::text")
    assert schema.privileges == {Privilege("", "USAGE")}


def test_a_schema_is_dropped_and_made_again(catalogue: Catalogue) -> None:
    """What is made from a schema that was read is that schema."""
    check_round_trip(catalogue, SCHEMA)


def test_a_schema_is_renamed(catalogue: Catalogue) -> None:
    """A schema gets a new name, quoted where it needs it."""
    new = EntityIdentifier("New app", kind="schema")
    catalogue.run(*SCHEMA.rename(EntityIdentifier("app", kind="schema"), new))
    assert [each.id for each in catalogue.read(SCHEMA, "app", "New app")] == [new]
