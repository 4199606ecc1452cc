"""Writes `docs/reference/errors.md` from the docstrings of `pgflow/errors.py`.

`python docs/errors_page.py` writes the page, `python docs/errors_page.py --print` shows it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pgflow import errors

PAGE = Path(__file__).parent / "reference" / "errors.md"

_INTRODUCTION = """\
# Errors

<!-- Written by docs/errors_page.py from pgflow/errors.py: change the docstrings there. -->

Whatever pgflow refuses, it refuses with one of these classes. They live in `pgflow.errors`;
`pgflow.PgflowError` is the one to catch if you want to treat them all alike.

A message says first what happened and names the culprit, then what to do. What the message says in
words the error also carries as attributes. An error that began in the database has the driver's
error as its `__cause__`.

Errors come as early as they can: when a declaration is read, when a factory is constructed, when a
run is planned, and only then from the server. A run that fails has written nothing, except for the
line in the [history](bookkeeping.md) that says so.

Errors that are not here are not pgflow's: those of your pipeline's function pass through as they
are, and so do SQLAlchemy's when a connection cannot be opened.
"""

_SECTION = re.compile(r"# --- (.+?) -+$")


def main() -> None:
    """Write the page, or print it."""
    text = render()
    if "--print" in sys.argv:
        sys.stdout.write(text)
    else:
        PAGE.write_text(text, encoding="utf-8")


def render() -> str:
    """Return the page's text."""
    parts = [_INTRODUCTION]
    for section, classes in _sections():
        parts.append(f"## {section}\n")
        parts += [_entry(kind) for kind in classes]
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, list[type[Exception]]]]:
    """The classes under the headings that the module's comments give them."""
    source = inspect.getsource(errors)
    headings = [
        (number, found[1][0].upper() + found[1][1:])
        for number, line in enumerate(source.splitlines(), 1)
        if (found := _SECTION.match(line))
    ]
    groups: dict[str, list[type[Exception]]] = {"All errors": []}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            above = [title for number, title in headings if number < node.lineno]
            groups.setdefault(above[-1] if above else "All errors", []).append(
                getattr(errors, node.name)
            )
    yield from groups.items()


def _entry(kind: type[Exception]) -> str:
    doc = inspect.cleandoc(kind.__doc__ or "")
    text, _, attributes = doc.partition("\nAttributes:\n")
    lines = [f"### {kind.__name__}\n", _also(kind), text.strip() + "\n"]
    if attributes:
        lines.append(_list(attributes) + "\n")
    return "\n".join(line for line in lines if line)


def _also(kind: type[Exception]) -> str:
    """Say what else it is, as far as `except` clauses may want to know."""
    bases = [f"`{base.__name__}`" for base in kind.__bases__ if base is not Exception]
    return f"Also: {', '.join(bases)}.\n" if bases else ""


def _list(attributes: str) -> str:
    """Turn `name: what it is` into a list; further lines belong to the item above them."""
    items: list[str] = []
    for line in inspect.cleandoc(attributes).splitlines():
        name, colon, meaning = line.partition(": ")
        if colon and not line.startswith(" "):
            items.append(f"- `{name}`: {meaning}")
        else:
            items[-1] += f" {line.strip()}"
    return "\n".join(items)


if __name__ == "__main__":
    main()
