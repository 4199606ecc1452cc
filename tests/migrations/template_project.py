"""Projects as `alembic init` writes them, with the lines that pgflow's documentation adds."""

from __future__ import annotations

import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData

_LINES = """
from pgflow.alembic import configure, configure_metadata, process_revision_directives
configure(config)
target_metadata = config.attributes["metadata"]
configure_metadata({metadata}, config)
"""

_HOOK = "process_revision_directives=process_revision_directives"
_GIVEN = re.compile(r"target_metadata=target_metadata(?:\.get\(name\))?")


def make_project(directory: Path, template: str, *urls: str) -> Config:
    """Make a project from one of Alembic's own templates, of which only env.py is changed.

    Args:
        directory: Where it goes.
        template: "generic", "async" or "multidb".
        *urls: The databases.

    Returns:
        Alembic's configuration; set `attributes["metadata"]` before using it.
    """
    command.init(Config(str(directory / "alembic.ini")), str(directory / "scripts"), template)
    several = template == "multidb"
    env = directory / "scripts" / "env.py"
    lines = _LINES.format(metadata="target_metadata.values()" if several else "target_metadata")
    text = env.read_text()
    text = text.replace("target_metadata = {}" if several else "target_metadata = None", lines)
    text = _GIVEN.sub(rf"\g<0>, {_HOOK}", text)
    assert text.count("process_revision_directives=") == 2
    env.write_text(text)
    # Without the file, so that its logging does not reach into other tests.
    config = Config()
    config.set_main_option("script_location", str(directory / "scripts"))
    config.set_main_option("path_separator", "os")
    names = [f"engine{number}" for number, _ in enumerate(urls, 1)]
    config.set_main_option("databases", ", ".join(names))
    for name, url in zip(names, urls, strict=True):
        config.set_section_option(name, "sqlalchemy.url", url.replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", urls[0].replace("%", "%%"))
    config.attributes["metadata"] = MetaData()
    return config
