"""Prices with their history: what changed, what went away, what came back."""

from datetime import UTC, datetime
from typing import Annotated

from sqlalchemy import Connection, select, text

import pgflow
from pgflow import pk
from pgflow.types import Numeric, Text


@pgflow.table(schema="price_history")
class Price:
    article: Annotated[Text, pk()]
    price: Numeric[8, 2]


@pgflow.pipeline(target=Price, mode="scd2", handle_deletes="soft")
def prices():
    """The shop's price list; an article that is no longer listed ends its version."""
    return "SELECT article, price FROM price_history.shop_list"


def price_on(connection: Connection, article: str, at: datetime):
    """Return what an article cost at an instant, or None if it was not for sale."""
    price = Price.__table__.c
    valid = (price.valid_from <= at) & (price.valid_to.is_(None) | (price.valid_to > at))
    query = select(price.price).where(price.article == article, valid)
    return connection.execute(query).scalar()


def change(statement: str) -> None:
    """Let something happen in the shop."""
    with pgflow.engine().begin() as connection:
        connection.execute(text(statement))


def march(day: int) -> datetime:
    return datetime(2024, 3, day, tzinfo=UTC)


def main() -> None:
    change("DROP SCHEMA IF EXISTS price_history CASCADE")
    change("CREATE SCHEMA price_history")
    change("CREATE TABLE price_history.shop_list (article text PRIMARY KEY, price numeric)")
    pgflow.create_all(pgflow.metadata)

    change("INSERT INTO price_history.shop_list VALUES ('tea', 3.50), ('cup', 8.00)")
    print(prices.sync(effective_at=march(1)))

    change("UPDATE price_history.shop_list SET price = 3.90 WHERE article = 'tea'")
    change("DELETE FROM price_history.shop_list WHERE article = 'cup'")
    print(prices.sync(effective_at=march(10)))

    change("INSERT INTO price_history.shop_list VALUES ('cup', 9.00)")
    print(prices.sync(effective_at=march(20)))

    with pgflow.connect() as connection:
        for day in (5, 15, 25):
            tea, cup = (price_on(connection, article, march(day)) for article in ("tea", "cup"))
            print(f"{march(day):%d %B}: tea {tea}, cup {cup or 'not for sale'}")


if __name__ == "__main__":
    main()
