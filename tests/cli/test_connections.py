"""`pgflow connections set` and `remove`, and what `list` and `check` then say."""

from __future__ import annotations

import io
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from pgflow.cli import connection_entries
from pgflow.connections.settings import find_entry, user_path

if TYPE_CHECKING:
    from conftest import Invoke, Place, Ran

URL = "postgresql://me:hush@db.example.com/warehouse"


def test_a_connection_is_set_replaced_and_removed(home: Path, invoke: Invoke) -> None:
    """Each command says what it wrote where; no password is ever shown."""
    ran = invoke("connections", "set", f"wh={URL}")
    shown = "postgresql+psycopg://me:***@db.example.com/warehouse"
    assert (ran.code, ran.out) == (0, f"set [connections.wh] in {user_path()}: {shown}\n")
    assert find_entry("wh").dsn == URL
    assert stat.S_IMODE(user_path().stat().st_mode) == 0o600
    again = invoke("connections", "set", "wh=service=wh")
    assert again.out.startswith(f"replaced [connections.wh] in {user_path()}: ")
    gone = invoke("connections", "remove", "wh")
    assert (gone.code, gone.out, gone.err) == (
        0,
        f"removed [connections.wh] in {user_path()}\n",
        "",
    )
    for each in (ran, again, gone):
        assert "hush" not in each.out + each.err


def test_a_password_on_the_command_line_is_warned_of(home: Path, invoke: Invoke) -> None:
    """It stands in the shell's history then; variables and a URL that is asked for do not."""
    assert "the shell's history keeps it" in invoke("connections", "set", f"wh={URL}").err
    for dsn in (
        "postgresql://me@h/d",
        "postgresql://me:${PW}@h/d",
        "${DSN}",
        "password=${P} host=h",
    ):
        ran = invoke("connections", "set", f"wh={dsn}")
        assert (ran.code, ran.err) == (0, "")
        assert f'dsn = "{dsn}"' in user_path().read_text()


def test_a_url_is_read_from_standard_input(
    home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NAME=- keeps the URL out of the list of processes; on a terminal it is typed unseen."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{URL}\n"))
    ran = invoke("connections", "set", "wh=-")
    assert (ran.code, ran.err) == (0, "")
    assert find_entry("wh").dsn == URL
    asked: list[str] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(
        connection_entries.getpass, "getpass", lambda prompt: asked.append(prompt) or "service=x"
    )
    assert invoke("connections", "set", "wh=-").code == 0
    assert asked == ["URL of wh: "]
    assert find_entry("wh").dsn == "service=x"
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    empty = invoke("connections", "set", "wh=-")
    assert (empty.code, "standard input has no URL" in empty.err) == (2, True)


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ("wh", 2, "write NAME=URL"),
        (URL, 2, "write NAME=URL"),
        (f"{URL}?sslmode=require", 2, "is no connection's name"),
        ("=x", 2, "is no connection's name"),
        (" wh =service=x", 2, "is no connection's name"),
        ("wh=", 2, "write NAME=URL"),
        ("wh=hush", 3, "is neither a URL nor key=value words"),
        ("wh=postgresql://u:hu@sh@h/d", 3, "has more than one '@'"),
        ("wh=postgresql://u:hush@h:port/d", 3, "has a port that is not a number"),
    ],
)
def test_what_cannot_be_read_is_refused_unseen(
    home: Path, invoke: Invoke, given: str, code: int, told: str
) -> None:
    """Nothing is written, and the message repeats nothing that could be a password."""
    ran = invoke("connections", "set", given)
    assert ran.code == code
    assert told in " ".join(ran.err.split())
    assert "hush" not in ran.err + ran.out
    assert "hu@sh" not in ran.err + ran.out
    assert not user_path().exists()


def test_the_projects_file_takes_no_password(home: Path, invoke: Invoke) -> None:
    """--project writes pgflow.toml, which others read: a password there is refused."""
    (home / "pgflow.toml").write_text('# ours\nmodules = ["m"]\n')
    (home / "below").mkdir()
    refused = invoke("connections", "set", f"wh={URL}", "--project")
    assert refused.code == 2
    assert "has a password. Write ${VARIABLE} in its place" in " ".join(refused.err.split())
    assert invoke("connections", "set", "wh=postgresql://me:${PW}@h/d", "--project").code == 0
    assert (home / "pgflow.toml").read_text() == (
        '# ours\nmodules = ["m"]\n\n[connections.wh]\ndsn = "postgresql://me:${PW}@h/d"\n'
    )
    assert invoke("connections", "remove", "wh", "--project").code == 0
    assert not user_path().exists()


