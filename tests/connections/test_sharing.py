"""Several processes and one embedded server: who starts it, who stops it, who outlives whom."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgflow.connections.embedded import EmbeddedServer
from pgflow.connections.process import at_work_in, command_line

Hold = Callable[..., Any]


def test_two_processes_at_once_share_one_server(hold: Hold) -> None:
    """Two processes that start on an empty directory at the same time get the same server."""
    first, second = hold("shared"), hold("shared")
    assert first.server_pid() == second.server_pid()
    first.finish()
    assert EmbeddedServer("shared").running
    second.finish()
    assert not EmbeddedServer("shared").running


def test_threads_share_one_server(data_directory: Path) -> None:
    """Threads of one process that ask at the same time start one server."""
    urls: list[str] = []
    threads = [
        threading.Thread(target=lambda: urls.append(str(EmbeddedServer("threads").url("x"))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 4
    assert len(set(urls)) == 1
    EmbeddedServer("threads").release()
    assert not EmbeddedServer("threads").running


def test_a_server_leaked_by_a_kill_is_taken_over(hold: Hold) -> None:
    """After kill -9 of its only user, the next process uses the server, and stops it at exit."""
    killed = hold("leaked")
    pid = killed.server_pid()
    killed.kill()
    assert EmbeddedServer("leaked").running
    heir = hold("leaked")
    assert heir.server_pid() == pid
    heir.finish()
    assert not EmbeddedServer("leaked").running


def test_a_killed_server_starts_again(hold: Hold, data_directory: Path) -> None:
    """A server that was killed itself leaves a stale pid file, which is no obstacle."""
    holder = hold("stale")
    os.kill(holder.server_pid(), signal.SIGKILL)
    holder.finish()
    assert (data_directory / "stale" / "server" / "data" / "postmaster.pid").exists()
    again = hold("stale")
    assert again.server_pid() > 0
    again.finish()


def test_a_stale_pid_that_another_process_has_now(hold: Hold, data_directory: Path) -> None:
    """A pid file whose number belongs to an unrelated process of the same account is stale."""
    hold("reused").finish()
    place = data_directory / "reused" / "server"
    owner = place.stat()
    user = owner.st_uid if os.geteuid() == 0 else None
    bystander = subprocess.Popen(["/bin/sleep", "600"], user=user)
    try:
        lines = [bystander.pid, place / "data", 1, 5432, place / "run", "", "", ""]
        (place / "data" / "postmaster.pid").write_text("\n".join(map(str, lines)))
        assert not EmbeddedServer("reused").running
        again = hold("reused")
        assert again.server_pid() != bystander.pid
        again.finish()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_kept_server_outlives_its_users(hold: Hold) -> None:
    """A server that was started to be kept goes on after its users, until it is stopped."""
    keeper = hold("kept", "keep")
    pid = keeper.server_pid()
    keeper.finish()
    guest = hold("kept")
    assert guest.server_pid() == pid
    guest.finish()
    server = EmbeddedServer("kept")
    assert server.running
    server.stop()
    assert not server.running
    hold("kept").finish()
    assert not server.running


def test_stop_ends_a_server_that_others_use(hold: Hold) -> None:
    """Stopping ends the server for everybody; a process that still used it ends without error."""
    holder = hold("stopped")
    holder.server_pid()
    EmbeddedServer("stopped").stop()
    assert not EmbeddedServer("stopped").running
    holder.finish()


def test_a_user_of_a_stopped_server_holds_the_next_one(hold: Hold) -> None:
    """A process stays a user of its server although somebody stopped and started it meanwhile."""
    first = hold("restarted")
    first.server_pid()
    EmbeddedServer("restarted").stop()
    second = hold("restarted")
    second.server_pid()
    second.finish()
    assert EmbeddedServer("restarted").running
    first.finish()
    assert not EmbeddedServer("restarted").running


def test_stopping_what_never_was(data_directory: Path) -> None:
    """Stopping or releasing a server that does not exist does nothing, and creates nothing."""
    EmbeddedServer("never").stop()
    EmbeddedServer("never").release()
    assert not list(data_directory.iterdir())


def test_a_fork_does_not_stop_its_parents_server(hold: Hold) -> None:
    """A forked child that ends normally leaves the server to its parent."""
    parent = hold("forked", "fork")
    assert parent.server_pid() > 0
    assert EmbeddedServer("forked").running
    parent.finish()
    assert not EmbeddedServer("forked").running


@pytest.mark.parametrize("content", ["", "{", '{"processes": 7, "kept": null}'])
def test_a_torn_list_of_holders(hold: Hold, data_directory: Path, content: str) -> None:
    """A list of holders that a crash cut off counts as empty, and is written anew."""
    hold("torn").finish()
    path = data_directory / "torn" / "holders.json"
    path.write_text(content)
    holder = hold("torn")
    holder.server_pid()
    assert [pid for pid, _ in json.loads(path.read_text())["processes"]] == [holder.pid]
    holder.finish()
    assert not EmbeddedServer("torn").running


def test_a_later_process_with_a_dead_holders_number(hold: Hold, data_directory: Path) -> None:
    """A holder is dead when its number belongs to a process that started at another time."""
    holder = hold("renumbered")
    holder.server_pid()
    path = data_directory / "renumbered" / "holders.json"
    found = json.loads(path.read_text())
    found["processes"].append([os.getpid(), "1"])
    path.write_text(json.dumps(found))
    holder.finish()
    assert not EmbeddedServer("renumbered").running


def test_a_server_whose_main_process_was_killed_while_it_was_busy(
    hold: Hold, data_directory: Path
) -> None:
    """A process of the dead server that is busy for hours is ended by the next start."""
    holder = hold("orphaned")
    server = holder.server_pid()
    url = EmbeddedServer("orphaned").url()
    busy = psycopg.connect(
        host=str(url.query["host"]), port=str(url.query["port"]), user=url.username
    )
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000000)")
    orphan = busy.info.backend_pid
    wait_for(lambda: started_work(orphan))
    os.kill(server, signal.SIGKILL)
    wait_for(lambda: not EmbeddedServer("orphaned").running)
    assert command_line(orphan)
    heir = hold("orphaned")
    assert heir.server_pid() != server
    assert not command_line(orphan)
    busy.close()
    heir.finish()
    holder.finish()


def test_many_users_die_while_they_start(hold: Hold, data_directory: Path) -> None:
    """Whenever processes are killed, also while they create or start the server, the next works."""
    chance = random.Random(7)
    for _ in range(4):
        crowd = [hold("crowd") for _ in range(4)]
        time.sleep(chance.uniform(0.05, 1.5))
        for each in crowd:
            each.kill()
    heirs = [hold("crowd") for _ in range(3)]
    assert len({each.server_pid() for each in heirs}) == 1
    path = data_directory / "crowd" / "holders.json"
    living = {pid for pid, _ in json.loads(path.read_text())["processes"]}
    assert living == {each.pid for each in heirs}
    for each in heirs:
        each.finish()
    assert not EmbeddedServer("crowd").running
    assert not list(at_work_in(data_directory / "crowd" / "server" / "data"))


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds, half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started_work(pid: int) -> bool:
    """Whether a server's process says that it is busy with a statement."""
    return "SELECT" in command_line(pid)
