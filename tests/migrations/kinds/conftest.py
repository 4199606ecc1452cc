"""One database for all tests of this folder, and a catalogue with an empty schema `app` in it.

Every test works in a transaction that is undone at its end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine

from pgflow.connections.cluster import Cluster
from tests.conftest import administer
from tests.migrations.kinds.catalogue import Catalogue


@pytest.fixture(scope="session")
def shared_engine(server: Cluster) -> Iterator[Engine]:
    """An engine on a database in which nothing is ever committed."""
    name = f"test_{os.getpid()}_kinds"
    administer(server, "CREATE DATABASE {}", name)
    engine = create_engine(server.url(name), poolclass=NullPool)
    yield engine
    engine.dispose()
    administer(server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def conn(shared_engine: Engine) -> Iterator[Connection]:
    """A connection whose transaction is rolled back."""
    with shared_engine.connect() as connection:
        yield connection


@pytest.fixture
def catalogue(conn: Connection) -> Catalogue:
    """The catalogue of an empty database; what a test does in it is never committed."""
    found = Catalogue(conn)
    found.run("CREATE SCHEMA app")
    return found
