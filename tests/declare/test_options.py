"""Options of a sync: refused where they are written, by name, with the way out."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest

from pgflow.declare.options import OPTION_NAMES, SyncOptions, check_columns, check_fit
from pgflow.declare.resource import SyncDefaults
from pgflow.declare.targets import target
from pgflow.errors import InvalidOption, PgflowError


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"handle_deletes": "sfot"}, r"handle_deletes='sfot' is unknown\. Did you mean 'soft'\?"),
        ({"keys": "id"}, r"keys='id' must be a sequence of names: keys=\('id',\)"),
        ({"keys": ()}, "names no column"),
        ({"keys": ("a", "a")}, "names 'a' twice"),
        ({"max_delete_ratio": 2}, "a number from 0 to 1"),
        ({"ttl": 5}, "must be a timedelta"),
        ({"ttl": timedelta.max}, r"beyond any instant .* Leave it out"),
        ({"schema_mode": "evolv"}, r"schema_mode='evolv' is unknown\. Did you mean 'evolve'\?"),
        ({"watermark": "snap"}, r"watermark='snap' is unknown\."),
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


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"keys": ("id", "seen")}, "is one of keys=, so that every instant"),
        ({"compare_columns": ("a", "seen")}, "is one of compare_columns="),
        ({"order_by": "seen", "on_duplicate": "last"}, "every instant of a key is kept"),
    ],
)
def test_an_event_column_is_nothing_else(given: dict[str, object], sentence: str) -> None:
    """The column of the rows' instants is no key, is not compared, and chooses no row."""
    options = SyncOptions(mode="scd2", event_timestamp_column="seen", **given)  # type: ignore[arg-type]  # built from a table of cases
    with pytest.raises(InvalidOption, match=f"pipeline 'p': .*'seen'.*{sentence}"):
        check_fit(options, "pipeline 'p'")


def test_confirmations_need_event_time() -> None:
    """What would be kept is the rows' own instants, so there have to be some."""
    options = SyncOptions(mode="scd2", keep_confirmations=True)
    with pytest.raises(InvalidOption, match="needs event_timestamp_column=, which is not given"):
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


def test_every_option_can_stand_on_a_table_and_on_a_target() -> None:
    """What a pipeline takes, tables and targets take too, under the same name."""
    assert set(inspect.signature(target).parameters) >= set(OPTION_NAMES)
    assert {*SyncDefaults.__annotations__, "mode"} == set(OPTION_NAMES)
