"""Asking before something is done that a user may not want."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from pgflow.errors import HazardsNotConfirmed


def consents(question: str, refusal: str, titles: Sequence[str]) -> bool:
    """Ask on a terminal whether to go on.

    Args:
        question: What would be done, and what it costs.
        refusal: What to say where nobody can be asked; it names the way to say yes beforehand.
        titles: The hazards, a line each.

    Raises:
        HazardsNotConfirmed: There is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise HazardsNotConfirmed(refusal, titles=tuple(titles))
    return typer.confirm(f"{question}\nGo on?", err=True)


def consents_to_loss(told: str, command: str) -> bool:
    """Ask whether something may be erased, which cannot be undone.

    Args:
        told: What would be erased.
        command: The command that would do it.

    Raises:
        HazardsNotConfirmed: There is nobody to ask.
    """
    return consents(
        f"{told}. This cannot be undone.",
        f"Nothing was erased. {told}. Accept that with --yes, or call pgflow {command} on a "
        "terminal, which asks.",
        [told],
    )
