"""Who runs the embedded server: PostgreSQL refuses root, so root hands it to another account."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgflow.errors import EmbeddedServerFailed, UnreachableDirectory

#: Accounts that root hands the server to, first that exists.
_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An operating system account, and what it may do.

    Attributes:
        name: Its login name, or the number where it has none.
        uid: Its user number.
        gid: Its main group's number.
    """

    name: str
    uid: int
    gid: int

    @classmethod
    def of(cls, uid: int) -> Account:
        """Look an account up by its number, which may be unknown to the system's database."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(str(uid), uid, os.getgid())
        return cls(entry.pw_name, uid, entry.pw_gid)

    @property
    def is_current(self) -> bool:
        """Whether this process already runs as this account."""
        return self.uid == os.geteuid()

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this account, from the root directory, and capture what it says.

        Args:
            arguments: The program's path and its arguments; no shell reads them.
            env: The whole environment, or None for this process's.
            detached: In a session of its own, which Ctrl-C in this one's terminal does not reach.

        Returns:
            The finished process; standard error is joined to standard output.
        """
        other = not self.is_current
        return subprocess.run(  # noqa: S603  # a list of arguments that pgflow composed itself
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            start_new_session=detached,
            env=None if env is None else dict(env),
            user=self.uid if other else None,
            group=self.gid if other else None,
            extra_groups=[] if other else None,
        )

    def reaches(self, path: Path) -> bool:
        """Tell whether this account may enter a directory (or run a file), parents included."""
        if self.is_current:
            return os.access(path, os.X_OK)
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", path]).returncode == 0

    def demand(self, path: Path, remedy: str) -> None:
        """Refuse to go on if this account may not enter a directory.

        Args:
            path: The directory.
            remedy: What the user can do, for the error's last sentence.

        Raises:
            UnreachableDirectory: It may not.
        """
        if not self.reaches(path):
            raise UnreachableDirectory(
                f"PostgreSQL does not run as root, and the account {self.name!r} that runs it "
                f"instead may not enter {str(path)!r}. {remedy}",
                path=str(path),
                account=self.name,
            )

    def make_directory(self, path: Path) -> None:
        """Create a directory that only this account (and root) can enter, if it is missing.

        Raises:
            EmbeddedServerFailed: Something of that name belongs to somebody else.
        """
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            self._claim(path)
            return
        if not self.is_current:
            os.chown(path, self.uid, self.gid)

    def _claim(self, path: Path) -> None:
        found = path.lstat()
        if path.is_symlink() or not path.is_dir() or found.st_uid != self.uid:
            raise EmbeddedServerFailed(
                f"{str(path)!r} is not a directory of the account {self.name!r}, so the embedded "
                "server cannot keep its files there. Move it away, or set PGFLOW_DATA_DIR."
            )
        path.chmod(0o700)


def server_account() -> Account:
    """Return the account that runs the server: this process's own, unless that is root.

    Raises:
        EmbeddedServerFailed: This process is root and the system has no unprivileged account.
    """
    if os.geteuid() != 0:
        return Account.of(os.geteuid())
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerFailed(
        "PostgreSQL does not run as root, and this system has neither an account 'postgres' nor "
        "'nobody' to run it as. Add one, or start this program as an ordinary user."
    )
