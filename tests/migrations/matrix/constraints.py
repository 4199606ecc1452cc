"""Changes of constraints, indexes, sequences and statistics."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, MetaData, UniqueConstraint, text
from sqlalchemy.schema import SchemaItem

from tests.migrations.matrix.case import Case, Declaration, declares, items, orders, plain


def having(make: type[SchemaItem], *arguments: object, **options: object) -> Declaration:
    """Declare `app.items` with a constraint or an index."""
    return lambda metadata: items(metadata, make(*arguments, **options))


def check(expression: str, name: str = "items_rule") -> Declaration:
    """Declare `app.items` with a check."""
    return having(CheckConstraint, expression, name=name)


def unique(*columns: str, name: str = "items_key", **options: object) -> Declaration:
    """Declare `app.items` with a unique constraint."""
    return having(UniqueConstraint, *columns, name=name, **options)


def index(*columns: object, name: str = "items_ix", **options: object) -> Declaration:
    """Declare `app.items` with an index."""
    return having(Index, name, *columns, **options)


def reference(**options: object) -> Declaration:
    """Declare `app.items`, and `app.orders` that points to it."""

    def declare(metadata: MetaData) -> None:
        items(metadata)
        orders(metadata, **options)

    return declare


def excluding(expression: str) -> Declaration:
    """Declare `app.items` with an exclusion constraint."""
    return declares(f"ALTER TABLE app.items ADD CONSTRAINT items_excl EXCLUDE {expression}")


_CONSTRAINT = "constraint app.items.items_rule"
_KEY = "constraint app.items.items_key"
_INDEX = "index app.items.items_ix"
_REFERENCE = "constraint app.orders.orders_item_id_fkey"
_EXCLUDE = "constraint app.items.items_excl"

CASES = [
    Case("check added", plain, check("quantity >= 0"), [f"create {_CONSTRAINT}"]),
    Case(
        "check with colons and percents added",
        plain,
        check("label <> ':x' AND label NOT LIKE '%%s%' AND label <> E'a\\\\b'"),
        [f"create {_CONSTRAINT}"],
    ),
    Case(
        "check changed",
        check("quantity >= 0"),
        check("quantity > -1 AND quantity NOT IN (100, 101)"),
        [f"drop {_CONSTRAINT}", f"create {_CONSTRAINT}"],
    ),
    Case("check removed", check("quantity >= 0"), plain, [f"drop {_CONSTRAINT}"]),
    Case(
        "check renamed",
        check("quantity >= 0"),
        check("quantity >= 0", "items_positive"),
        ["rename constraint app.items.items_rule"],
    ),
    Case("unique added", plain, unique("label"), [f"create {_KEY}"]),
    Case(
        "unique changed",
        unique("label"),
        unique("label", "quantity", deferrable=True, initially="DEFERRED"),
        [f"drop {_KEY}", f"create {_KEY}"],
    ),
    Case(
        "unique made to tell nulls apart no more",
        unique("label"),
        unique("label", postgresql_nulls_not_distinct=True),
        [f"drop {_KEY}", f"create {_KEY}"],
    ),
    Case("unique removed", unique("label"), plain, [f"drop {_KEY}"]),
    Case(
        "unique renamed",
        unique("label"),
        unique("label", name="items_label_key"),
        ["rename constraint app.items.items_key"],
    ),
    Case(
        "unique includes a column",
        plain,
        declares("ALTER TABLE app.items ADD CONSTRAINT items_key UNIQUE (label) INCLUDE (price)"),
        [f"create {_KEY}"],
    ),
    Case(
        "foreign key added",
        lambda metadata: (items(metadata), orders(metadata)),
        reference(name="orders_item_id_fkey"),
        [f"create {_REFERENCE}"],
    ),
    Case(
        "foreign key changed",
        reference(name="orders_item_id_fkey"),
        reference(name="orders_item_id_fkey", ondelete="SET NULL", deferrable=True),
        [f"drop {_REFERENCE}", f"create {_REFERENCE}"],
    ),
    Case(
        "foreign key removed",
        reference(name="orders_item_id_fkey"),
        lambda metadata: (items(metadata), orders(metadata)),
        [f"drop {_REFERENCE}"],
    ),
    Case(
        "foreign key renamed",
        reference(name="orders_item_id_fkey"),
        reference(name="orders_to_items"),
        ["rename constraint app.orders.orders_item_id_fkey"],
    ),
    Case(
        "exclusion added",
        plain,
        excluding("USING btree (label WITH =)"),
        [f"create {_EXCLUDE}"],
    ),
    Case(
        "exclusion changed",
        excluding("USING btree (label WITH =)"),
        excluding("USING btree (label WITH =) WHERE (quantity > 0)"),
        [f"drop {_EXCLUDE}", f"create {_EXCLUDE}"],
    ),
    Case("exclusion removed", excluding("USING btree (label WITH =)"), plain, [f"drop {_EXCLUDE}"]),
    Case("index added", plain, index("label"), [f"create {_INDEX}"]),
    Case(
        "index on an expression added",
        plain,
        index(text("lower(label) DESC NULLS LAST"), postgresql_where=text("status <> ':x'")),
        [f"create {_INDEX}"],
    ),
    Case(
        "index condition changed",
        index("label", postgresql_where=text("quantity > 0")),
        index("label", postgresql_where=text("quantity > 1")),
        [f"drop {_INDEX}", f"create {_INDEX}"],
    ),
    Case(
        "index method changed",
        index("label"),
        index("label", postgresql_using="hash"),
        [f"drop {_INDEX}", f"create {_INDEX}"],
    ),
    Case(
        "index operator class changed",
        index("label"),
        index("label", postgresql_ops={"label": "text_pattern_ops"}),
        [f"drop {_INDEX}", f"create {_INDEX}"],
    ),
    Case(
        "index includes a column",
        index("label"),
        index("label", postgresql_include=["price"]),
        [f"drop {_INDEX}", f"create {_INDEX}"],
    ),
    Case(
        "index made unique",
        index("label"),
        index("label", unique=True),
        [f"drop {_INDEX}", f"create {_INDEX}"],
    ),
    Case(
        "index storage changed",
        index("label"),
        index("label", postgresql_with={"fillfactor": 50}),
        ["alter index app.items.items_ix"],
    ),
    Case("index removed", index("label"), plain, [f"drop {_INDEX}"]),
    Case(
        "index renamed",
        index("label"),
        index("label", name="items_label_ix"),
        ["rename index app.items.items_ix"],
    ),
    Case(
        "index comment added",
        index("label"),
        declares(
            "CREATE INDEX items_ix ON app.items (label)",
            "COMMENT ON INDEX app.items_ix IS 'For search.'",
        ),
        ["alter index app.items.items_ix"],
    ),
    Case("sequence added", plain, declares("CREATE SEQUENCE app.s"), ["create sequence app.s"]),
    Case(
        "sequence changed",
        declares("CREATE SEQUENCE app.s"),
        declares("CREATE SEQUENCE app.s INCREMENT 10 MAXVALUE 1000 CYCLE CACHE 5"),
        ["alter sequence app.s"],
    ),
    Case("sequence removed", declares("CREATE SEQUENCE app.s"), plain, ["drop sequence app.s"]),
    Case(
        "statistics added",
        plain,
        declares("CREATE STATISTICS app.st (ndistinct) ON label, status FROM app.items"),
        ["create statistics app.items.st"],
    ),
    Case(
        "statistics changed",
        declares("CREATE STATISTICS app.st (ndistinct) ON label, status FROM app.items"),
        declares("CREATE STATISTICS app.st (mcv) ON label, status FROM app.items"),
        ["drop statistics app.items.st", "create statistics app.items.st"],
    ),
    Case(
        "statistics removed",
        declares("CREATE STATISTICS app.st (ndistinct) ON label, status FROM app.items"),
        plain,
        ["drop statistics app.items.st"],
    ),
]
