"""Extensions of installed packages: real distributions on the path, found by entry points."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgflow.errors import ExtensionError
from pgflow.resolve import discovery
from pgflow.resolve.config import Config

PGFLOW = "from pgflow.cli.main import main; main()"
AUDIT = '''
from pgflow import Extension, Plugin

class AuditPlugin(Plugin):
    def run(self, ctx):
        pass

def add_commands(app):
    @app.command("audit")
    def audit():
        """Say that all is well."""
        print("all is well")

audit = Extension(name="audit", plugins=[AuditPlugin()], depends_on=["journal"], cli=add_commands)

class Journal(Extension):
    pass

def broken():
    raise RuntimeError("no licence")

def takes_a_name():
    return Extension(cli=lambda app: app.command("sync")(lambda: None))

nothing = 3
'''

Install = Callable[[str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays a distribution with these entry points on the path, as an installer does."""

    def install(entries: str, name: str = "acme-audit") -> Path:
        site = tmp_path / name
        information = site / f"{name.replace('-', '_')}-1.2.dist-info"
        information.mkdir(parents=True)
        (site / "acme_audit.py").write_text(AUDIT)
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
        )
        (information / "entry_points.txt").write_text(f"[pgflow.extensions]\n{entries}\n")
        monkeypatch.syspath_prepend(site)
        discovery._entries.cache_clear()
        return site

    yield install
    discovery._entries.cache_clear()
    discovery._load.cache_clear()
    sys.modules.pop("acme_audit", None)


def test_an_installed_extension_is_used_when_asked_for(install: Install) -> None:
    """Its plugins come with those of what it depends on; without asking nothing happens."""
    install("audit = acme_audit:audit\njournal = acme_audit:Journal")
    assert Config().extensions == []
    config = Config().discover("audit")
    assert [each.name for each in config.extensions] == ["journal", "audit"]
    assert [type(each).__name__ for each in config.all_plugins] == ["AuditPlugin"]
    assert config.discover().extensions == config.extensions


@pytest.mark.parametrize(
    ("entries", "name", "sentence"),
    [
        ("bad = acme_audit:broken", "bad", "of acme-audit 1.2 .* RuntimeError: no licence"),
        (
            "bad = acme_audit:missing",
            "bad",
            "of acme-audit 1.2 .* cannot be loaded: AttributeError",
        ),
        ("bad = acme_audit:nothing", "bad", "is 3: an entry point names an instance"),
        ("bad = acme_audit:audit", "bad", "calls itself 'audit'"),
        ("audit = acme_audit:audit", "audti", "Did you mean 'audit'"),
        ("audit = acme_audit:audit", "audit", "depends on 'journal', which is not in use"),
    ],
)
def test_an_extension_that_cannot_be_used_is_named(
    install: Install, entries: str, name: str, sentence: str
) -> None:
    """The error says which package is to blame, and the configuration stays as it was."""
    install(entries)
    config = Config()
    with pytest.raises(ExtensionError, match=sentence):
        config.discover(name)
    assert config.extensions == []


def test_two_packages_with_one_name_are_refused(install: Install) -> None:
    """Which of them would win must not depend on the path."""
    install("audit = acme_audit:audit")
    install("audit = acme_audit:Journal", "other-audit")
    with pytest.raises(ExtensionError, match="acme-audit 1.2|other-audit 1.2"):
        Config().discover()


def run_pgflow(project: Path, site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a project, with a distribution on the path."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(site)])
    return subprocess.run(
        [sys.executable, "-c", PGFLOW, *words],
        cwd=project,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_extension_adds_a_command(install: Install, tmp_path: Path) -> None:
    """The project names the extension, and has its command."""
    site = install("audit = acme_audit:audit\njournal = acme_audit:Journal")
    assert run_pgflow(tmp_path, site, "audit").returncode == 2
    (tmp_path / "pgflow.toml").write_text('extensions = ["audit"]\n')
    done = run_pgflow(tmp_path, site, "audit")
    assert (done.returncode, done.stdout) == (0, "all is well\n")


def test_a_command_whose_name_is_taken_is_refused(install: Install, tmp_path: Path) -> None:
    """No extension takes the place of a command of pgflow."""
    site = install("thief = acme_audit:takes_a_name")
    (tmp_path / "pgflow.toml").write_text('extensions = ["thief"]\n')
    done = run_pgflow(tmp_path, site, "list")
    assert done.returncode == 3
    assert "extension 'thief' has a command 'sync', and there is one already" in done.stderr
