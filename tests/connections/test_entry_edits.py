"""Entries written into and taken out of settings files, and nothing else touched."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow.connections import whole_file
from pgflow.connections.entry_edits import remove_entry, set_entry
from pgflow.connections.settings import read_settings, user_path
from pgflow.errors import MalformedSettings, UnwritableSettings

#: Files of every form in which connections can stand; each says a, b, or both.
LAYOUTS = {
    "empty": "",
    "tables": '[connections.a]\ndsn = "service=a" # why\npassword = "p"\n\n# the sales team\n'
    '[connections.b]\ndsn = "service=b"\n',
    "inline": 'connections = { a = { dsn = "service=a" }, b = { dsn = "service=b" } } # all\n',
    "dotted": 'modules = ["m"] # ours\nconnections.a.dsn = "service=a"\n'
    'connections.b.dsn = "service=b" # b\n',
    "one table": '# top\n\n[connections]\na = { dsn = "service=a" } # a\nb.dsn = "service=b"\n\n'
    "[other]\nx = 1\n",
    "scattered": '[connections.a]\ndsn = "service=a"\n[[other]]\nx = """\n[connections.a]\n"""\n'
    '[[other]]\nx = [\n[1], # one\n[2]]\n[connections.b]\ndsn = "service=b"\n',
    "no end": '[connections.a]\ndsn = "service=a"\n[connections.b]\ndsn = "service=b"',
    "windows": '# top\r\n[connections.a]\r\ndsn = "service=a"\r\n\r\n# b is\r\n[connections.b]\r\n'
    'dsn = "service=b"\r\n',
    "quoted": '["connections".a]\n"dsn" = "service=a"\n\n[connections."b"]\ndsn = \'service=b\'\n',
}
DSN = 'postgresql://me:"p@${PW}"@[::1]/é'


def comments(text: str) -> set[str]:
    """What stands behind a `#`."""
    return {line.partition("#")[2].strip() for line in text.splitlines() if "#" in line}


@pytest.mark.parametrize("name", ["a", "b", "new", "eu west", 'q"\\.'])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_entry_is_set_and_nothing_else(tmp_path: Path, layout: str, name: str) -> None:
    """The file then says the new string, every other entry and key as before, and each comment."""
    path = tmp_path / "c.toml"
    path.write_bytes(LAYOUTS[layout].encode())
    before = tomllib.loads(LAYOUTS[layout])
    edit = set_entry(path, name, DSN)
    text = path.read_bytes().decode()
    known = before.get("connections", {})
    assert edit.existed == (name in known)
    assert edit.lost_password == ("password" in known.get(name, {}))
    assert tomllib.loads(text) == {**before, "connections": {**known, name: {"dsn": DSN}}}
    assert comments(LAYOUTS[layout]) <= comments(text)
    assert ("\r\n" in text) == (layout == "windows")
    assert text.count("\n") == text.count("\r\n") or layout != "windows"


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "empty"])
def test_an_entry_is_removed_and_nothing_else(tmp_path: Path, layout: str, name: str) -> None:
    """Its lines go; comments above what follows stay, and so does everything else."""
    path = tmp_path / "c.toml"
    path.write_bytes(LAYOUTS[layout].encode())
    before = tomllib.loads(LAYOUTS[layout])
    assert remove_entry(path, name).existed
    text = path.read_bytes().decode()
    left = {k: v for k, v in before["connections"].items() if k != name}
    assert tomllib.loads(text) == {**before, "connections": left}
    if layout in ("tables", "windows") and name == "a":
        assert comments(text) == comments(LAYOUTS[layout]) - {"why"}
    assert not remove_entry(path, name).existed
    assert path.read_bytes().decode() == text


def test_the_rest_stays_byte_for_byte(tmp_path: Path) -> None:
    """Blanks, order and quotes of the other entries are the user's."""
    path = tmp_path / "c.toml"
    odd = "[connections.b]\n   dsn   =   'service=b'   #   odd\n\n\n[ other ]\n\"x\"=1"
    path.write_text(odd)
    set_entry(path, "a", "service=a")
    assert path.read_text() == odd + '\n\n[connections.a]\ndsn = "service=a"\n'
    set_entry(path, "a", "service=A")
    assert path.read_text() == odd + '\n\n[connections.a]\ndsn = "service=A"\n'
    remove_entry(path, "a")
    assert path.read_text() == odd + "\n\n"


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), max_size=4))
def test_any_name_and_any_string_can_be_written(entries: dict[str, str]) -> None:
    """What is written is read back, whatever characters it has; removed, all is as it began."""
    path = Path(tempfile.gettempdir()) / f"pgflow-{os.getpid()}.toml"
    path.write_text("# first\n[other]\nx = 1\n")
    try:
        for name, dsn in entries.items():
            set_entry(path, name, dsn)
        found = read_settings(path)
        assert found is not None
        assert found.connections() == {name: {"dsn": dsn} for name, dsn in entries.items()}
        for name in entries:
            assert remove_entry(path, name).existed
        assert path.read_text().rstrip() == "# first\n[other]\nx = 1"
    finally:
        path.unlink()


