"""Which arguments of a pipeline's function are connections, as their names say.

Position decides; a name that contradicts it is refused, since a day that is taken for a connection
would never reach the query.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pgflow.errors import InvalidBody

#: A word in the name of an argument that is a connection.
_CONNECTION = re.compile(
    r"conns?|con|connection|cx|db|database|dest|dst|engine|pg|session|source|src|target|tgt"
)
#: A word that nobody calls a connection by.
_VALUE = re.compile(
    r"after|amount|at|batch|before|begins?|count|country|customer|dates?|days?|ends?|flag|from|full"
    r"|hours?|ids?|instant|keys?|kind|limit|lookback|minutes?|mode|months?|names?|now|number|offset"
    r"|options?|params?|parameters?|quarter|rate|region|run|scheduled|self|cls|since|size|starts?|status"
    r"|tags?|tenant|threshold|time|timestamp|to|today|ts|type|until|user|values?|version|weeks?"
    r"|when|window|years?"
)


def check_connection_names(connections: Sequence[inspect.Parameter], label: str) -> None:
    """Refuse arguments that stand where connections do, and are none by their names.

    Args:
        connections: The arguments that are taken for connections.
        label: The function, for the message.

    Raises:
        InvalidBody: One without an annotation is called like a value, and not like a connection.
    """
    for item in connections:
        annotated = item.annotation is not item.empty
        if annotated or _is_connection(item.name) or not _is_value(item.name):
            continue
        name = item.name
        if name in ("self", "cls"):
            raise InvalidBody(
                f"{label} is a method, and nobody gives it {name!r}: decorate a plain function, or "
                "give the method of an object, Pipeline(..., body=loader.rows)."
            )
        raise InvalidBody(
            f"{label} takes {name!r} where a connection stands. If it is a run parameter, write it "
            f"behind a star, with its type: `*, {name}: date` (or int, str, ...). If it is a "
            f"connection, say so: `{name}_conn`, or `{name}: Connection`."
        )


def check_parameter_name(item: inspect.Parameter, hints: Mapping[str, Any], label: str) -> None:
    """Refuse a run parameter that is called like a connection, or that cannot be passed.

    Args:
        item: The argument.
        hints: The annotations that could be read.
        label: The function, for the message.

    Raises:
        InvalidBody: It is such a one.
    """
    if item.kind is item.POSITIONAL_ONLY:
        raise InvalidBody(
            f"{label} takes the run parameter {item.name!r} by position only, and run parameters "
            f"are passed by name: write `*, {item.name}` in place of the `/`."
        )
    if item.name not in hints and {"conn", "connection"} & _words(item.name):
        raise InvalidBody(
            f"{label} takes {item.name!r} as a run parameter, since it has a default, or stands "
            "behind a star or a run parameter. Connections come first and have no default: "
            f"`def {label.rpartition('.')[2]}({item.name}, ...)`."
        )


def _is_connection(name: str) -> bool:
    return name.startswith("_") or any(map(_CONNECTION.fullmatch, _words(name)))


def _is_value(name: str) -> bool:
    return any(map(_VALUE.fullmatch, _words(name)))


def _words(name: str) -> set[str]:
    """The words of a name, without numbers at their ends: `src_conn`, `conn2`."""
    return {word.rstrip("0123456789") for word in name.lower().split("_")}
