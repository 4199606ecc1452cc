"""A pipeline's run with everybody who watches it, and who is told if it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from pgflow.declare.pipeline import PipelineSpec
from pgflow.errors import MissingParameter, RunCancelled, TargetsFailed
from pgflow.observe.failure import Failure, Hook, tell
from pgflow.observe.watching import Observers, Watch, everybody
from pgflow.resolve.config import Config
from pgflow.run.events import Observer
from pgflow.run.result import SyncResult, TargetResult

#: Says of a failed run whether whoever began it begins it again; then it has not failed for good.
_begun_again: ContextVar[Callable[[Exception], bool]] = ContextVar("begun_again")


class _Watchable(Protocol):
    """A pipeline, as far as it matters here."""

    @property
    def spec(self) -> PipelineSpec: ...

    @property
    def config(self) -> Config: ...

    @property
    def watch(self) -> Watch | None: ...

    def failure(self, error: Exception) -> TargetResult: ...


@contextmanager
def watched(
    pipeline: _Watchable,
    observer: Observer | None,
    *,
    dry_run: bool = False,
    joined: bool = False,
) -> Iterator[Observers]:
    """Watch a run, and tell of every target that failed when all of them are over.

    Args:
        pipeline: The pipeline.
        observer: Who was given for this run.
        dry_run: Whether everything is rolled back; then its failure is no news.
        joined: Whether the run is part of its caller's transaction, which is still open; then
            the caller is the one to tell.

    Yields:
        Who watches.
    """
    observers = everybody(observer, pipeline.watch)
    hook = None if dry_run or joined else _hook(pipeline)
    try:
        yield observers
    except (RunCancelled, MissingParameter):
        # Somebody stopped it, or called it in a way in which no run could have begun.
        raise
    except Exception as error:
        failed = [each for each in observers.results if each.error is not None]
        for result in _never_begun(pipeline, error, failed):
            failed.append(result)
            if not dry_run:
                observers.refused(pipeline.spec.name, result)
        if hook is None or _is_begun_again(error):
            raise
        for result in failed:
            if not isinstance(result.error, RunCancelled):
                tell(hook, Failure(pipeline.spec.name, result))
        raise


@contextmanager
def begun_again(decide: Callable[[Exception], bool]) -> Iterator[None]:
    """Hold `on_failure` back while a run that fails is going to be begun again.

    Args:
        decide: Says of an error whether another attempt follows. It is asked in the run's thread.
    """
    token = _begun_again.set(decide)
    try:
        yield
    finally:
        _begun_again.reset(token)


def _is_begun_again(error: Exception) -> bool:
    decide = _begun_again.get(None)
    return decide is not None and decide(error)


def _hook(pipeline: _Watchable) -> Hook | None:
    """The nearest one: the pipeline's own, its configuration's, the project's."""
    own = pipeline.spec.on_failure or pipeline.config.on_failure
    if own is not None:
        return own
    return pipeline.watch.on_failure() if pipeline.watch is not None else None


def _never_begun(
    pipeline: _Watchable, error: Exception, failed: list[TargetResult]
) -> list[TargetResult]:
    """The targets that failed before anybody was told of a run."""
    if not isinstance(error, TargetsFailed):
        return [] if failed else [pipeline.failure(error)]
    told = {each.target for each in failed}
    targets = error.result.targets if isinstance(error.result, SyncResult) else ()
    return [each for each in targets if each.error is not None and each.target not in told]
