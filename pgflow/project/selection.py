"""Choosing pipelines by words: names, patterns, tags, states, and what is before or after them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from fnmatch import fnmatchcase

from pgflow.declare.options import nearest
from pgflow.errors import UnknownPipeline
from pgflow.factories.pipeline import Pipeline
from pgflow.project.contents import label, path
from pgflow.project.order import dependencies, turned, upstream
from pgflow.project.standings import Standing, failed_last, standings

#: What `state:` can ask for: whether the latest runs of a pipeline are such.
STATES: Mapping[str, Callable[[Pipeline, Sequence[Standing]], bool]] = {
    "failed": lambda _, found: bool(failed_last(found)),
    "never": lambda pipeline, found: (
        not {t.target_label for t in pipeline.sync_targets} <= {each.target for each in found}
    ),
}
_TAG, _STATE, _AROUND = "tag:", "state:", "+"


class Selection:
    """What words choose among the pipelines of a project.

    Args:
        pipelines: By name, in the order of declaration.
    """

    def __init__(self, pipelines: Mapping[str, Pipeline]) -> None:
        self._pipelines = pipelines
        self._standings: dict[str, tuple[Standing, ...]] = {}

    def chosen(self, words: Iterable[str], exclude: Iterable[str] = ()) -> dict[str, Pipeline]:
        """Choose pipelines.

        Args:
            words: What is wanted.
            exclude: What is not, although it is wanted.

        Returns:
            Pipelines by name, in the order of the words.

        Raises:
            UnknownPipeline: A word fits nothing. Only of states there may be none.
            HistoryOutOfReach: The history of a pipeline that is not left out has to be asked, and
                cannot.
        """
        # Those of which no history is asked come first: their databases may be down.
        left_out: set[str] = set()
        for word in sorted(exclude, key=self._is_state):
            left_out.update(self._fitting(word, left_out))
        wanted = {name: None for word in words for name in self._fitting(word, left_out)}
        return {name: self._pipelines[name] for name in wanted if name not in left_out}

    def unknown(self, word: str) -> UnknownPipeline:
        """Make the error for a word that fits nothing."""
        if word.startswith(_TAG):
            tags = sorted({tag for p in self._pipelines.values() for tag in p.spec.tags})
            return _unknown(word, f"no pipeline has the tag {word[4:]!r}", word[4:], tags, "tags")
        if word.startswith(_STATE):
            what = f"there is no state {word[6:]!r}"
            return _unknown(word, what, word[6:], list(STATES), "states")
        return _unknown(word, f"there is no pipeline {word!r}", word, list(self._pipelines), "")

    def _is_state(self, word: str) -> bool:
        return word not in self._pipelines and _STATE in word

    def _fitting(self, word: str, left_out: Set[str]) -> Sequence[str]:
        """What a word chooses; where only a state counts, those left out need not be looked at."""
        if word in self._pipelines:
            return [word]
        core = word.removeprefix(_AROUND)
        before, after = core != word, False
        if core not in self._pipelines:
            core, after = core.removesuffix(_AROUND), core.endswith(_AROUND)
        if not (before or after):
            return self._plain(core, left_out)
        found = self._plain(core, frozenset())
        reading = dependencies(self._pipelines.values())
        around = set(found)
        if before:
            around |= upstream(found, reading)
        if after:
            around |= upstream(found, turned(reading))
        return [name for name in self._pipelines if name in around]

    def _plain(self, word: str, left_out: Set[str]) -> Sequence[str]:
        """The pipelines that a word without `+` fits."""
        if word in self._pipelines:
            return [word]
        if word.startswith(_STATE):
            return self._in_state(word, left_out)
        found = [name for name, pipeline in self._pipelines.items() if _fits(pipeline, word)]
        if not found:
            raise self.unknown(word)
        return found

    def _in_state(self, word: str, left_out: Set[str]) -> Sequence[str]:
        state = STATES.get(word[len(_STATE) :])
        if state is None:
            raise self.unknown(word)
        asked = {n: p for n, p in self._pipelines.items() if n not in left_out}
        unasked = [pipeline for name, pipeline in asked.items() if name not in self._standings]
        if unasked:
            known = standings(unasked)
            self._standings |= {each.name: known.get(each.name, ()) for each in unasked}
        return [n for n, pipeline in asked.items() if state(pipeline, self._standings[n])]


def _fits(pipeline: Pipeline, pattern: str) -> bool:
    if pattern.startswith(_TAG):
        return any(fnmatchcase(tag, pattern[len(_TAG) :]) for tag in pipeline.spec.tags)
    targets = [t.table for t in pipeline.spec.targets]
    plain = ["{}.{}".format(*path(table)) for table in targets]
    words = [pipeline.name, *map(label, targets), *plain]
    return any(fnmatchcase(word, pattern) for word in words)


def _unknown(word: str, what: str, asked: str, known: Sequence[str], noun: str) -> UnknownPipeline:
    hint = nearest(asked, known)
    whose = f"The {noun} are" if noun else "The project has"
    return UnknownPipeline(
        f"{what}.{hint} {whose}: {', '.join(known) or 'none'}.",
        name=word,
        nearest=hint.removeprefix(" Did you mean ").strip("'?") or None,
    )
