"""Files that a function returns, told from its text."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgflow.declare.rows import FileSource


@dataclass(frozen=True)
class Files:
    """Files that a pipeline reads.

    Attributes:
        paths: The paths and patterns that are written down, each once.
        computed: Whether there are others, which are known only when the function has run.
    """

    paths: tuple[str, ...] = ()
    computed: bool = False

    @classmethod
    def all(cls, found: Iterable[Files]) -> Files:
        """Return several as one."""
        parts = tuple(found)
        paths = dict.fromkeys(path for part in parts for path in part.paths)
        return cls(tuple(paths), any(part.computed for part in parts))


#: What a function returns that returns no files.
NO_FILES = Files()


def files_of(source: FileSource) -> Files:
    """Return the files of a source that is there already, as they are declared."""
    return _written(source.path)


def files_in(call: ast.Call, value: Callable[[ast.expr], Any]) -> Files:
    """Return the files that a call such as `CSV("orders.csv")` names.

    Args:
        call: The call of a class of files.
        value: Tells what an expression inside is.
    """
    named = [keyword.value for keyword in call.keywords if keyword.arg == "path"]
    for path in (*call.args[:1], *named):
        if isinstance(path, (ast.List, ast.Tuple)):
            return Files.all(_written(value(each)) for each in path.elts)
        return _written(value(path))
    return Files(computed=True)


def _written(path: object) -> Files:
    if isinstance(path, (str, os.PathLike)):
        return Files((Path(path).as_posix(),))
    if isinstance(path, (list, tuple)):
        return Files.all(_written(each) for each in path)
    return Files(computed=True)
