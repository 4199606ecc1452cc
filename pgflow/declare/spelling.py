"""Misspelt options: whoever gives one learns which is meant, and where it belongs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar, cast

from pgflow.errors import InvalidOption

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

#: Options that only one kind of declaration takes.
_PLACES = {
    "@pgflow.table": ("schema", "metadata", "base", "system_columns", "renamed_from"),
    "@pgflow.pipeline": (
        "source",
        "source_table",
        "column_map",
        "connection",
        "source_connection",
        "target",
        "targets",
        "schedule",
        "continue_on_failure",
        "tags",
        "on_failure",
    ),
}


def nearest(word: str, words: Collection[str]) -> str:
    """Return ` Did you mean ...?` for the word that looks most alike, or nothing."""
    from difflib import get_close_matches

    folded = {each.lower(): each for each in words}
    close = get_close_matches(word.lower(), list(folded), n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""


def advice(name: str, known: Collection[str]) -> str:
    """Say what is meant by an option that is not known.

    Args:
        name: The option as it was given.
        known: The options that are taken here.

    Returns:
        A sentence that begins with a space: the nearest option, where the option belongs, or all.
    """
    for place, names in _PLACES.items():
        if name in names:
            here = next((f" Did you mean {each!r}?" for each in known if name in each), "")
            return f" {name}= is an option of {place}.{here}"
    near = nearest(name, known)
    if near:
        return near
    for place, names in _PLACES.items():
        if near := nearest(name, names):
            return f"{near[:-1]}, an option of {place}?"
    return f" It takes: {', '.join(dict.fromkeys(known))}."


def spelt(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function say which keyword argument is meant where it is given one it does not take.

    Args:
        function: A function that users call in a declaration.

    Returns:
        The function; a call that Python would refuse raises `InvalidOption`.
    """

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            _refuse(function, function.__name__, args, kwargs)
            raise

    return checked


def spelt_class(cls: C) -> C:
    """Do the same for the arguments of a class.

    Args:
        cls: The class.

    Returns:
        The same class.
    """
    own = cast(Any, cls).__init__

    @functools.wraps(own)
    def checked(self: object, *args: Any, **kwargs: Any) -> None:
        try:
            own(self, *args, **kwargs)
        except TypeError:
            _refuse(own, type(self).__name__, (self, *args), kwargs)
            raise

    cast(Any, cls).__init__ = checked
    return cls


def _refuse(
    function: Callable[..., object], label: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Raise, if it was the call that was wrong, and nothing inside the function."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        known = [name for name in signature.parameters if name != "self"]
        unknown = next((name for name in kwargs if name not in known), None)
        if unknown is None and len(args) == 1 and callable(args[0]) and not kwargs:
            raise InvalidOption(
                f"{label} is given {getattr(args[0], '__name__', args[0])!r} alone. It stands with "
                f"parentheses and options: @pgflow.{label}(...)."
            ) from None
        if unknown is None:
            raise InvalidOption(f"{label}(): {error}. It takes: {', '.join(known)}.") from None
        raise InvalidOption(f"{label}() takes no {unknown}=.{advice(unknown, known)}") from None
