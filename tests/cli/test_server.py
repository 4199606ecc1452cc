"""`pgflow server`: an embedded server that stays up between commands."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow.connections.embedded import EmbeddedServer
from pgflow.connections.registry import unregister

if TYPE_CHECKING:
    from conftest import Invoke

#: What two starts at the same time say, in the order of the alphabet.
STARTS = ("is started", "runs already")

REGISTERED = "from pgflow.connections.registry import register\nregister('shop', '{url}')\n"


@pytest.fixture
def shop(home: Path, data_directory: Path) -> str:
    """A project whose connection `default` leads to a database of an embedded server."""
    (home / "pgflow.toml").write_text('[connections.default]\ndsn = "embedded://shop/wh"\n')
    return "shop"


def test_a_server_stays_up_between_commands(
    shop: str,
    invoke: Invoke,
    console_script: list[str],
    environment: Callable[..., dict[str, str]],
) -> None:
    """Two terminals start one server, which outlives both, is killed, starts again, and stops."""
    down = invoke("server", "status")
    assert (down.code, down.out.splitlines()[0]) == (1, "embedded server 'shop' is down")
    assert "(not made yet)" in down.out
    terminals = [
        subprocess.Popen(
            [*console_script, "server", "start"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(2)
    ]
    said = [each.communicate(timeout=60)[0] for each in terminals]
    assert [each.returncode for each in terminals] == [0, 0]
    heads = sorted(text.splitlines()[0] for text in said)
    assert heads == [f"embedded server 'shop' {how}, and stays up" for how in STARTS]
    up = invoke("server", "status", "--format", "json")
    assert (up.code, up.json["running"], up.json["kept"], up.json["used_by"]) == (0, True, True, [])
    assert up.json["url"] in said[0]
    assert up.json["psql"] in said[1]
    assert database_at(up.json["url"]) == "wh"

    os.kill(up.json["process"], signal.SIGKILL)
    wait_until_down(shop)
    killed = invoke("server", "status")
    assert (killed.code, killed.out.splitlines()[0]) == (
        1,
        "embedded server 'shop' is down; it was killed, and its next start recovers what was "
        "committed",
    )
    again = invoke("server", "start", "--format", "json")
    assert again.code == 0
    assert again.json["process"] != up.json["process"]
    assert database_at(again.json["url"]) == "wh"
    stopped = invoke("server", "stop")
    assert (stopped.code, stopped.err) == (0, "")
    assert stopped.out == (
        f"embedded server 'shop' is stopped; its data stays in {again.json['data']}\n"
    )
    assert invoke("server", "stop").out == "embedded server 'shop' is not running\n"
    assert not EmbeddedServer(shop).running


def test_only_a_server_of_its_own_is_started(
    home: Path, data_directory: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that leads elsewhere is refused, and no password is shown; nothing is made."""
    monkeypatch.setenv("PGFLOW_DSN", "postgresql://me:hush@db.example.com/dw")
    for command in ("start", "stop", "status"):
        ran = invoke("server", command)
        assert (ran.code, ran.out) == (3, "")
        assert ran.err == (
            "pgflow: The connection 'default' of the environment variable PGFLOW_DSN leads to "
            "postgresql+psycopg://me:***@db.example.com/dw. pgflow starts and stops only servers "
            "of its own: give a connection whose dsn is embedded://NAME/DATABASE, or that URL "
            "itself.\n"
        )
        given = invoke("server", command, "postgresql://me:hush@h/d")
        assert (given.code, given.err[:25]) == (3, "pgflow: The given url lea")
        assert "hush" not in given.err
    assert invoke("server", "status", "nowhere").code == 3
    (home / "shops.py").write_text(REGISTERED.format(url="embedded://shop/wh"))
    try:
        words = ("server", "status", "shop", "--module", "shops.py", "--format", "json")
        registered = invoke(*words)
    finally:
        unregister("shop")
    assert (registered.code, registered.json["server"], registered.json["database"]) == (
        1,
        "shop",
        "wh",
    )
    monkeypatch.setenv("PGFLOW_PG_BIN", str(home))
    missing = invoke("server", "start", "embedded://shop")
    assert (missing.code, missing.out) == (3, "")
    assert "which does not hold postgres and initdb" in missing.err
    assert not list(data_directory.glob("*/server"))


def database_at(url: str) -> object:
    """The database that a URL leads to."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_database()").fetchone()
    return row and row[0]


def wait_until_down(name: str) -> None:
    """Wait until a server that was killed is gone, half a minute at most."""
    deadline = time.monotonic() + 30
    while EmbeddedServer(name).running:
        assert time.monotonic() < deadline
        time.sleep(0.01)
