"""Extensions: what a declaration leaves open is as the database has it."""

from __future__ import annotations

import pytest

from pgflow.alembic.entity import Entity
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.kinds import extensions
from pgflow.alembic.kinds.extensions import EXTENSION
from tests.migrations.kinds.catalogue import Catalogue

_CITEXT = EntityIdentifier("", "citext", kind="extension")
_COMMENT = "data type for case-insensitive character strings"


def live(catalogue: Catalogue) -> dict[EntityIdentifier, Entity]:
    """Return what the database has, by identity."""
    return {entity.id: entity for entity in catalogue.read(EXTENSION)}


def declared(catalogue: Catalogue, *statements: str) -> Entity:
    """Return the one extension that statements declare."""
    [found] = extensions.declared(catalogue.reader, statements, live(catalogue))
    return found


def test_an_extension_is_made_and_dropped(catalogue: Catalogue) -> None:
    """Made from its declaration, an extension is as declared, with its own comment."""
    wanted = declared(catalogue, "CREATE EXTENSION citext SCHEMA app")
    assert (wanted.id, wanted.comment) == (_CITEXT, _COMMENT)
    catalogue.run(*EXTENSION.create(wanted, catalogue.world()))
    found = live(catalogue)[_CITEXT]
    assert found.facts["schema"] == "app"
    assert declared(catalogue, "CREATE EXTENSION citext SCHEMA app") == found
    catalogue.run(*EXTENSION.drop(found, catalogue.world()))
    assert _CITEXT not in live(catalogue)


def test_what_is_not_declared_makes_no_difference(catalogue: Catalogue) -> None:
    """A name alone agrees with any schema, version and comment."""
    catalogue.run("CREATE EXTENSION citext SCHEMA app VERSION '1.4'")
    catalogue.run("COMMENT ON EXTENSION citext IS 'ours'")
    assert declared(catalogue, "CREATE EXTENSION IF NOT EXISTS citext") == live(catalogue)[_CITEXT]


def test_schema_version_and_comment_are_compared_if_declared(catalogue: Catalogue) -> None:
    """An extension moves to the declared schema and version."""
    catalogue.run("CREATE SCHEMA other", "CREATE EXTENSION citext SCHEMA app VERSION '1.4'")
    wanted = declared(
        catalogue,
        "CREATE EXTENSION citext SCHEMA other VERSION '1.5'",
        "COMMENT ON EXTENSION citext IS 'x'",
    )
    assert wanted.comment == "x"
    change = catalogue.alter(EXTENSION, live(catalogue)[_CITEXT], wanted)
    assert [each.sql for each in change.statements] == [
        "ALTER EXTENSION citext SET SCHEMA other",
        "ALTER EXTENSION citext UPDATE TO '1.5'",
    ]
    assert live(catalogue)[_CITEXT].facts == wanted.facts


@pytest.mark.parametrize(
    ("declaration", "sql"),
    [
        ("CREATE EXTENSION citext", "CREATE EXTENSION IF NOT EXISTS citext"),
        (
            'CREATE EXTENSION "uuid-ossp" WITH SCHEMA "S" VERSION \'1.1\' CASCADE',
            'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" SCHEMA "S" VERSION \'1.1\' CASCADE',
        ),
    ],
)
def test_a_new_extension_is_made_as_it_was_declared(
    catalogue: Catalogue, declaration: str, sql: str
) -> None:
    """Schema, version and CASCADE are said if the declaration says them."""
    wanted = declared(catalogue, declaration)
    assert [each.sql for each in EXTENSION.create(wanted, catalogue.world())] == [sql]
