"""Errors into sentences and exit codes."""

from __future__ import annotations

from collections.abc import Iterable

from pgflow.cli import signals
from pgflow.errors import (
    BackfillRefused,
    BadCredentials,
    CannotExport,
    DeclarationError,
    EmbeddedServerFailed,
    HistoryOutOfReach,
    InvalidInstant,
    InvalidPosition,
    MalformedDsn,
    MalformedSettings,
    MissingExtra,
    MissingParameter,
    MissingQueue,
    MissingServerBinaries,
    MissingWorkerExtra,
    ModuleFailed,
    NoModules,
    NotEmbedded,
    NotScheduled,
    OtherQueue,
    OtherServerVersion,
    PgflowError,
    PoolerBetween,
    PostgresTooOld,
    TargetsFailed,
    UnknownConnection,
    UnknownPipeline,
    UnknownRun,
    UnknownTable,
    UnreachableDirectory,
    UnsetVariable,
    UnwritableSettings,
    WrongDriver,
)

#: Everything went well.
OK = 0
#: A run failed, or the database refused what a command asked for.
FAILED = 1
#: The command line is wrong: an unknown option or name, a parameter that is missing.
USAGE = 2
#: A declaration, a module or a connection cannot be used.
UNUSABLE = 3

_USAGE = (
    BackfillRefused,
    InvalidInstant,
    InvalidPosition,
    MissingParameter,
    NotScheduled,
    UnknownPipeline,
    UnknownRun,
    UnknownTable,
)
_UNUSABLE = (
    BadCredentials,
    CannotExport,
    DeclarationError,
    EmbeddedServerFailed,
    HistoryOutOfReach,
    MalformedDsn,
    MalformedSettings,
    MissingQueue,
    MissingServerBinaries,
    MissingWorkerExtra,
    MissingExtra,
    ModuleFailed,
    NoModules,
    NotEmbedded,
    OtherQueue,
    OtherServerVersion,
    PoolerBetween,
    PostgresTooOld,
    UnknownConnection,
    UnreachableDirectory,
    UnsetVariable,
    UnwritableSettings,
    WrongDriver,
)


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error ends a command with.

    Args:
        error: What was raised.
    """
    if isinstance(error, KeyboardInterrupt):
        return signals.exit_code(error)
    if isinstance(error, TargetsFailed) and error.__cause__ is not None:
        return exit_code(error.__cause__)
    if isinstance(error, _USAGE):
        return USAGE
    if isinstance(error, _UNUSABLE) or _is_refused_connection(error):
        return UNUSABLE
    return FAILED


def first_reason(codes: Iterable[int]) -> int:
    """Return the exit code for several runs: `FAILED` if one has it, else the first that is not 0.

    Args:
        codes: The code of each run.
    """
    bad = [code for code in codes if code != OK]
    if not bad:
        return OK
    return FAILED if FAILED in bad else bad[0]


def sentence(error: BaseException) -> str:
    """Say what went wrong, in the words of whoever knows best, with the user's own line.

    Args:
        error: What was raised.
    """
    if isinstance(error, TargetsFailed):
        return _of_targets(error)
    if isinstance(error, PgflowError):
        return "\n".join([str(error), *getattr(error, "__notes__", ())])
    original = getattr(error, "orig", None)
    if isinstance(original, Exception):  # SQLAlchemy's wrapper repeats statement and values
        what = str(original).strip()
        if not _is_refused_connection(error):
            return what
        where = "".join(f" ({note})" for note in getattr(original, "__notes__", ())[:1])
        return f"the database cannot be reached{where}: {what}"
    # Whatever else comes out of a command was raised in the user's code, or is a bug.
    from pgflow.project.modules import in_words, user_place

    place = user_place(error)
    return in_words(error) + (f"\n  at {place}" if place else "")


def _of_targets(error: TargetsFailed) -> str:
    """Say what went wrong on each target as it is said of a single one."""
    from pgflow.observe.failure import in_one
    from pgflow.run.result import SyncResult

    if not isinstance(error.result, SyncResult):
        return str(error)
    return in_one(error.result, lambda target: sentence(target.error or error))


def _is_refused_connection(error: BaseException) -> bool:
    """Whether a connection could not be opened; one that broke later is a failed run."""
    from sqlalchemy.exc import OperationalError

    return (
        isinstance(error, OperationalError)
        and error.statement is None
        and not error.connection_invalidated
    )
