"""Connection strings of every spelling lead to psycopg 3, and none of them is ever repeated."""

from __future__ import annotations

import traceback

import pytest
from sqlalchemy import URL, create_engine, make_url

from pgflow.connections.dsn import is_dsn, read_dsn
from pgflow.connections.registry import engine
from pgflow.connections.secrets import conceal
from pgflow.errors import MalformedDsn


def arguments(dsn: str | URL) -> dict[str, object]:
    """What the driver is called with."""
    target = read_dsn(dsn)
    assert target.is_postgres
    _, found = create_engine(target.url).dialect.create_connect_args(target.url)
    return {key: found[key] for key in found if key != "context"} | dict(target.secrets)


FULL = {"user": "u", "password": "p@s/s%", "host": "h", "port": 5433, "dbname": "d b"}


@pytest.mark.parametrize(
    "dsn, expected",
    [
        ("postgres://u:p%40s%2Fs%25@h:5433/d%20b", FULL),
        ("postgresql://u:p%40s%2Fs%25@h:5433/d%20b", FULL),
        ("postgresql+psycopg://u:p%40s%2Fs%25@h:5433/d%20b", FULL),
        ("postgresql+psycopg2://u:p%40s%2Fs%25@h:5433/d%20b", FULL),
        ("postgresql+asyncpg://u:p%40s%2Fs%25@h:5433/d%20b", FULL),
        (make_url("postgresql+psycopg2://u:p%40s%2Fs%25@h:5433").set(database="d b"), FULL),
        ("user=u password='p@s/s%' host=h port=5433 dbname='d b'", FULL | {"port": "5433"}),
        ("  postgresql://h/x\n", {"host": "h", "dbname": "x"}),
        ("postgresql://", {}),
        ("postgresql:///x", {"dbname": "x"}),
        (
            "postgresql://u:a/b#c?d@h/x",
            {"user": "u", "password": "a/b#c?d", "host": "h", "dbname": "x"},
        ),
        ("postgresql://[::1]:5433/x", {"host": "::1", "port": 5433, "dbname": "x"}),
        ("postgresql://h/x?sslmode=require", {"host": "h", "dbname": "x", "sslmode": "require"}),
        ("postgresql:///x?host=/tmp", {"host": "/tmp", "dbname": "x"}),
        (
            "postgresql://u@%2Ftmp:5433/x",
            {"host": "/tmp", "user": "u", "port": "5433", "dbname": "x"},
        ),
        ("host=/tmp dbname=x", {"host": "/tmp", "dbname": "x"}),
        ("service=warehouse", {"service": "warehouse"}),
        ("postgresql:///?service=warehouse", {"service": "warehouse"}),
        ("dbname=x options='-c a=b'", {"dbname": "x", "options": "-c a=b"}),
        (
            "postgresql://u:p@a:1,b:2/x?target_session_attrs=read-write",
            {"user": "u", "password": "p", "host": "a,b", "port": "1,2", "dbname": "x"}
            | {"target_session_attrs": "read-write"},
        ),
        ("postgresql://a,b/x", {"host": "a,b", "port": ",", "dbname": "x"}),
        ("postgresql://u:1,2@h/x", {"user": "u", "password": "1,2", "host": "h", "dbname": "x"}),
        ("postgresql:///x?host=a:1&host=b:2", {"host": "a,b", "port": "1,2", "dbname": "x"}),
        ("host=a,b port=1,2", {"host": "a,b", "port": "1,2"}),
        (
            "postgresql://h/x?user=u&password=p",
            {"host": "h", "dbname": "x", "user": "u", "password": "p"},
        ),
        ("postgresql://h/x?sslpassword=p", {"host": "h", "dbname": "x", "sslpassword": "p"}),
        ("password=a://b host=h", {"password": "a://b", "host": "h"}),
    ],
)
def test_spellings(dsn: str | URL, expected: dict[str, object]) -> None:
    """The driver gets the same arguments, however the database was written."""
    assert arguments(dsn) == expected