def test_a_new_file_and_an_open_one_become_private(home: Path) -> None:
    """The user's file is 0600, its directory 0700, whatever the umask and the old mode are."""
    before = os.umask(0)
    try:
        set_entry(user_path(), "a", "service=a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(user_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(user_path().parent.stat().st_mode) == 0o700
    user_path().chmod(0o644)
    set_entry(user_path(), "b", "service=b")
    assert stat.S_IMODE(user_path().stat().st_mode) == 0o600
    assert [each.name for each in user_path().parent.iterdir()] == ["connections.toml"]


def test_a_shared_file_keeps_its_mode(tmp_path: Path) -> None:
    """The project's file is for its other readers too."""
    path = tmp_path / "pgflow.toml"
    set_entry(path, "a", "service=a", private=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o664)
    set_entry(path, "b", "service=b", private=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Settings kept elsewhere are written there; a link in a circle is refused."""
    there = tmp_path / "dotfiles"
    there.mkdir()
    link = tmp_path / "c.toml"
    link.symlink_to(there / "real.toml")
    set_entry(link, "a", "service=a")
    assert link.is_symlink()
    assert (there / "real.toml").read_text() == '[connections.a]\ndsn = "service=a"\n'
    link.unlink()
    link.symlink_to(link)
    with pytest.raises((UnwritableSettings, MalformedSettings), match="cannot be"):
        set_entry(link, "a", "service=a")


@pytest.mark.parametrize("text", ['[connections.a\ndsn = "hush"\n', 'a = "hush\n', "\xff"])
def test_a_broken_file_is_left_alone(tmp_path: Path, text: str) -> None:
    """What cannot be read is not written over; the error names file and line, and no value."""
    path = tmp_path / "c.toml"
    path.write_bytes(text.encode("latin-1"))
    for change in (lambda: set_entry(path, "b", "service=b"), lambda: remove_entry(path, "a")):
        with pytest.raises(MalformedSettings, match=r"(line 1|not UTF-8)") as error:
            change()
        assert str(path) in str(error.value)
        assert "hush" not in str(error.value)
    assert path.read_bytes() == text.encode("latin-1")


def test_what_is_no_file_of_ones_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory in its place, and a file of another account, are left alone."""
    (tmp_path / "d").mkdir()
    with pytest.raises((UnwritableSettings, MalformedSettings), match="cannot be"):
        set_entry(tmp_path / "d", "a", "service=a")
    path = tmp_path / "c.toml"
    path.write_text("")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UnwritableSettings, match="it belongs to another account"):
        set_entry(path, "a", "service=a")
    assert path.read_text() == ""
    with pytest.raises(UnwritableSettings, match="No such file or directory"):
        set_entry(tmp_path / "no" / "such" / "c.toml", "a", "service=a")


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the change, not the file; nothing is left beside it."""
    path = tmp_path / "c.toml"
    set_entry(path, "a", "service=a")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(UnwritableSettings, match="No space left on device"):
        set_entry(path, "b", "service=b")
    assert path.read_text() == '[connections.a]\ndsn = "service=a"\n'
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_loses_an_entry_to_another(tmp_path: Path) -> None:
    """Changes at the same moment come one after the other."""
    path = tmp_path / "c.toml"
    names = [f"n{i}" for i in range(16)]
    threads = [threading.Thread(target=set_entry, args=(path, n, "service=x")) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tomllib.loads(path.read_text())["connections"]) == sorted(names)