def test_who_wins_is_said(home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable or the project's file decides before the user's file, and list shows all of it."""
    (home / "pgflow.toml").write_text('[connections.wh]\ndsn = "service=project"\n')
    project = f"[connections.wh] in {home / 'pgflow.toml'}"
    mine = f"[connections.wh] in {user_path()}"
    assert invoke("connections", "set", "wh=service=user").err == f"{project} wins over it\n"
    monkeypatch.setenv("PGFLOW_DSN_WH", "service=variable")
    ran = invoke("connections", "set", "wh=service=user")
    assert ran.err == "the environment variable PGFLOW_DSN_WH wins over it\n"
    (found,) = invoke("connections", "list", "--format", "json").json
    assert found["place"] == "the environment variable PGFLOW_DSN_WH"
    assert found["instead_of"] == [project, mine]
    assert f"{project}; {mine}" in invoke("connections", "list").out
    ran = invoke("connections", "remove", "wh")
    assert ran.err == "'wh' is now what the environment variable PGFLOW_DSN_WH says\n"


def test_what_is_not_there_cannot_be_removed(
    home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the file, the nearest entry, and who has the name instead."""
    invoke("connections", "set", "warehouse=service=x")
    ran = invoke("connections", "remove", "warehose")
    assert (ran.code, ran.out) == (3, "")
    assert "has no connection 'warehose'. Did you mean 'warehouse'? It has: warehouse." in ran.err
    monkeypatch.setenv("PGFLOW_DSN_CRM", "service=x")
    ran = invoke("connections", "remove", "crm")
    assert "'crm' is what the environment variable PGFLOW_DSN_CRM says: change it there" in ran.err


def test_a_broken_file_is_named_with_its_line(home: Path, invoke: Invoke) -> None:
    """Nothing is written over what cannot be read."""
    (home / "pgflow.toml").write_text('[connections.wh]\ndsn = "hush\n')
    for words in (("set", "wh=service=x", "--project"), ("remove", "wh", "--project"), ("list",)):
        ran = invoke("connections", *words)
        assert ran.code == 3
        assert "is not valid TOML" in ran.err
        assert "line 2" in ran.err
        assert "hush" not in ran.err
    assert (home / "pgflow.toml").read_text() == '[connections.wh]\ndsn = "hush\n'


def test_what_was_set_is_used(place: Place, invoke: Invoke) -> None:
    """A pipeline's connection is found where it was written; a misspelt one is suggested."""
    invoke("connections", "set", f"elsewhere={place.database}")
    ran = invoke("connections", "check", "elsewhere")
    assert (ran.code, ran.rows[1][:2]) == (0, ["elsewhere", "success"])
    ran = invoke("connections", "check", "elsewere")
    assert ran.code == 3
    assert "Did you mean 'elsewhere'" in ran.err


def test_check_says_where_a_connection_really_leads(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a service file of libpq says is shown once the server has answered."""
    url = make_url(place.database)
    (place.directory / "services").write_text(
        f"[wh]\nhost={url.query['host']}\nport={url.query['port']}\n"
        f"dbname={url.database}\nuser={url.username}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(place.directory / "services"))
    invoke("connections", "set", "wh=service=wh")
    (found,) = invoke("connections", "check", "wh", "--format", "json").json
    assert found["where"].startswith(f"postgresql database {url.database!r} at {url.query['host']}")
    assert found["where"].endswith(f" as {url.username}")


def test_a_traceback_shows_no_password_either(home: Path, execute: Callable[..., Ran]) -> None:
    """With --debug the error comes with its traceback, and still repeats nothing."""
    ran = execute("connections", "set", "wh=postgresql://u:hu@sh@h/d", "--debug")
    assert ran.code == 3
    assert "Traceback" in ran.err
    assert "hu@sh" not in ran.err + ran.out


def test_no_command_repeats_a_url_or_a_line_of_code_with_a_password(
    ready: Place, invoke: Invoke
) -> None:
    """Neither what was typed where a name belongs, nor the line of code that failed, is quoted."""
    unreachable = "postgresql://me:hush@127.0.0.1:1/x"
    ready.write(
        f"""
def own(conn):
    raise ValueError("cannot", {unreachable!r})[0]

broken = pgflow.Pipeline("broken", target=raw, mode="merge", body=own)
"""
    )
    misspelt = unreachable.replace("://", "//")
    codes = {}
    for words in (
        ("connections", "check", unreachable),
        ("connections", "check", misspelt, "--format", "json"),
        ("connections", "remove", unreachable),
        ("history", "--connection", misspelt),
        ("history", "--connection", unreachable),
        ("sync", "broken"),
        ("sync", "broken", "--debug"),
    ):
        ran = invoke(*words)
        assert "hush" not in ran.out + ran.err, words
        codes[words] = ran.code
    assert list(codes.values()) == [3, 3, 2, 3, 3, 1, 1]
    assert "postgresql://me:***@127.0.0.1:1/x" in ran.err
