"""What every command has in common: `--no-color`, `--debug`, errors as sentences, exit codes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from pgflow.cli import signals
from pgflow.cli.output import Output
from pgflow.cli.registering import import_modules
from pgflow.connections.settings import last_resort

P = ParamSpec("P")

_NO_COLOR = Annotated[
    bool, typer.Option("--no-color", help="No colours; the variable NO_COLOR does the same.")
]
_DEBUG = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
_SHARED = {"no_color": _NO_COLOR, "debug": _DEBUG}


def command(function: Callable[Concatenate[Output, P], int]) -> Callable[..., None]:
    """Turn a function into what typer calls.

    Args:
        function: Takes an `Output` and the command's own options, and returns the exit code.

    Returns:
        A function with the shared options added, which ends by `typer.Exit`.
    """

    @functools.wraps(function)
    def wrapper(*, no_color: bool = False, debug: bool = False, **options: Any) -> None:
        output = Output(color=not no_color, debug=debug)
        # A connection may be known to the project's modules alone.
        further = functools.partial(import_modules, output, options.get("module"))
        from pgflow.cli.log import brief_log  # --help logs nothing

        with last_resort(further), brief_log(output):
            code = run(output, functools.partial(function, output, **options))
        raise typer.Exit(code)

    _add_shared_options(wrapper, function)
    return wrapper


def run(output: Output, call: Callable[[], int]) -> int:
    """Do a command's work; what it raises becomes a sentence and an exit code.

    Args:
        output: Where the sentence goes.
        call: The work; it returns the exit code.
    """
    try:
        return call()
    except (typer.BadParameter, typer.Exit):
        raise
    except KeyboardInterrupt as interrupt:
        output.error("interrupted.")
        return signals.exit_code(interrupt)
    except Exception as error:
        from pgflow.cli.failures import exit_code, sentence

        output.error(sentence(error), error)
        return exit_code(error)


def _add_shared_options(wrapper: Any, function: Callable[..., int]) -> None:
    """Let typer see the function's own options without the output, and the shared ones."""
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in _SHARED.items()
    ]
    wrapper.__signature__ = inspect.Signature([*own, *shared])
    wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *shared)}
    del wrapper.__wrapped__
