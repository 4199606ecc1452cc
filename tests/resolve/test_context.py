"""The context hands values from plugin to plugin and refuses what would go wrong silently."""

import pytest
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Identity,
    Integer,
    MetaData,
    Table,
)

from pgflow.errors import (
    ContextClosed,
    DeclarationError,
    KeyAlreadySet,
    MissingKey,
    MixedKey,
    WrongKeyType,
)
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS, CREATED_AT, PK, TABLE, Key, PrimaryKey

ITEMS: Key[tuple[str, ...]] = Key("items", str, collecting=True)


def context(*items: object) -> FactoryContext:
    return FactoryContext("orders", "shop", MetaData(), items, [])


def test_inputs_come_in_the_forms_that_plugins_ask_for() -> None:
    """Columns, written columns and SQLAlchemy's own items are told apart."""
    key = Column("id", BigInteger, primary_key=True)
    amount, tax = Column("amount", Integer), Column("tax", Integer, Computed("amount / 5"))
    number = Column("number", Integer, Identity())
    check = CheckConstraint("amount > 0")
    ctx = context(key, amount, tax, number, check, "something of pgflow's own")
    assert ctx.columns == [key, amount, tax, number]
    assert ctx.dim_column_names == ["amount"]
    assert ctx.table_items == [key, amount, tax, number, check]
    assert (ctx.tablename, ctx.schemaname) == ("orders", "shop")


def test_values_are_found_by_key_and_by_name() -> None:
    """What is written by a key is read by its name, and the other way round."""
    ctx = context()
    ctx[CREATED_AT] = "created_at"
    ctx["plain"] = 1
    assert ctx["created_at_column"] == "created_at"
    assert ctx[Key("plain", int)] == 1
    assert CREATED_AT in ctx
    assert "created_at_column" in ctx
    assert "absent" not in ctx
    assert ctx.keys() == ["created_at_column", "plain"]
    assert repr(ctx) == "<FactoryContext of 'orders': created_at_column, plain>"


def test_absent_values_have_defaults() -> None:
    """`get` never raises, and a collecting key is an empty tuple."""
    ctx = context()
    assert ctx.get(TABLE) is None
    assert ctx.get("x", 7) == 7
    assert ctx.get(COLUMNS) == ()
    assert ctx[COLUMNS] == ()
    assert COLUMNS not in ctx


def test_the_primary_keys_name_is_at_hand() -> None:
    """`pk_column_name` is the first column of what a primary key plugin wrote."""
    ctx = context()
    with pytest.raises(MissingKey, match="The factory read key 'pk_columns', which has no value"):
        _ = ctx.pk_column_name
    ctx[PK] = PrimaryKey((Column("order_id", Integer),))
    assert ctx.pk_column_name == "order_id"


def test_a_missing_key_is_a_key_error_with_a_readable_message() -> None:
    """The error is a KeyError and a DeclarationError, and prints as a sentence."""
    with pytest.raises(KeyError) as caught:
        _ = context()["nowhere"]
    assert str(caught.value) == (
        "The factory read key 'nowhere', which has no value. No plugin of 'orders' produces it."
    )
    assert isinstance(caught.value, DeclarationError)


def test_a_key_is_written_once() -> None:
    """A second write is refused with the ways out; `force` replaces the value."""
    ctx = context()
    ctx["x"] = 1
    with pytest.raises(KeyAlreadySet) as caught:
        ctx["x"] = 2
    assert str(caught.value) == (
        "The factory wrote key 'x', which is set already. Write another key, replace the value on "
        "purpose with ctx.set('x', value, force=True), or declare @overrides('x') on the plugin."
    )
    ctx.set("x", 3, force=True)
    assert ctx["x"] == 3


def test_types_are_checked_on_write() -> None:
    """A value of another type is refused, naming key, value and both types."""
    ctx = context()
    with pytest.raises(WrongKeyType) as caught:
        ctx[TABLE] = "orders"
    assert str(caught.value) == (
        "The factory wrote 'orders' (str) to key 'primary', which holds Table. Write a Table, or "
        "use a key of your own."
    )
    assert TABLE not in ctx


def test_collecting_keys_gather() -> None:
    """Contributions come out as a tuple in the order in which they were made."""
    ctx = context()
    ctx.contribute(ITEMS, "a")
    ctx.contribute("items", "b")
    assert ctx[ITEMS] == ("a", "b")
    assert ctx["items"] == ("a", "b")
    with pytest.raises(WrongKeyType, match="wrote 3 \\(int\\) to key 'items', which holds str"):
        ctx.contribute(ITEMS, 3)


def test_one_value_and_many_do_not_mix() -> None:
    """Setting a collecting key, or contributing to a plain one, is refused both ways."""
    ctx = context()
    with pytest.raises(MixedKey, match=r"set key 'columns', which collects from many plugins"):
        ctx["columns"] = []
    with pytest.raises(MixedKey, match=r"contributed to key 'primary', which holds one value"):
        ctx.contribute(TABLE, "x")
    ctx["plain"] = 1
    with pytest.raises(MixedKey, match=r"contributed to key 'plain', which holds one value"):
        ctx.contribute("plain", 1)


def test_injected_columns_are_the_contributed_ones() -> None:
    """The list of the older interface and the collecting key are one and the same."""
    ctx = context()
    first, second = Column("a", Integer), Column("b", Integer)
    ctx.contribute(COLUMNS, first)
    ctx.injected_columns.append(second)
    assert ctx[COLUMNS] == (first, second)
    assert ctx.injected_columns == [first, second]


def test_staging_needs_a_running_plugin() -> None:
    """Nothing would ever apply what is staged outside of a resolution, so it is refused."""
    with pytest.raises(ContextClosed, match="The plugins of 'orders' have all run: nothing would"):
        context().stage(lambda: None)


def test_tables_are_values_like_others() -> None:
    """A Table goes in and comes out as itself, although SQLAlchemy overloads its operators."""
    ctx = context()
    table = Table("orders", ctx.metadata, Column("id", Integer))
    ctx[TABLE] = table
    assert ctx[TABLE] is table
    assert ctx.get(TABLE) is table
