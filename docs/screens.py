"""Makes the pictures of `docs/screens/`: what a terminal shows, from real runs of the command line.

`python docs/screens.py` makes them on an embedded server; `--url URL` on another empty database,
`--output DIRECTORY` elsewhere.
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import psycopg
from rich.console import Console
from rich.text import Text

import pgflow
from pgflow.project import Project

#: How wide the terminal is.
WIDTH = 112

#: What stands in the pictures in the place of the directory that the server's socket is in.
_SOCKET = "/run/postgresql"

_HERE = Path(__file__).parent
_SOURCES = _HERE.parent

MODULE = '''
from typing import Annotated

import pgflow
from pgflow import pk
from pgflow.types import BigInt, Numeric, Text, TimestampTZ


@pgflow.table(schema="warehouse")
class Customer:
    customer_id: Annotated[BigInt, pk()]
    email: Text
    country: Text | None


@pgflow.table(schema="warehouse")
class Sale:
    sale_id: Annotated[BigInt, pk()]
    customer_id: BigInt
    amount: Numeric[12, 2]
    sold_at: TimestampTZ


@pgflow.pipeline(target=Customer, mode="scd2", handle_deletes="soft", schedule="0 * * * *")
def customers(conn):
    """Keep the history of customers."""
    return "SELECT id AS customer_id, email, country FROM shop.users"


@pgflow.pipeline(target=Sale, mode="merge", incremental_column="sold_at")
def sales(conn):
    """Follow the shop's sales."""
    return "SELECT id AS sale_id, user_id AS customer_id, amount, sold_at FROM shop.sales"
'''

SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.users (id bigint PRIMARY KEY, email text NOT NULL, country text);
INSERT INTO shop.users
SELECT i, 'user' || i || '@example.com', (ARRAY['DE', 'FR', 'AT'])[1 + i % 3]
  FROM generate_series(1, 2000) AS i;
CREATE TABLE shop.orders (id bigint, user_id bigint, amount numeric, sold_at timestamptz);
INSERT INTO shop.orders SELECT i, 1 + i % 2000, i, timestamptz '2024-03-01' + interval '1 s' * i
  FROM generate_series(1, 5000) AS i;
-- It takes its time, so that the terminal has something to show.
CREATE VIEW shop.sales AS SELECT o.* FROM shop.orders AS o, pg_sleep(1.5)
"""

#: One user moves and one leaves; a sale is delivered twice, with two amounts, and without delay.
CHANGE = """
UPDATE shop.users SET country = 'CH' WHERE id = 7;
DELETE FROM shop.users WHERE id = 8;
INSERT INTO shop.orders VALUES (5001, 1, 10, '2024-03-02'), (5001, 1, 12, '2024-03-02');
CREATE OR REPLACE VIEW shop.sales AS SELECT * FROM shop.orders
"""


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="embedded://screens/shop")
    parser.add_argument("--output", type=Path, default=_HERE / "screens")
    said = parser.parse_args()
    said.output.mkdir(exist_ok=True)
    engine = pgflow.engine(said.url)
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(Path(directory), url)
        for name, (title, shown) in shop.screens().items():
            (said.output / f"{name}.svg").write_text(picture(title, shown), encoding="utf-8")
    engine.dispose()


class Shop:
    """A project whose commands are run on a terminal.

    Args:
        directory: An empty directory for it.
        url: An empty database, as psycopg takes it.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._url = url
        (directory / "pgflow.toml").write_text('modules = ["shop"]\n')
        (directory / "shop.py").write_text(MODULE)

    def screens(self) -> dict[str, tuple[str, str]]:
        """Run the commands, and return what each has shown, with the command line."""
        self._execute(SHOP)
        for metadata in Project.load([str(self._directory / "shop.py")]).metadatas:
            pgflow.create_all(metadata, connection=self._url)
        # The live line is gone at the end, so the picture is taken while it is there.
        sync = self._shown("sync", "--all", "-j", "1", until="0:00:01")
        self._execute(CHANGE)
        preview = self._shown("preview", "customers")
        error = self._shown("sync", "sales")
        history = self._shown("history")
        return {"sync": sync, "preview": _begun(preview), "error": error, "history": history}

    def _shown(self, *words: str, until: str | None = None) -> tuple[str, str]:
        return f"pgflow {' '.join(words)}", self._run(*words, until=until)

    def _execute(self, statements: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statements.encode())

    def _run(self, *words: str, until: str | None = None) -> str:
        """Run a command on a terminal; return the screen at its end, or when it shows something."""
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
        hidden = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        process = subprocess.Popen(  # noqa: S603  # the words are this file's
            [sys.executable, "-c", "from pgflow.cli.main import main; main()", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self._directory,
            env={
                **environment,
                "PGFLOW_DSN": self._url,
                "PYTHONPATH": str(_SOURCES),
                "TERM": "xterm-256color",
            },
        )
        os.close(theirs)
        screen = Screen()
        kept: list[str] = []
        while piece := _read(ours):
            screen.write(piece)
            if until is not None and not kept and until in screen.text:
                kept.append(screen.text)
        os.close(ours)
        process.wait(timeout=60)
        if until is not None and not kept:
            raise RuntimeError(f"{words} never showed {until!r}:\n{screen.text}")
        return self._tidy(kept[0] if kept else screen.text)

    def _tidy(self, shown: str) -> str:
        """Leave out where this machine keeps its server."""
        host = psycopg.conninfo.conninfo_to_dict(self._url).get("host")
        return shown.replace(str(host), _SOCKET) if host else shown


class Screen:
    """What a terminal shows of what is written to it: lines with their colours."""

    def __init__(self) -> None:
        self._lines = [""]
        self._row = 0
        self._doing: dict[str, Callable[[int], None]] = {
            "A": self._up,
            "K": self._erase,
        }

    @property
    def text(self) -> str:
        """The lines, with the escape sequences of their colours."""
        return "\n".join(self._lines).rstrip()

    def write(self, piece: str) -> None:
        """Take what was written; rich writes whole lines, and moves up to write them again."""
        for part in re.split(r"(\r?\n|\r|\x1b\[[?\d;]*[A-Za-z])", piece):
            if part.endswith("\n"):
                self._row += 1
                self._lines += [""] * (self._row + 1 - len(self._lines))
            elif re.fullmatch(r"\x1b\[[?\d;]*[A-Zhl]", part):
                self._doing.get(part[-1], lambda _: None)(int(re.sub(r"\D", "", part) or 1))
            elif part != "\r":
                self._lines[self._row] += part

    def _up(self, count: int) -> None:
        self._row = max(0, self._row - count)

    def _erase(self, _: int) -> None:
        self._lines[self._row] = ""


def _begun(screen: tuple[str, str]) -> tuple[str, str]:
    """Leave out the statements behind the first one; nobody reads them in a picture."""
    title, shown = screen
    return title, shown.partition("\x1b[2m  -- 2.")[0].rstrip() + "\n\n  ..."


def picture(title: str, shown: str) -> str:
    """Draw a screen as SVG.

    Args:
        title: The command line, which stands above it and on its first line.
        shown: The lines with the escape sequences of their colours.
    """
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "green"), title))
    console.print(Text.from_ansi(shown), soft_wrap=False)
    return console.export_svg(title=title, unique_id=re.sub(r"\W+", "-", title))


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # how Linux says that the other end is closed
        return ""


if __name__ == "__main__":
    main()
