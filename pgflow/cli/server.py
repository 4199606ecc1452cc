"""`pgflow server start`, `stop` and `status`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from pgflow.cli.failures import FAILED, OK
from pgflow.cli.output import Output
from pgflow.cli.registering import import_modules
from pgflow.connections.embedded_connection import EmbeddedConnection
from pgflow.connections.server_state import ServerState


def start_server(
    output: Output, connection: str, modules: Sequence[str] | None, *, as_json: bool
) -> int:
    """Start a server that goes on when this command ends, and say how to connect to it."""
    found = _find(output, connection, modules)
    before = found.server.state()
    found.server.start(keep=True)
    found.server.url(found.database)  # creates the database if it is missing
    state = found.server.state()
    if as_json:
        output.json(_facts(found, state))
        return OK
    how = "is started" if state.pid != before.pid else "runs already"
    output.line(f"embedded server {found.server.name!r} {how}, and stays up")
    _show(output, found, state)
    output.line(f"Stop it with {_command('stop', connection)}; the data stays.")
    return OK


def stop_server(output: Output, connection: str, modules: Sequence[str] | None) -> int:
    """Stop a server, whoever uses it."""
    found = _find(output, connection, modules)
    state = found.server.state()
    found.server.stop()
    if not state.running:
        output.line(f"embedded server {found.server.name!r} is not running")
        return OK
    output.line(f"embedded server {found.server.name!r} is stopped; its data stays in {state.data}")
    if state.users:
        output.note(f"cut off: {_processes(state.users)}")
    return OK


def show_server(
    output: Output, connection: str, modules: Sequence[str] | None, *, as_json: bool
) -> int:
    """Say how a server stands.

    Returns:
        `FAILED` if it does not run.
    """
    found = _find(output, connection, modules)
    state = found.server.state()
    if as_json:
        output.json(_facts(found, state))
    else:
        output.line(f"embedded server {found.server.name!r} is {_standing(state, connection)}")
        _show(output, found, state)
    return OK if state.running else FAILED


def _find(output: Output, connection: str, modules: Sequence[str] | None) -> EmbeddedConnection:
    import_modules(output, modules)
    return EmbeddedConnection.find(connection)


def _facts(found: EmbeddedConnection, state: ServerState) -> dict[str, Any]:
    return {
        "server": found.server.name,
        "database": found.database,
        "running": state.running,
        "kept": state.kept,
        "killed": state.killed,
        "version": state.version,
        "data": str(state.data),
        "process": state.pid,
        "used_by": list(state.users),
        "url": _url(found, state),
        "psql": _psql(found, state),
    }


def _show(output: Output, found: EmbeddedConnection, state: ServerState) -> None:
    facts = {
        "data": str(state.data) if state.version else f"{state.data} (not made yet)",
        "version": f"PostgreSQL {state.version}" if state.version else "",
        "process": str(state.pid or ""),
        "used by": _processes(state.users),
        "URL": _url(found, state),
        "psql": _psql(found, state),
    }
    for name, fact in facts.items():
        if fact:
            output.line(f"  {name:<8} {fact}")


def _standing(state: ServerState, connection: str) -> str:
    if state.running:
        kept = f"until {_command('stop', connection)}" if state.kept else "while it is used"
        return f"up, {kept}"
    if state.killed:
        return "down; it was killed, and its next start recovers what was committed"
    return "down"


def _url(found: EmbeddedConnection, state: ServerState) -> str:
    """A URL that every program of PostgreSQL reads; there is none while the server is down."""
    url = state.url(found.database)
    return url.set(drivername="postgresql").render_as_string() if url else ""


def _psql(found: EmbeddedConnection, state: ServerState) -> str:
    return found.server.psql_command(found.database) if state.running else ""


def _processes(pids: Sequence[int]) -> str:
    words = "process" if len(pids) == 1 else "processes"
    return f"{words} {', '.join(map(str, pids))}" if pids else ""


def _command(name: str, connection: str) -> str:
    words = ["pgflow", "server", name, *([connection] if connection != "default" else [])]
    return shlex.join(words)
