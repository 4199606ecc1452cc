"""The tables of this project, and the pipelines that fill them."""

from typing import Annotated

import pgflow
from pgflow.alembic import declare_sql
from pgflow.types import Text


@pgflow.table(schema="warehouse")
class ServerSetting:
    name: Annotated[Text, pgflow.pk()]
    value: Text | None
    category: Text | None


declare_sql(
    pgflow.metadata,
    """
    CREATE VIEW warehouse.current_setting AS
    SELECT name, value, category
      FROM warehouse.server_setting
     WHERE is_current
    """,
)


@pgflow.pipeline(target=ServerSetting, mode="scd2", handle_deletes="soft")
def server_settings():
    """Settings of the PostgreSQL server: what they are, and what they were before."""
    return """
        SELECT name, setting AS value, category
          FROM pg_settings
         WHERE context IN ('postmaster', 'sighup')
    """
