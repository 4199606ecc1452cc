"""Keys are strings that know a type."""

import copy
import pickle

import pytest
from sqlalchemy import BigInteger, Column, Integer, Table

from pgflow.resolve.keys import COLUMNS, PK, TABLE, Key, PrimaryKey, is_collecting


def test_a_key_is_its_name() -> None:
    """A key and the plain string of its name are the same dictionary slot."""
    assert {str(PK): 1}[PK] == {PK: 1}[PK] == 1
    assert Key("pk_columns", object) == PK
    assert hash(PK) == hash("pk_columns")
    assert PK.name == "pk_columns"
    assert type(PK.name) is str


def test_a_key_reads_as_its_name() -> None:
    """Messages that show a key show its name, quoted, and nothing else."""
    assert f"{PK!r} {PK}" == "'pk_columns' pk_columns"


def test_keys_are_frozen() -> None:
    """A key's type cannot be changed after the fact."""
    with pytest.raises(AttributeError, match="key 'primary' is frozen: 'type' cannot be set"):
        TABLE.type = Column
    assert TABLE.type is Table


def test_keys_survive_copying() -> None:
    """A plugin that holds a key can be copied and pickled without losing the key's type."""
    for twin in (copy.deepcopy(COLUMNS), pickle.loads(pickle.dumps(COLUMNS))):
        assert (twin, twin.type, twin.collecting) == ("columns", Column, True)
    assert not copy.copy(TABLE).collecting


def test_a_key_needs_a_name_and_a_class() -> None:
    """An empty name and a parametrised type are refused where the key is made."""
    with pytest.raises(TypeError, match="a key's name is a non-empty string, not ''"):
        Key("", str)
    with pytest.raises(TypeError, match=r"type of key 'x' must be a class, not tuple\[str, ...\]"):
        Key("x", tuple[str, ...])


def test_collecting_is_asked_of_keys_only() -> None:
    """A plain string does not say that it collects."""
    assert is_collecting(COLUMNS)
    assert not is_collecting(TABLE)
    assert not is_collecting("columns")


def test_a_primary_key_gives_its_columns_in_order() -> None:
    """A composite key keeps its order, and its first column stands for it."""
    columns = [Column("region", Integer), Column("id", BigInteger)]
    key = PrimaryKey(columns)  # type: ignore[arg-type]  # a list is taken, and frozen
    assert key.columns == tuple(columns)
    assert list(key) == columns
    assert len(key) == 2
    assert key.names == ("region", "id")
    assert key.first_key == "region"
