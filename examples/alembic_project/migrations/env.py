"""Run by Alembic: compares the modules of pgflow.toml with a database, and migrates it.

The database is the connection `default`; `alembic -x connection=NAME ...` takes another one.
"""

from logging.config import fileConfig

from alembic import context

import pgflow
from pgflow.alembic import (
    configure,
    configure_metadata,
    process_revision_directives,
    run_migrations,
)
from pgflow.project import Project

if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

configure()
target_metadata = list(Project.load().metadatas)
for metadata in target_metadata:
    configure_metadata(metadata)


def run_offline() -> None:
    """Write the SQL of migrations to standard output (`alembic upgrade head --sql`)."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=target_metadata,
        literal_binds=True,
        process_revision_directives=process_revision_directives,
    )
    run_migrations()


def run_online() -> None:
    """Migrate the database, or compare it with the metadata."""
    name = context.get_x_argument(as_dictionary=True).get("connection", "default")
    with pgflow.connect(name) as connection:
        context.configure(
            connection=connection,
            target_metadata=target_metadata,
            process_revision_directives=process_revision_directives,
        )
        run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
