"""The function that is told of a failed run, refused while it is declared if it could not be."""

from __future__ import annotations

import inspect

from pgflow.errors import InvalidOption


def check_hook(hook: object, owner: str) -> None:
    """Refuse an `on_failure` that cannot be called.

    Args:
        hook: The function, or None.
        owner: Who declared it, for the message.

    Raises:
        InvalidOption: It is no function, one that would have to be awaited, or one that cannot be
            called with the failure alone.
    """
    if hook is None:
        return
    if not callable(hook):
        raise InvalidOption(
            f"{owner}: on_failure={hook!r} is no function. Give one that takes the failure: "
            "def tell(failure): ..."
        )
    if inspect.iscoroutinefunction(hook):
        named = getattr(hook, "__qualname__", repr(hook))
        raise InvalidOption(
            f"{owner}: on_failure={named} is async, and nobody would await it. Give "
            "a plain function; in it, asyncio.run(...) may call the other one."
        )
    try:
        signature = inspect.signature(hook)
    except ValueError:  # what is written in C may hide its signature
        return
    try:
        signature.bind(object())
    except TypeError as error:
        named = getattr(hook, "__qualname__", repr(hook))
        raise InvalidOption(
            f"{owner}: on_failure={named}{signature} cannot be called with the failure alone "
            f"({error}). Give a function of one argument: def tell(failure): ..."
        ) from None
