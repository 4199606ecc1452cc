from __future__ import annotations

from typing import Any

import pytest

from pgflow.declare.options import SyncOptions
from pgflow.declare.system_columns import SystemColumns
from pgflow.emit.system_columns import Amendment, system_columns
from pgflow.errors import InvalidIdentifier, InvalidSystemColumns, MissingMergeKey


def names(mode: str, options: SyncOptions | None = None, **overrides: Any) -> list[str]:
    made = system_columns(mode, ("k",), options, overrides)
    assert list(made.system.names) == [
        name for name in made.system.names if name in [c.name for c in made.columns]
    ]
    return [column.name for column in made.columns]


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        ("append", {}, ["_loaded_at", "_batch_id"]),
        ("truncate", {}, ["_loaded_at", "_batch_id"]),
        ("merge", {}, ["_loaded_at", "_batch_id"]),
        ("merge", {"handle_deletes": "hard"}, ["_loaded_at", "_batch_id"]),
        ("merge", {"handle_deletes": "soft"}, ["_loaded_at", "_batch_id", "_deleted_at"]),
        ("merge", {"change_detection": "hash"}, ["_loaded_at", "_batch_id", "row_hash"]),
        ("scd1", {}, ["_loaded_at", "_batch_id", "_changed_at"]),
        (
            "scd1",
            {"handle_deletes": "soft"},
            ["_loaded_at", "_batch_id", "_changed_at", "_deleted_at"],
        ),
        (
            "scd2",
            {"handle_deletes": "soft"},
            ["_loaded_at", "_batch_id", "valid_from", "valid_to", "is_current", "_closed_batch_id"],
        ),
    ],
)
def test_each_mode_has_its_columns(mode: str, options: dict[str, Any], expected: list[str]):
    """A mode and its options decide which system columns a table gets, in which order."""
    assert names(mode, SyncOptions(**options)) == expected


def test_columns_can_be_renamed_and_left_out():
    """system_columns= says another name, or None for what the mode does not need."""
    made = system_columns(
        "scd2",
        ("k",),
        None,
        {
            "valid_from": "dbt_valid_from",
            "_batch_id": None,
            "is_current": None,
            "_changed_at": None,
        },
    )
    assert made.system == SystemColumns(
        loaded_at="_loaded_at",
        valid_from="dbt_valid_from",
        valid_to="valid_to",
        closed_batch_id="_closed_batch_id",
    )
    assert made.primary_key == ("k", "dbt_valid_from")


def test_the_current_flag_follows_a_renamed_end():
    """is_current is computed from the column that ends a version, whatever it is called."""
    made = system_columns("scd2", ("k",), None, {"valid_to": "Valid To"})
    (flag,) = [column for column in made.columns if column.role == "is_current"]
    computed = flag.make().computed
    assert computed is not None
    assert str(computed.sqltext) == '"Valid To" IS NULL'


def test_versions_are_numbered_on_request():
    """system_columns={'version_id': name} adds an identity column to a history."""
    made = system_columns("scd2", ("k",), None, {"version_id": "v"})
    assert made.version_id == "v"
    assert made.columns[-1].make().identity is not None
    assert system_columns("merge", ("k",), None, {"version_id": "v"}).version_id is None


def test_equal_needs_are_equal():
    """Amendments are values: the same mode, keys and names come to the same."""
    assert system_columns("scd2", ("k",)) == system_columns("scd2", ("k",), SyncOptions(), {})
    assert system_columns("merge", ("k",)) == system_columns("merge", ("other",))
    assert isinstance(hash(system_columns("scd2", ("k",))), int)
    assert system_columns("scd2", ("k",)) != Amendment("scd2")


def test_names_are_what_the_server_keeps():
    """Long names of keys and columns are cut to 63 bytes."""
    made = system_columns("scd2", ("k" * 70,), None, {"valid_to": "v" * 70})
    assert made.primary_key == ("k" * 63, "valid_from")
    assert made.system.valid_to == "v" * 63


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"valid_form": "x"},
            "table s.t: 'valid_form' is no system column. Did you mean 'valid_from'? There are "
            "_loaded_at, _batch_id, _changed_at, _deleted_at, valid_from, valid_to, is_current, "
            "_closed_batch_id, _confirmed_at, row_hash, and version_id on request.",
        ),
        (
            {"valid_to": None},
            "table s.t: 'valid_to' cannot be left out, the modes that have it need it. It can be "
            "renamed; _loaded_at, _batch_id, _changed_at, is_current, _closed_batch_id can be left "
            "out.",
        ),
        ({"_deleted_at": None}, "table s.t: '_deleted_at' cannot be left out"),
        ({"row_hash": None}, "table s.t: 'row_hash' cannot be left out"),
        (
            {"valid_to": "x", "valid_from": "x"},
            "table s.t: two system columns would be called 'x'.",
        ),
        ({"version_id": "valid_to"}, "table s.t: two system columns would be called 'valid_to'."),
    ],
)
def test_overrides_that_cannot_be_followed_are_refused(overrides: dict[str, Any], message: str):
    """Unknown, indispensable and colliding columns are named."""
    with pytest.raises(InvalidSystemColumns) as caught:
        system_columns("scd2", ("k",), None, overrides, owner="table s.t")
    assert str(caught.value).startswith(message)


def test_a_name_that_postgresql_cannot_store_is_refused():
    """An empty name is refused as everywhere."""
    with pytest.raises(InvalidIdentifier):
        system_columns("merge", (), None, {"_loaded_at": ""})


def test_a_history_without_keys_is_refused_with_all_ways_to_declare_them():
    """scd2 has to know what makes a row unique."""
    with pytest.raises(MissingMergeKey) as caught:
        system_columns("scd2", owner="table s.t")
    assert str(caught.value) == (
        "table s.t: a history needs to know what makes a row unique. Give keys=, or declare "
        "__merge_keys__, natural_key() or Unique(...), or pk() on the table."
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, "_loaded_at"),
        ({"_loaded_at": "Loaded"}, '"Loaded"'),
        ({"_loaded_at": None}, "now()"),
    ],
)
def test_old_rows_become_versions_from_when_they_were_loaded(
    overrides: dict[str, str | None], expected: str
):
    """valid_from tells migrations what rows get that are there already."""
    made = system_columns("scd2", ("k",), None, overrides)
    by_name = {column.name: column.make() for column in made.columns}
    assert by_name["valid_from"].info == {"backfill_when_new": expected}
    assert not any(c.info for name, c in by_name.items() if name != "valid_from")
