"""Options of a sync: refused where they are written, by name, with the way out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pgflow.declare.options import SyncOptions, check_columns, check_fit
from pgflow.errors import InvalidOption, NotSupportedYet, PgflowError


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"handle_deletes": "sfot"}, r"handle_deletes='sfot' is unknown\. Did you mean 'soft'\?"),
        ({"keys": "id"}, r"keys='id' must be a sequence of names: keys=\('id',\)"),
        ({"keys": ()}, "names no column"),
        ({"keys": ("a", "a")}, "names 'a' twice"),
        ({"max_delete_ratio": 2}, "a number from 0 to 1"),
        ({"ttl": 5}, "must be a timedelta"),
        ({"schema_mode": "evolve"}, "not part of this version; migrate the target with Alembic"),
        ({"watermark": "snapshot"}, "not part of this version; use watermark='value'"),
    ],
)
def test_a_bad_value_is_named_with_the_way_out(given: dict[str, object], sentence: str) -> None:
    """Every malformed option says what it is and what would do."""
    with pytest.raises(PgflowError, match=sentence):
        SyncOptions(**given)  # type: ignore[arg-type]  # the values are wrong on purpose


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"mode": "append", "handle_deletes": "soft"},
            "handle_deletes= does not fit mode 'append'",
        ),
        ({"mode": "merge", "compare_columns": ("a",)}, "merge compares and writes update_columns="),
        ({"mode": "truncate", "keys": ("a",)}, "keys= does not fit mode 'truncate'"),
        ({"mode": "scd2", "handle_deletes": "hard"}, "use handle_deletes='soft'"),
        (
            {"mode": "merge", "incremental_column": "u", "handle_deletes": "hard"},
            "every row that it leaves out would look deleted",
        ),
        ({"mode": "merge", "lookback": timedelta(1)}, "lookback= needs incremental_column="),
        ({"mode": "merge", "on_duplicate": "last"}, "on_duplicate= needs order_by="),
        ({"mode": "merge", "max_delete_ratio": 0.1}, "guards handle_deletes="),
        (
            {"mode": "scd2", "ttl": timedelta(1), "handle_deletes": "soft"},
            "ttl= would have nothing left to do",
        ),
    ],
)
def test_an_option_that_does_not_fit_is_refused(given: dict[str, object], sentence: str) -> None:
    """Options that exclude each other or the mode say so, with the owner's name."""
    options = SyncOptions(**given)  # type: ignore[arg-type]  # built from a table of cases
    with pytest.raises(InvalidOption, match=f"pipeline 'p': .*{sentence}|{sentence}"):
        check_fit(options, "pipeline 'p'")


def test_event_time_is_refused_honestly() -> None:
    """What a later version brings is not silently ignored."""
    options = SyncOptions(mode="scd2", event_timestamp_column="seen")
    with pytest.raises(NotSupportedYet, match=r"sync\(effective_at=\.\.\.\)"):
        check_fit(options, "pipeline 'p'")


def test_an_unknown_column_offers_the_nearest() -> None:
    """A misspelt column is refused with the name that was probably meant."""
    options = SyncOptions(mode="scd1", compare_columns=("emial",))
    with pytest.raises(InvalidOption, match="compare_columns= names 'emial'.*Did you mean 'email'"):
        check_columns(options, ["id", "email"], "pipeline 'p'")


def test_the_stronger_option_wins() -> None:
    """A target's option wins over the pipeline's, and that over the table's."""
    table = SyncOptions(mode="merge", keys=("a",), order_by="u")
    pipeline = SyncOptions(mode="scd1", keys=("b",))
    target = SyncOptions(keys=("c",))
    assert target.over(pipeline).over(table) == SyncOptions(mode="scd1", keys=("c",), order_by="u")
