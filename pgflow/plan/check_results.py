"""What checks came to: the outcome of each, and one sentence for all that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgflow.declare.checks import Freshness, QueryCheck, RowCount
from pgflow.declare.data_check import DataCheck
from pgflow.errors import ChecksFailed, PgflowError
from pgflow.plan.samples import spell
from pgflow.plan.spec import SyncSpec
from pgflow.plan.statement import Report, Row

#: Tallied: how many times rows fail checks that put them aside, and whether none does.
OFFENDING, CLEAN = "pgflow_offending", "pgflow_clean"


def report(checks: Sequence[DataCheck], found: Sequence[Row]) -> Report:
    """Say what becomes of each check, for the result and the history.

    Args:
        checks: The checks.
        found: One row for each, in their order.
    """
    pairs = tuple(zip(checks, found, strict=True))
    offending = sum(row["failed"] for check, row in pairs if check.quarantine)
    return Report(
        details={"checks": [_plain(check, row) for check, row in pairs]},
        tallies={OFFENDING: offending, CLEAN: int(not offending)},
    )


def warnings(spec: SyncSpec, checks: Sequence[DataCheck], found: Sequence[Row]) -> list[str]:
    """Tell of rows that fail and do not stop the run, one sentence for each check.

    Args:
        spec: What is planned.
        checks: The checks.
        found: One row for each, in their order.
    """
    return [
        f"check {_sentence(spec, check, row)}{_AFTERWARDS[_outcome(check, row)]}"
        for check, row in zip(checks, found, strict=True)
        if _outcome(check, row) in _AFTERWARDS
    ]


def refusal(
    spec: SyncSpec, checks: Sequence[DataCheck], found: Sequence[Row]
) -> PgflowError | None:
    """Describe a batch that fails checks whose severity is `error`.

    Args:
        spec: What is planned.
        checks: The checks.
        found: One row for each, in their order.

    Returns:
        One error that names them all, or None.
    """
    pairs = zip(checks, found, strict=True)
    failed = [(check, row) for check, row in pairs if _outcome(check, row) == "failed"]
    if not failed:
        return None
    told = "; ".join(_sentence(spec, check, row) for check, row in failed)
    many = f"{len(failed)} of {len(checks)} checks fail" if len(checks) > 1 else "a check fails"
    return ChecksFailed(
        f"{many}: {told}. Nothing was written. Correct the source, or "
        f"{_ways_out([check for check, _ in failed])}.",
        pipeline=spec.owner,
        target=spec.target.label,
        failed=tuple(check.name for check, _ in failed),
    )


def _ways_out(failed: Sequence[DataCheck]) -> str:
    """Name what the checks that fail can be told, and are not told yet."""
    ways = ["let a check warn only (severity='warning')"]
    if any(_counts(check) for check in failed):
        ways.append("tolerate some rows (max_failures=, max_ratio=)")
    if any(check.of_rows and not check.quarantine for check in failed):
        ways.append("put them aside (quarantine=True)")
    *others, last = ways
    return f"{', '.join(others)}, or {last}" if others else last


def _counts(check: DataCheck) -> bool:
    """Whether a check finds rows, and does not just hold or not."""
    if isinstance(check, QueryCheck):
        return check.returns == "rows"
    return not isinstance(check, (RowCount, Freshness))


_AFTERWARDS = {"warned": "", "tolerated": ", as tolerated", "quarantined": ", put into quarantine"}


def _outcome(check: DataCheck, row: Row) -> str:
    if not row["failed"]:
        return "passed"
    if check.quarantine and check.severity == "warning":
        return "quarantined"
    if check.tolerates(row["failed"], row["rows"]):
        return "quarantined" if check.quarantine else "tolerated"
    return "warned" if check.severity == "warning" else "failed"


def _plain(check: DataCheck, row: Row) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": check.name,
        "severity": check.severity,
        "outcome": _outcome(check, row),
        "failed": row["failed"],
        "rows": row["rows"],
    }
    if row["found"] is not None:
        plain["found"] = row["found"]
    if row["sample_keys"]:
        plain["sample_keys"] = [key for key in row["sample_keys"] if key]
    return plain


def _changes(check: RowCount, before: str | None) -> list[str]:
    """How far the number of rows may be from that before; any will do where there is none."""
    if before is None:
        return []
    changes = ((check.max_decrease, "fewer"), (check.max_increase, "more"))
    return [
        f"at most {share * 100:g} % {less} than the {int(before):,} of the run before"
        for share, less in changes
        if share is not None
    ]


def _sentence(spec: SyncSpec, check: DataCheck, row: Row) -> str:
    if isinstance(check, RowCount):
        limits = [f"at least {check.min:,}"] if check.min is not None else []
        limits += [f"at most {check.max:,}"] if check.max is not None else []
        limits += _changes(check, row["found"])
        return f"{check.name!r}: {row['rows']:,} rows, wanted {' and '.join(limits)}"
    if isinstance(check, Freshness):
        newest = f"the newest value is {row['found']}" if row["found"] else "there is no value"
        return f"{check.name!r}: {newest}, wanted within {check.within}"
    if isinstance(check, QueryCheck) and check.returns == "boolean":
        return f"{check.name!r}: its query says false"
    keys = [key for key in row["sample_keys"] or () if key]
    sample = f" ({spell(spec, keys)})" if keys else ""
    if isinstance(check, QueryCheck):
        return f"{check.name!r}: its query finds {row['failed']:,} rows{sample}"
    return f"{check.name!r}: {row['failed']:,} of {row['rows']:,} rows{sample}"
