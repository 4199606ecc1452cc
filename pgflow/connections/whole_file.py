"""Replacing a file as a whole: readers find the old text or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgflow.errors import UnwritableSettings

#: Only its owner may read a file that can hold a password.
PRIVATE = 0o600
#: What new files have that are meant for others too.
SHARED = 0o644

_PRIVATE_DIRECTORY = 0o700


@contextlib.contextmanager
def alone(path: Path) -> Iterator[Path]:
    """Let one process at a time change a file; its directory is made if it is not there.

    Args:
        path: The file. A symbolic link stands for the file that it leads to, and stays a link.

    Yields:
        The file itself.

    Raises:
        UnwritableSettings: The directory cannot be made or opened, or the file is another's.
    """
    # Only what writes settings needs it.
    import fcntl

    try:
        real = path.resolve(strict=False)
        real.parent.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
        directory = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise _unwritable(path, _reason(error)) from error
    try:
        # Some network file systems know no such locks. The file is replaced as a whole anyway.
        with contextlib.suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_EX)
        _refuse_strange(real)
        yield real
    finally:
        os.close(directory)


def replace_text(path: Path, text: str, mode: int) -> None:
    """Write a file beside, and rename it.

    Args:
        path: The file itself, no link. Root leaves it to whoever has it.
        text: Its new content; line ends are written as they stand.
        mode: Who may read and write it.

    Raises:
        UnwritableSettings: It cannot be written; the old file stands as it was.
    """
    try:
        owner = _owner(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error
    finally:
        beside.unlink(missing_ok=True)


def _refuse_strange(path: Path) -> None:
    """Refuse what renaming would take away from somebody, and what is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise _unwritable(path, "it is no file")
    if os.geteuid() not in (0, found.st_uid):
        raise _unwritable(path, "it belongs to another account")


def _owner(path: Path) -> tuple[int, int] | None:
    """Whom root has to give the file to; None for everybody else."""
    if os.geteuid() != 0:
        return None
    found = (path if path.exists() else path.parent).stat()
    return found.st_uid, found.st_gid


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "its links lead in a circle"


def _unwritable(path: Path, why: str) -> UnwritableSettings:
    return UnwritableSettings(
        f"{path} cannot be written: {why}. Make it a file of your own in a directory that you may "
        "write, or set a variable instead.",
        path=str(path),
    )
