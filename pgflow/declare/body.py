"""A pipeline's function, read by its signature: how many connections, which run parameters."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pgflow.declare.argument_names import check_connection_names, check_parameter_name
from pgflow.declare.options import nearest
from pgflow.errors import InvalidBody, InvalidParameter, MissingParameter

_FORMS = "f(), f(conn) or f(source_conn, target_conn), then run parameters such as *, day: date"

#: What `sync()`, `dry_run()` and `preview()` take themselves.
_TAKEN = frozenset({"analyze", "connection", "effective_at", "firing", "observer"})


def _boolean(text: str) -> bool:
    known = {"true": True, "t": True, "yes": True, "1": True}
    known |= {"false": False, "f": False, "no": False, "0": False}
    return known[text.strip().lower()]


def _duration(text: str) -> timedelta:
    return timedelta(seconds=float(text))


#: How the text of a `--param` becomes a value of the annotated type.
_READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: _boolean,
    Decimal: Decimal,
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    timedelta: _duration,
    UUID: UUID,
}


@dataclass(frozen=True)
class Parameter:
    """A run parameter of a pipeline.

    Attributes:
        name: As the function spells it.
        type: The annotated type, or `str`.
        required: Whether a run must give it.
        default: The value where a run does not give it.
    """

    name: str
    type: Any = str
    required: bool = True
    default: object = None

    @property
    def is_readable(self) -> bool:
        """Whether text can become a value of the annotated type."""
        return self.type in _READERS

    def read(self, text: str) -> object:
        """Turn text from a command line into a value.

        Args:
            text: What stands after `name=`.

        Returns:
            A value of the annotated type.

        Raises:
            InvalidParameter: The text cannot be read as that type.
        """
        reader = _READERS.get(self.type, str)
        try:
            return reader(text)
        except (ValueError, KeyError, ArithmeticError) as error:
            raise InvalidParameter(
                f"parameter {self.name}={text!r} cannot be read as {_type_name(self.type)}."
            ) from error


@dataclass(frozen=True)
class Body:
    """What a pipeline's function takes.

    Attributes:
        function: The function, called once for each run (again when a run is retried).
        connections: 0, 1 or 2.
        parameters: Its run parameters.
        is_async: Whether it is `async def`.
    """

    function: Callable[..., Any]
    connections: int
    parameters: tuple[Parameter, ...]
    is_async: bool

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Body:
        """Read a function's signature.

        Args:
            function: A `def` or `async def` function.

        Returns:
            Its connections and parameters.

        Raises:
            InvalidBody: The signature is none that pgflow can call.
        """
        label = getattr(function, "__qualname__", repr(function))
        if not callable(function) or isinstance(function, type):
            raise InvalidBody(f"{label} is no function; a pipeline's body is {_FORMS}.")
        hints = _hints(function)
        connections: list[inspect.Parameter] = []
        parameters: list[Parameter] = []
        for item in _signature(function, label):
            if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
                raise InvalidBody(
                    f"{label} takes {item}, so its run parameters cannot be known; write {_FORMS}."
                )
            if item.kind is not item.KEYWORD_ONLY and _is_connection(item, hints, parameters):
                connections.append(item)
            elif item.name in _TAKEN:
                raise InvalidBody(
                    f"{label} has a run parameter {item.name!r}, which sync() or preview() takes "
                    "itself, so that no value could reach the function. Rename the parameter."
                )
            else:
                check_parameter_name(item, hints, label)
                parameters.append(_parameter(item, hints))
        if len(connections) > 2:
            raise InvalidBody(f"{label} takes {len(connections)} connections; write {_FORMS}.")
        check_connection_names(connections, label)
        return cls(
            function,
            len(connections),
            tuple(parameters),
            inspect.iscoroutinefunction(function),
        )


def bind_parameters(
    parameters: tuple[Parameter, ...], given: Mapping[str, object], owner: str
) -> dict[str, object]:
    """Match the values of a run with a pipeline's parameters.

    Args:
        parameters: What the pipeline takes.
        given: What the run gives; text is read as the annotated type.
        owner: The pipeline, for messages.

    Returns:
        A value for every parameter.

    Raises:
        MissingParameter: One is missing.
        InvalidParameter: One is unknown or unreadable.
    """
    names = [p.name for p in parameters]
    for name in given:
        if name not in names:
            raise InvalidParameter(
                f"{owner} has no parameter {name!r}.{nearest(name, names)} "
                f"It takes: {', '.join(names) or 'none'}."
            )
    missing = [p.name for p in parameters if p.required and p.name not in given]
    if missing:
        raise MissingParameter(
            f"{owner} needs {', '.join(missing)}: sync({missing[0]}=...), "
            f"or --param {missing[0]}=VALUE on the command line."
        )
    values = {}
    for p in parameters:
        value = given.get(p.name, p.default)
        values[p.name] = p.read(value) if isinstance(value, str) and p.type is not str else value
    return values


def _signature(function: Callable[..., Any], label: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except ValueError:
        raise InvalidBody(
            f"{label} does not say which arguments it takes; write a function that calls it: "
            f"{_FORMS}."
        ) from None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Evaluate annotations one by one: a name that only a type checker sees spoils its own only."""
    try:
        return typing.get_type_hints(function)
    except Exception:
        given: Mapping[str, Any] = getattr(function, "__annotations__", {})
        found = ((name, _hint(function, name, annotation)) for name, annotation in given.items())
        return {name: hint for name, hint in found if hint is not None}


def _hint(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, getattr(function, "__globals__", {}))[name]
    except Exception:
        return None


def _is_connection(
    item: inspect.Parameter, hints: Mapping[str, Any], parameters: list[Parameter]
) -> bool:
    if parameters or item.default is not item.empty:
        return False
    annotation = hints.get(item.name, item.annotation)
    return annotation is item.empty or _strip_optional(annotation) not in _READERS


def _parameter(item: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
    annotation = _strip_optional(hints.get(item.name, str))
    required = item.default is item.empty
    return Parameter(item.name, annotation, required, None if required else item.default)


def _strip_optional(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        left = [a for a in typing.get_args(annotation) if a is not types.NoneType]
        if len(left) == 1:
            return left[0]
    return annotation


def _type_name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
