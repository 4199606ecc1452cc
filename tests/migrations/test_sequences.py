"""Random sequences of changes converge, and lead back step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Engine,
    Enum,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    create_engine,
    text,
)
from sqlalchemy.pool import NullPool

from pgflow.alembic import configure_metadata, declare_sql
from tests.migrations.matrix.case import items, orders
from tests.migrations.matrix.workshop import ROWS, Workshop

#: Labels that may come and go; rows hold the default, "sad", which stays.
LABELS = ("ok", "fine", "happy")


@dataclass(frozen=True)
class State:
    """One state of a declaration; each field is something that may change."""

    note: str | None
    price: str
    doubled: str | None
    labels: tuple[str, ...] | None
    check: str | None
    unique: bool
    index: str | None
    view: tuple[str, ...] | None
    above: bool
    function: str | None
    trigger: str | None
    policy: str | None
    orders: str | None
    comment: str | None
    summary: str | None

    def metadata(self) -> MetaData:
        """Declare it."""
        metadata = MetaData()
        items(
            metadata,
            *self._columns(),
            *self._constraints(),
            replace=[Column("price", _PRICES[self.price]())],
            comment=self.comment,
        )
        if self.orders is not None:
            orders(metadata, name="orders_item_id_fkey", ondelete=self.orders)
        for statement in self._programs():
            declare_sql(metadata, statement)
        configure_metadata(metadata)
        return metadata

    def _columns(self) -> list[Column[object]]:
        columns: list[Column[object]] = []
        if self.note is not None:
            columns.append(Column("note", _NOTES[self.note]()))
        if self.labels is not None:
            mood = Enum(*self.labels, name="mood", schema="app")
            columns.append(Column("mood", mood, server_default="sad"))
        if self.doubled is not None:
            columns.append(Column("doubled", Numeric, Computed(self.doubled, persisted=True)))
        return columns

    def _constraints(self) -> list[CheckConstraint | UniqueConstraint | Index]:
        found: list[CheckConstraint | UniqueConstraint | Index] = []
        if self.check is not None:
            found.append(CheckConstraint(self.check, name="items_rule"))
        if self.unique:
            found.append(UniqueConstraint("label", name="items_label_key"))
        if self.index is not None:
            found.append(Index("items_ix", text(self.index)))
        return found

    def _programs(self) -> list[str]:
        return [
            text
            for text in (self._view(), self._above(), *self._functions(), *self._rights())
            if text is not None
        ]

    def _view(self) -> str | None:
        if self.view is None:
            return None
        return f"CREATE VIEW app.v AS SELECT {', '.join(self.view)} FROM app.items"

    def _above(self) -> str | None:
        if self.view is None or not self.above:
            return None
        shown = self.view[0].split(" AS ")[-1]
        return f"CREATE VIEW app.above AS SELECT {shown} AS shown FROM app.v"

    def _functions(self) -> list[str]:
        if self.function is None:
            return []
        made = (
            "CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql "
            f"AS $f$BEGIN {self.function} RETURN NEW; END$f$"
        )
        if self.trigger is None:
            return [made]
        return [
            made,
            f"CREATE TRIGGER touch {self.trigger} ON app.items FOR EACH ROW "
            "EXECUTE FUNCTION app.touch()",
        ]

    def _rights(self) -> list[str]:
        found = []
        if self.policy is not None:
            found.append(f"CREATE POLICY visible ON app.items USING ({self.policy})")
        if self.summary is not None:
            found.append(f"CREATE MATERIALIZED VIEW app.m AS {self.summary}")
            found.append("CREATE UNIQUE INDEX m_key ON app.m (status)")
        return found


_NOTES: dict[str, Callable[[], object]] = {
    "text": Text,
    "short": partial(String, 20),
    "long": partial(String, 200),
}
_PRICES: dict[str, Callable[[], object]] = {
    "narrow": partial(Numeric, 10, 2),
    "wide": partial(Numeric, 14, 2),
    "scaled": partial(Numeric, 14, 4),
    "free": Numeric,
    "whole": Integer,
}
_SHOWN = st.lists(
    st.sampled_from(["id", "label", "price", "status", "price * 2 AS twice"]),
    min_size=1,
    max_size=4,
    unique=True,
).map(tuple)


def maybe(*values: str) -> st.SearchStrategy[str | None]:
    """One of some texts, or nothing."""
    return st.sampled_from([None, *values])


STATES = st.builds(
    State,
    note=maybe(*_NOTES),
    price=st.sampled_from(sorted(_PRICES)),
    doubled=maybe("price * 2", "price * 3"),
    labels=st.none()
    | st.lists(st.sampled_from(LABELS), max_size=3, unique=True)
    .flatmap(lambda chosen: st.permutations(["sad", *chosen]))
    .map(tuple),
    check=maybe("quantity > 0", "quantity > 0 AND label <> ':x'", "price >= 0"),
    unique=st.booleans(),
    index=maybe("lower(label)", "label DESC", "price"),
    view=st.none() | _SHOWN,
    above=st.booleans(),
    function=maybe("RAISE DEBUG '% :x', NEW;", "NEW.status := 'a\\b''c';"),
    trigger=maybe("BEFORE INSERT", "AFTER UPDATE OF label", "BEFORE UPDATE"),
    policy=maybe("quantity > 0", "price > 0"),
    orders=maybe("CASCADE", "SET NULL"),
    comment=maybe("Things: 100 %.", "Other things."),
    summary=maybe(
        "SELECT status, count(*) AS n FROM app.items GROUP BY 1",
        "SELECT status, sum(price) AS n FROM app.items GROUP BY 1",
    ),
)


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(states=st.lists(STATES, min_size=2, max_size=4))
def test_sequence(states: Sequence[State], make_database: Callable[[], str]) -> None:
    """Whatever follows whatever: each migration converges, keeps the keys, and leads back."""
    workshop = Workshop(create_engine(make_database(), poolclass=NullPool))
    drafts = []
    seen = []
    for number, state in enumerate(states):
        seen.append(workshop.state())
        drafts.append(workshop.draft(state.metadata()))
        workshop.upgrade(drafts[-1])
        assert workshop.draft(state.metadata()).steps == []
        if number == 0:
            _fill(workshop.engine)
        assert [row[0] for row in workshop.rows()] == list(range(1, 51))
    for number, draft in reversed(list(enumerate(drafts))):
        workshop.downgrade(draft)
        assert workshop.state() == seen[number]


def _fill(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(ROWS)
