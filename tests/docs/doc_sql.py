"""Executes the SQL of a page, for the script that its code becomes."""

from __future__ import annotations

import pgflow


def execute_sql(text: str) -> None:
    """Execute statements on the connection `default`, as its owner would in psql."""
    with pgflow.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(text)
