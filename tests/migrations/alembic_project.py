"""An Alembic project in a temporary directory, driven as its command line drives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData

ENV = """\
from alembic import context
from pgflow.alembic import configure, configure_metadata, process_revision_directives

attributes = context.config.attributes
configure(**attributes.get("options", {}))
configure_metadata(attributes["metadata"], attributes.get("pgflow"))
with attributes["engine"].connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=attributes["metadata"],
        process_revision_directives=process_revision_directives,
    )
    with context.begin_transaction():
        context.run_migrations()
"""

MAKO = '''\
"""${message}"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''


@dataclass(frozen=True)
class Revision:
    """A migration file as it was written.

    Attributes:
        upgrade: The body of `upgrade()`.
        downgrade: The body of `downgrade()`.
    """

    upgrade: str
    downgrade: str

    @property
    def is_empty(self) -> bool:
        """Whether neither direction does anything."""
        return all(
            [line for line in body.splitlines() if not line.startswith("#")] == ["pass"]
            for body in (self.upgrade, self.downgrade)
        )


class AlembicProject:
    """Migration files for one database.

    Args:
        directory: Where the files go.
        engine: An engine on the database.
        **options: Arguments for `pgflow.alembic.configure`.
    """

    def __init__(self, directory: Path, engine: Engine, **options: object) -> None:
        (directory / "versions").mkdir(parents=True)
        (directory / "env.py").write_text(ENV)
        (directory / "script.py.mako").write_text(MAKO)
        self.config = Config()
        self.config.set_main_option("script_location", str(directory))
        self.config.set_main_option("path_separator", "os")
        self.config.attributes["engine"] = engine
        self.config.attributes["options"] = options
        self.config.attributes["metadata"] = MetaData()

    def revision(self, metadata: MetaData, message: str = "change") -> list[Revision]:
        """Write what leads from the database to a declaration; usually it is one file."""
        self.config.attributes["metadata"] = metadata
        written = command.revision(self.config, message, autogenerate=True)
        scripts = written if isinstance(written, list) else [written]
        texts = [Path(script.path).read_text() for script in scripts if script is not None]
        return [_split(text) for text in texts]

    def discards(self, metadata: MetaData) -> str:
        """Write one more file, return what it does, and delete it."""
        (written,) = self.revision(metadata, "nothing")
        path = ScriptDirectory.from_config(self.config).get_revision("head").path
        Path(path).unlink()
        return "" if written.is_empty else written.upgrade

    def upgrade(self, revision: str = "heads") -> None:
        """Apply migrations."""
        command.upgrade(self.config, revision)

    def downgrade(self, revision: str = "base") -> None:
        """Revert migrations."""
        command.downgrade(self.config, revision)


def _split(text: str) -> Revision:
    upgrade, downgrade = text.split("def upgrade():\n")[1].split("def downgrade():\n")
    return Revision(_body(upgrade), _body(downgrade))


def _body(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.strip().splitlines())
