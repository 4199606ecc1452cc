"""Errors in words: what pgflow was doing, with or without the values that a driver quotes."""

from __future__ import annotations

from collections.abc import Collection

from pgflow.errors import PgflowError, SourceFailed, StatementFailed
from pgflow.run.violations import explanation

#: Classes of SQLSTATE whose messages quote no value of any row: connection, rights, syntax and
#: names, resources, limits, cancellation, the server's own state.
_WITHOUT_VALUES = ("08", "28", "42", "53", "54", "55", "57", "58", "25", "40")

#: What helps where the server ended a session for a limit of its own.
_LIMITS = {
    "25P03": (
        "The function or the rows' source took longer between two statements than "
        "idle_in_transaction_session_timeout allows. A run is one transaction: raise the limit "
        "for the role (ALTER ROLE ... SET), or do the slow work before the run."
    ),
    "25P04": (
        "The run took longer than transaction_timeout allows, waiting for others included. A run "
        "is one transaction: raise the limit for the role (ALTER ROLE ... SET), or load less at "
        "a time."
    ),
}

#: What is told of an interrupt that has no text of its own.
_INTERRUPTED = "The run was interrupted, as by Ctrl-C."


def reason(error: BaseException) -> str:
    """Say why a run failed: the same in results, in the history, in the log and for hooks.

    Args:
        error: What was raised.

    Returns:
        The words of whoever knows best. What is not pgflow's begins with its class, as many such
        errors (`KeyError: 'id'`) say nothing without it.
    """
    # SQLAlchemy's wrapper adds statement, values and a link to what the driver says.
    original = getattr(error, "orig", None)
    if isinstance(original, Exception):
        return str(original).strip()
    text, kind = str(error).strip(), type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        return text or _INTERRUPTED
    if text and isinstance(error, PgflowError):
        return text
    return f"{kind}: {text}" if text else kind


def statement_failed(
    error: BaseException,
    purpose: str,
    statement: str,
    owner: str = "",
    *,
    guarded: bool = False,
    kind: type[StatementFailed] = StatementFailed,
    defaulted: Collection[str] = (),
) -> StatementFailed:
    """Describe a driver's error by what pgflow was doing when it came.

    Args:
        error: The driver's error.
        purpose: What pgflow was doing.
        statement: The statement.
        owner: Whose it is.
        guarded: Whether values of rows must not be shown, which the server likes to quote.
        kind: The class of what is returned.
        defaulted: The target's columns that have a default.
    """
    diagnostic = _without_values(error) if guarded else str(error).strip()
    begin = f"{owner}: could not" if owner else "could not"
    why = explanation(error, owner, defaulted)
    said = f"{why} The server says: {diagnostic}" if why else diagnostic
    if advice := _LIMITS.get(getattr(error, "sqlstate", None) or ""):
        said = f"{diagnostic}. {advice}"
    return kind(
        f"{begin} {purpose}: {said}",
        purpose=purpose,
        statement=statement,
        sqlstate=getattr(error, "sqlstate", None),
        diagnostic=diagnostic,
    )


def source_failed(
    source: str,
    error: BaseException,
    purpose: str,
    statement: str,
    owner: str = "",
    *,
    guarded: bool = False,
) -> StatementFailed:
    """Describe an error of the source's side.

    Args:
        source: Where the source is; never a password.
        error: As for `statement_failed`, and so are the others.
        purpose: What pgflow was doing.
        statement: The statement.
        owner: Whose it is.
        guarded: Whether values of rows must not be shown.
    """
    title = f"{owner}, source {source}"
    found = statement_failed(error, purpose, statement, title, guarded=guarded, kind=SourceFailed)
    if isinstance(found, SourceFailed):
        found.source = source
    return found


def quotes_values(error: BaseException) -> bool:
    """Whether a driver's error may quote values of rows.

    Args:
        error: The driver's error.
    """
    sqlstate = getattr(error, "sqlstate", None)
    return sqlstate is not None and sqlstate[:2] not in _WITHOUT_VALUES


def _without_values(error: BaseException) -> str:
    """What the server complains about, without what it quotes of rows."""
    sqlstate = getattr(error, "sqlstate", None)
    diagnostic = getattr(error, "diag", None)
    if sqlstate is None or diagnostic is None:
        return str(error).strip()
    if not quotes_values(error):
        return str(diagnostic.message_primary)
    named = ("table_name", "column_name", "datatype_name", "constraint_name")
    where = [(n.removesuffix("_name"), getattr(diagnostic, n, None)) for n in named]
    told = ", ".join(f"{what} {name}" for what, name in where if name)
    return (
        f"{type(error).__name__} (SQLSTATE {sqlstate}){f' at {told}' if told else ''}; values are "
        "not shown, as sample_keys=False says"
    )
