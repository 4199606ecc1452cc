"""What makes a row unique: the first of four declarations that says something."""

from __future__ import annotations

from pgflow.errors import MissingMergeKey
from pgflow.plan.decision import Decision
from pgflow.plugins.sync_keys import MERGE_KEYS, MODE, OPTIONS, TARGET_SPEC
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.plugin import Plugin, produces, requires


@produces(MERGE_KEYS)
@requires(TARGET_SPEC, OPTIONS, MODE)
class MergeKeysPlugin(Plugin):
    """Choose the merge keys.

    The first that is not empty: `keys=`, `__merge_keys__`, the first unique constraint or
    `natural_key()`, `pk()`.

    Raises:
        MissingMergeKey: The mode needs keys and nothing declares any.
    """

    def run(self, ctx: FactoryContext) -> None:
        """Choose, with the reason."""
        mode, spec = ctx[MODE], ctx[TARGET_SPEC]
        if mode.keys == "none":
            ctx[MERGE_KEYS] = Decision((), f"mode {mode.name!r} needs no key")
            return
        candidates = spec.key_candidates(ctx[OPTIONS].keys)
        if candidates:
            chosen = candidates[0]
            warning = _differs(ctx, chosen.columns, chosen.origin)
            ctx[MERGE_KEYS] = Decision(chosen.columns, chosen.origin, warning)
        elif mode.keys == "optional":
            if ctx[OPTIONS].incremental:
                raise _missing(ctx, "an incremental run reads boundary rows again and")
            ctx[MERGE_KEYS] = Decision((), "none is declared, so every row is appended")
        else:
            raise _missing(ctx, f"mode {mode.name!r}")


def _differs(ctx: FactoryContext, columns: tuple[str, ...], origin: str) -> str:
    primary = ctx[TARGET_SPEC].primary_key.columns
    explicit = origin in ("keys=", "__merge_keys__")
    if explicit or not primary or set(columns) == set(primary):
        return ""
    return (
        f"merge key resolved to ({', '.join(columns)}) from {origin}, which differs from the "
        f"declared primary key ({', '.join(primary)}). Pass keys= explicitly to silence this "
        "warning."
    )


def _missing(ctx: FactoryContext, who: str) -> MissingMergeKey:
    label = ctx[TARGET_SPEC].label
    return MissingMergeKey(
        f"{who} needs a merge key, and nothing declares one for {label}. Say what makes a row "
        "unique in one of four ways: keys=(...) on the pipeline or target, __merge_keys__ on the "
        "table, natural_key() or a unique constraint on the table, pk() on the table."
    )
