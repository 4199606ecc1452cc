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
        InvalidOption: It is no function, or one that would have to be awaited.
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
