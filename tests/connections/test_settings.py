"""Where a connection's name is looked up, in which order, and what is said when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgflow.connections.settings import (
    find_entry,
    known_names,
    project_settings,
    variable,
)
from pgflow.errors import MalformedDsn, MalformedSettings, UnknownConnection, UnsetVariable


def write(path: Path, text: str) -> Path:
    """Write a settings file, with its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def user_file(home: Path) -> Path:
    """The path of the user's own settings file."""
    return Path.home() / ".pgflow" / "connections.toml"


def test_each_place_wins_over_the_next(
    home: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name's own variable, PGFLOW_DSN, the project's file, the user's file: in this order."""
    write(user_file, '[connections.default]\ndsn = "postgresql://user-file"')
    assert find_entry("default").dsn == "postgresql://user-file"
    project = write(home / "pgflow.toml", '[connections.default]\ndsn = "postgresql://project"')
    assert find_entry("default").dsn == "postgresql://project"
    assert find_entry("default").origin == f"[connections.default] in {project}"
    monkeypatch.setenv("PGFLOW_DSN", "postgresql://plain")
    assert find_entry("default").dsn == "postgresql://plain"
    monkeypatch.setenv("PGFLOW_DSN_DEFAULT", "postgresql://own")
    assert find_entry("default").dsn == "postgresql://own"
    assert find_entry("default").origin == "the environment variable PGFLOW_DSN_DEFAULT"


def test_the_plain_variable_is_for_the_default_only(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGFLOW_DSN never answers for another name."""
    monkeypatch.setenv("PGFLOW_DSN", "postgresql://plain")
    with pytest.raises(UnknownConnection, match="No connection is called 'warehouse'"):
        find_entry("warehouse")


def test_the_nearest_parent_with_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's file is found from below, and the nearest one counts alone."""
    write(home / "pgflow.toml", '[connections.a]\ndsn = "postgresql://outer"')
    inner = write(home / "x" / "pgflow.toml", '[connections.b]\ndsn = "postgresql://inner"')
    (home / "x" / "y").mkdir()
    monkeypatch.chdir(home / "x" / "y")
    assert find_entry("b").dsn == "postgresql://inner"
    with pytest.raises(UnknownConnection):
        find_entry("a")
    found = project_settings()
    assert found is not None
    assert found.path == inner


def test_the_projects_other_settings(home: Path) -> None:
    """`project_settings()` hands out the whole file, and None where there is no file."""
    assert project_settings() is None
    write(home / "pgflow.toml", 'modules = ["warehouse.tables"]')
    found = project_settings()
    assert found is not None
    assert found.data["modules"] == ["warehouse.tables"]
    assert project_settings(home / "anywhere" / "below") == found


@pytest.mark.parametrize(
    "name, expected",
    [("warehouse", "PGFLOW_DSN_WAREHOUSE"), ("eu-west.2", "PGFLOW_DSN_EU_WEST_2")],
)
def test_the_variable_of_a_name(name: str, expected: str) -> None:
    """Names are put in capitals, and what a variable's name cannot have becomes `_`."""
    assert variable(name) == expected


def test_a_name_with_other_characters(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with blanks or dots works in a file, quoted as TOML wants it, and as a variable."""
    write(home / "pgflow.toml", '[connections."eu west.2"]\ndsn = "postgresql://file"')
    assert find_entry("eu west.2").dsn == "postgresql://file"
    monkeypatch.setenv("PGFLOW_DSN_EU_WEST_2", "postgresql://variable")
    assert find_entry("eu west.2").dsn == "postgresql://variable"


def test_variables_inside_values(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${VAR}` is replaced once; `$${VAR}` and every other `$` stay what they are."""
    monkeypatch.setenv("WORD", "a$b${HOME}")
    write(
        home / "pgflow.toml",
        '[connections.x]\ndsn = "postgresql://${WORD}:$${WORD}@h/$HOME$$"\npassword = "${WORD}"',
    )
    entry = find_entry("x")
    assert entry.dsn == "postgresql://a$b${HOME}:${WORD}@h/$HOME$$"
    assert entry.password == "a$b${HOME}"


def test_an_unset_variable_hurts_its_own_entry_only(home: Path) -> None:
    """Other entries of the file go on working; the error names variable, entry and file."""
    path = write(
        home / "pgflow.toml",
        '[connections.bad]\ndsn = "${NOT_SET}"\n[connections.good]\ndsn = "postgresql://h"',
    )
    assert find_entry("good").dsn == "postgresql://h"
    assert set(known_names()) == {"bad", "good"}
    with pytest.raises(UnsetVariable) as error:
        find_entry("bad")
    assert str(error.value).startswith(
        f"[connections.bad] dsn in {path} uses ${{NOT_SET}}, but the environment variable "
        "'NOT_SET' is not set. Set it"
    )
    assert error.value.variable == "NOT_SET"
    assert error.value.entry == "[connections.bad] dsn"
    assert error.value.path == str(path)


def test_an_unknown_name_lists_the_places(home: Path, user_file: Path) -> None:
    """The error lists where it looked, the nearest name with its place, and what to do."""
    path = write(home / "pgflow.toml", '[connections.warehouse]\ndsn = "postgresql://h"')
    with pytest.raises(UnknownConnection) as error:
        find_entry("warehose")
    assert str(error.value) == (
        "No connection is called 'warehose'. Looked at: the environment variable "
        f"PGFLOW_DSN_WAREHOSE; {path}; {user_file} (no such file). Did you mean 'warehouse' "
        f"([connections.warehouse] in {path})? Set PGFLOW_DSN_WAREHOSE, or add "
        "[connections.warehose] with a dsn to one of the files. A connection of register() is "
        "known once the module that calls it is imported."
    )
    assert error.value.name == "warehose"
    assert error.value.nearest == "warehouse"
    assert len(error.value.places) == 3


def test_nothing_is_configured(home: Path) -> None:
    """Without any setting, the default is unknown too: there is no hidden database."""
    with pytest.raises(UnknownConnection) as error:
        find_entry("default")
    assert error.value.nearest is None
    assert "PGFLOW_DSN;" in str(error.value)
    assert f"pgflow.toml in {home} and above (none found)" in str(error.value)


@pytest.mark.parametrize("name", ["PGFLOW_DSN", "PGFLOW_DSN_DEFAULT"])
def test_an_empty_variable_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A secret that came out empty is an error; no other place takes over silently."""
    write(home / "pgflow.toml", '[connections.default]\ndsn = "postgresql://h"')
    monkeypatch.setenv(name, " ")
    with pytest.raises(MalformedDsn, match=f"the environment variable {name}, which is set, but"):
        find_entry("default")


def test_broken_toml_names_file_and_line(home: Path) -> None:
    """A syntax error names the file, the line and the column."""
    path = write(home / "pgflow.toml", "[connections.x]\ndsn = postgresql://h\n")
    with pytest.raises(MalformedSettings, match=r"at line 2, column 7") as error:
        find_entry("x")
    assert str(error.value).startswith(f"{path} is not valid TOML: ")
    assert error.value.path == str(path)


def test_a_file_that_is_no_text(home: Path, user_file: Path) -> None:
    """Bytes that are no UTF-8, and a directory in the file's place, are errors that name it."""
    (home / "pgflow.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(MalformedSettings, match=r"pgflow\.toml is not valid TOML: not UTF-8"):
        find_entry("x")
    (home / "pgflow.toml").unlink()
    user_file.mkdir(parents=True)
    with pytest.raises(MalformedSettings, match=r"connections\.toml cannot be read: Is a dir"):
        find_entry("x")


def test_a_broken_file_that_is_not_needed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that a variable answers does not read the files."""
    write(home / "pgflow.toml", "=")
    monkeypatch.setenv("PGFLOW_DSN_X", "postgresql://h")
    assert find_entry("x").dsn == "postgresql://h"


@pytest.mark.parametrize(
    "text, problem",
    [
        ("connections = 1", "'connections' is not a table"),
        ('[connections]\nx = "postgresql://h"', "[connections.x] has no text 'dsn'"),
        ("[connections.x]\ndsn = 1", "[connections.x] has no text 'dsn'"),
        ('[connections.x]\nurl = "postgresql://h"', "[connections.x] has no text 'dsn'"),
        ('[connections.x]\ndsn = "y"\nport = 1', "[connections.x] has the unknown key 'port'"),
        ('[connections.x]\ndsn = "y"\npassword = 1', "[connections.x] has a 'password' without"),
    ],
)
def test_an_entry_of_the_wrong_shape(home: Path, text: str, problem: str) -> None:
    """A misspelt or ill-typed entry is refused by name, and shown how to be written."""
    write(home / "pgflow.toml", text)
    with pytest.raises(MalformedSettings) as error:
        find_entry("x")
    assert problem in str(error.value)
    assert 'dsn = "postgresql://user@host/database"' in str(error.value)


def test_all_known_names(home: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every configured name is listed with the place that decides it."""
    write(user_file, '[connections.a-b]\ndsn = "x://"\n[connections.mine]\ndsn = "x://"')
    path = write(home / "pgflow.toml", '[connections.mine]\ndsn = "x://"')
    monkeypatch.setenv("PGFLOW_DSN_A_B", "x://")
    monkeypatch.setenv("PGFLOW_DSN_LAKE", "x://")
    monkeypatch.setenv("PGFLOW_DSN", "x://")
    assert known_names() == {
        "a-b": "the environment variable PGFLOW_DSN_A_B",
        "default": "the environment variable PGFLOW_DSN",
        "lake": "the environment variable PGFLOW_DSN_LAKE",
        "mine": f"[connections.mine] in {path}",
    }
    monkeypatch.setenv("PGFLOW_DSN_DEFAULT", "x://")
    assert known_names()["default"] == "the environment variable PGFLOW_DSN_DEFAULT"


def test_no_representation_shows_a_value(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read can be printed without showing a connection string."""
    write(home / "pgflow.toml", '[connections.x]\ndsn = "postgresql://u:hush@h"\npassword = "hush"')
    assert "hush" not in repr(find_entry("x"))
    assert "hush" not in repr(project_settings())
