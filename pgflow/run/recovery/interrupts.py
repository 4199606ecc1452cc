"""Interrupts that another error has covered up.

Ctrl-C may break in while SQLAlchemy or psycopg use a connection. What they do then to put it in
order can fail in turn, and its error, which looks like any other, hides the interrupt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: What a signal's handler raises to end the program.
_INTERRUPTS = (KeyboardInterrupt, SystemExit)


@contextmanager
def uncovered() -> Iterator[None]:
    """Raise the interrupt itself where an error came up while it was on its way.

    Raises:
        BaseException: The interrupt, if the block's error hides one.
    """
    # A caller may be handling an interrupt already; that one is his.
    handled = sys.exception()
    try:
        yield
    except Exception as error:
        hidden = _hidden(error, handled)
        if hidden is None:
            raise
        raise hidden from None


def _hidden(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """Look for an interrupt among what came before an error."""
    todo: list[BaseException | None] = [error]
    seen = {id(handled)}
    while todo:
        found = todo.pop()
        if found is None or id(found) in seen:
            continue
        if isinstance(found, _INTERRUPTS):
            return found
        seen.add(id(found))
        todo += (found.__cause__, found.__context__)
    return None