@pytest.mark.parametrize(
    "dsn", ["sqlite:///x.db", "mysql+pymysql://u:p@h/x?charset=utf8", "duckdb://"]
)
def test_other_databases_pass_through(dsn: str) -> None:
    """URLs of other databases are what SQLAlchemy makes of them."""
    target = read_dsn(dsn)
    assert target.url == make_url(dsn)
    assert not target.is_postgres


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hush@x@h/d",
        "postgresql://u:x@hush:hush@h/d",
        "postgresql://u:hush@h:hush/d",
        "postgresql://u:hu sh@a,b/d",
        "postgresql://u:%zzhush@a,b/d",
        "postgresql://u:hush@@a,b/d",
        "host=h password='hush",
        "host=h hush",
        "host=h hush=1",
        "host=h password=hush@x hush",
        "mysql://u:hush@h:hush/d",
        "hush",
        "://hush",
        "postgresql:/hush",
        "",
    ],
)
def test_a_malformed_string_is_never_repeated(dsn: str) -> None:
    """No part of a connection string that cannot be read is in the error, or in its causes."""
    with pytest.raises(MalformedDsn) as error:
        read_dsn(dsn, "[connections.x] in pgflow.toml")
    assert "hush" not in "".join(traceback.format_exception(error.value, chain=True))
    assert error.value.__context__ is None
    assert str(error.value).startswith("The connection string from [connections.x] in pgflow.toml ")
    assert "with '@' in a password as %40" in str(error.value)
    assert error.value.origin == "[connections.x] in pgflow.toml"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hush@h/d",
        "postgresql://h/d?password=hush",
        "postgresql://h/d?sslpassword=hush&oauth_client_secret=hush",
        "host=h password=hush sslpassword=hush",
        "postgresql://u:hush@a:1,b:2/d",
    ],
)
def test_no_representation_shows_a_password(dsn: str) -> None:
    """A password is in no representation of what was read, nor of an engine on it."""
    target = read_dsn(dsn)
    shown = f"{target!r} {target} {target.url!r} {target.url} {create_engine(target.url)!r}"
    assert "hush" not in shown


@pytest.mark.parametrize(
    "text, expected",
    [
        ("warehouse", False),
        ("eu-west.2", False),
        ("me@work", False),
        ("host=h", True),
        ("postgres://h", True),
        ("postgres//me:hush@h/d", True),
        ("me:hush@h/d", True),
        ("Host=h Password = hush", True),
    ],
)
def test_names_and_strings(text: str, expected: bool) -> None:
    """A connection string has `://`, begins with `key=`, or may hold a password, unlike a name."""
    assert is_dsn(text) is expected


@pytest.mark.parametrize("text", ["postgres//me:hush@h/d", "me:hush@h/d", "Host=h Password = hush"])
def test_a_misspelt_string_is_not_repeated_as_a_name(text: str) -> None:
    """What may hold a password is refused as a connection string, and not called a name."""
    with pytest.raises(MalformedDsn) as error:
        engine(text)
    assert "hush" not in "".join(traceback.format_exception(error.value, chain=True))


@pytest.mark.parametrize(
    "code, shown",
    [
        ('connect("postgresql://u:hush@h:1/d")', 'connect("postgresql://u:***@h:1/d")'),
        ("'postgresql://u:hu@sh@h/d'", "'postgresql://u:***@h/d'"),
        ('dsn = "host=h password=hush user=u"', 'dsn = "host=h password=*** user=u"'),
        ("connect(password='hu sh', user=u)", "connect(password='***', user=u)"),
        ('{"password": "hush"}', '{"password": "***"}'),
        ('def f(password: str = "hush"):', 'def f(password: str = "***"):'),
        ('connect(password=os.environ["PW"])', 'connect(password=***["PW"])'),
        ("password authentication failed for user", "password authentication failed for user"),
        ("url = 'http://h:1/d' # @", "url = 'http://h:1/d' # @"),
    ],
)
def test_passwords_in_code_are_concealed(code: str, shown: str) -> None:
    """Lines of code that errors quote lose the passwords that they spell out, and nothing else."""
    assert conceal(code) == shown
