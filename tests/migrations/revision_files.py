"""Migration files written by hand, and kinds of env.py to run them with."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

from tests.migrations.alembic_project import AlembicProject

_FILE = '''\
"""{revision}"""

from alembic import op

revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''

#: As `pgflow init` writes it, in short.
PATIENT_ENV = """\
from alembic import context
from pgflow.alembic import (
    configure, configure_metadata, process_revision_directives, run_migrations
)

attributes = context.config.attributes
configure(**attributes.get("options", {}))
configure_metadata(attributes["metadata"])
more = dict(
    target_metadata=attributes["metadata"],
    process_revision_directives=process_revision_directives,
    **attributes.get("context", {}),
)
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", **more)
    run_migrations()
else:
    with attributes["engine"].connect() as connection:
        context.configure(connection=connection, **more)
        run_migrations()
"""


def use_env(project: AlembicProject, text: str = PATIENT_ENV) -> None:
    """Give a project another env.py."""
    script_location = project.config.get_main_option("script_location")
    assert script_location is not None
    Path(script_location, "env.py").write_text(text)


def write(
    project: AlembicProject, revision: str, down: str | None, upgrade: str, downgrade: str = "pass"
) -> None:
    """Write a migration file."""
    script_location = project.config.get_main_option("script_location")
    assert script_location is not None
    upgrade, downgrade = (indent(dedent(each).strip(), "    ") for each in (upgrade, downgrade))
    text = _FILE.format(revision=revision, down=down, upgrade=upgrade, downgrade=downgrade)
    Path(script_location, "versions", f"{revision}.py").write_text(text)
