"""Every form in which a pipeline can be written: signatures, returns, defaults, both styles."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
import sqlalchemy as sa

import pgflow
from pgflow import natural_key, pk
from pgflow.errors import InvalidBody
from pgflow.types import BigInt, Boolean, Date, Numeric, Text, TimestampTZ

SELECT = "SELECT id, a, b FROM w.s"

SIGNATURES: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {}


def _signature(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    SIGNATURES[function.__name__] = function
    return function


@_signature
def no_connection(give: Any) -> Any:
    def feed() -> Any:
        return give()

    return feed


@_signature
def one_connection(give: Any) -> Any:
    def feed(conn: Any) -> Any:
        return give(conn)

    return feed


@_signature
def two_connections(give: Any) -> Any:
    def feed(src_conn: Any, tgt_conn: Any) -> Any:
        return give(src_conn, tgt_conn)

    return feed


@_signature
def async_no_connection(give: Any) -> Any:
    async def feed() -> Any:
        return give()

    return feed


@_signature
def async_one_connection(give: Any) -> Any:
    async def feed(conn: Any) -> Any:
        return give(conn)

    return feed


@_signature
def async_two_connections(give: Any) -> Any:
    async def feed(src_conn: Any, tgt_conn: Any) -> Any:
        return give(src_conn, tgt_conn)

    return feed


def _did_it(*connections: Any) -> dict[str, int]:
    """What a function returns that fills the target itself, if it has a connection."""
    for live in connections[-1:]:
        live.exec_driver_sql('INSERT INTO w."dict" (id, a, b) SELECT id, a, b FROM w.s')
    return {"inserted": 2 if connections else 0}


RETURNS: dict[str, Callable[..., Any]] = {
    "str": lambda *_: SELECT,
    "Query": lambda *_: pgflow.Query(SELECT),
    "bound Query": lambda *live: pgflow.Query(SELECT, connection=live[0] if live else None),
    "SourceTable": lambda *_: pgflow.SourceTable("w.s"),
    "dict": _did_it,
    "None": lambda *_: None,
}


@pytest.mark.parametrize("signature", SIGNATURES)
def test_every_signature_may_return_everything(world: Any, signature: str) -> None:
    """def and async def, with no, one and two connections, and each kind of return value."""
    pipelines = {
        returns: pgflow.pipeline(
            target=world.table(returns),
            mode="merge",
            connection=world.engine,
            source_table="w.s" if returns == "None" else None,
        )(SIGNATURES[signature](give))
        for returns, give in RETURNS.items()
    }
    pgflow.create_all(world.metadata, connection=world.engine)
    world.fill((1, "a", 1), (2, "b", 2))
    for returns, pipeline in pipelines.items():
        rows = 0 if returns == "dict" and "no_connection" in signature else 2
        assert pipeline.preview().ok
        assert pipeline.dry_run().inserted == rows
        assert world.run(f'SELECT count(*) FROM w."{returns}"') == [(0,)]
        assert pipeline.sync().inserted == rows
        assert world.run(f'SELECT count(*) FROM w."{returns}"') == [(rows,)]


def test_every_signature_without_a_source_is_told_so(world: Any) -> None:
    """None, and no source_table: the pipeline has no source declaration."""
    table = world.table()
    pipelines = [
        pgflow.pipeline(target=table, mode="merge", connection=world.engine)(make(lambda *_: None))
        for make in SIGNATURES.values()
    ]
    pgflow.create_all(world.metadata, connection=world.engine)
    for pipeline in pipelines:
        with pytest.raises(InvalidBody, match=r"pipeline 'feed' has no source declaration"):
            pipeline.sync()
        assert not pipeline.preview().ok


@pytest.mark.parametrize("signature", ["two_connections", "async_two_connections"])
def test_a_source_is_bound_to_either_end(world: Any, far: Any, signature: str) -> None:
    """Query(connection=) takes the function's own connections, the target's among them."""
    far.fill((1, "far", 1))
    world.fill((2, "here", 1))
    table = world.table()
    for end, found in ((0, "far"), (1, "here")):
        give = (lambda e: lambda *live: pgflow.Query(SELECT, connection=live[e]))(end)
        pipeline = pgflow.pipeline(
            target=table,
            mode="merge",
            name=f"from_{found}",
            source_connection=far.engine,
            target_connection=world.engine,
        )(SIGNATURES[signature](give))
        pgflow.create_all(world.metadata, connection=world.engine)
        assert pipeline.sync().inserted == 1
        assert (found,) in world.run("SELECT a FROM w.t")


# -- defaults of the table ------------------------------------------------------------


def test_defaults_of_the_table_serve_its_pipelines(world: Any) -> None:
    """mode=, event_timestamp_column=, ttl= on the table are the pipeline's, until it says more."""

    @pgflow.table(
        schema="w",
        metadata=world.metadata,
        mode="scd2",
        event_timestamp_column="u",
        ttl=timedelta(days=7),
        compare_columns=("a",),
    )
    class Kept:
        id: Annotated[BigInt, pk()]
        a: Text | None
        b: Numeric[10, 2] | None
        u: TimestampTZ

    @pgflow.pipeline(target=Kept, connection=world.engine)
    def plain(conn: Any) -> str:
        return "SELECT id, a, b, u FROM w.s"

    @pgflow.pipeline(target=Kept, connection=world.engine, compare_columns=("b",))
    def closer(conn: Any) -> str:
        return "SELECT id, a, b, u FROM w.s"

    target = pgflow.Pipeline(
        "closest",
        targets=[pgflow.target(Kept, compare_columns=("a", "b"))],
        source="SELECT id, a, b, u FROM w.s",
        connection=world.engine,
        ttl=timedelta(days=1),
    )
    told = [each.spec.targets[0].options for each in (plain, closer, target)]
    assert [o.mode for o in told] == ["scd2"] * 3
    assert [o.event_timestamp_column for o in told] == ["u"] * 3
    assert [o.ttl for o in told] == [timedelta(days=7), timedelta(days=7), timedelta(days=1)]
    assert [o.compare_columns for o in told] == [("a",), ("b",), ("a", "b")]
    pgflow.create_all(world.metadata, connection=world.engine)
    world.run("INSERT INTO w.s VALUES (1, 'a', 1, '2024-01-01Z'), (1, 'a', 2, '2024-01-02Z')")
    assert plain.sync().inserted == 1
    assert closer.sync().inserted == 1


# -- natural keys ---------------------------------------------------------------------


def _with_natural_key(metadata: sa.MetaData) -> Any:
    @pgflow.table(schema="w", metadata=metadata)
    class T:
        id: Annotated[BigInt, pk(autoincrement=True)]
        country: Annotated[Text, natural_key("place")]
        code: Annotated[Text, natural_key("place")]
        legacy: Annotated[Text | None, natural_key("legacy")]

    return T


def test_a_natural_key_that_differs_from_the_pk_is_said_once_a_run(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """However many rows there are, each run says it once, naming the pipeline and both keys."""
    pipeline = pgflow.Pipeline(
        "places",
        target=_with_natural_key(world.metadata),
        source="SELECT 'de' AS country, i::text AS code FROM generate_series(1, 50) AS i",
        mode="merge",
        connection=world.engine,
    )
    pgflow.create_all(world.metadata, connection=world.engine)
    with caplog.at_level(logging.WARNING, "pgflow"):
        results = [pipeline.sync(), pipeline.sync()]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    for result, line in zip(results, said, strict=True):
        (warning,) = result.targets[0].warnings
        assert line.endswith(f"places -> w.t: {warning}")
        assert warning == (
            "merge key resolved to (country, code) from natural_key('place'), which differs from "
            "the declared primary key (id). Pass keys= explicitly to silence this warning."
        )
    assert results[0].inserted == 50


@pytest.mark.parametrize(
    "said", [{"keys": ("country", "code")}, {}], ids=["keys", "the same columns"]
)
def test_nothing_is_said_where_there_is_nothing_to_say(world: Any, said: dict[str, Any]) -> None:
    """keys= silences the warning; one key in another order is no other key."""

    @pgflow.table(schema="w", metadata=world.metadata)
    class Same:
        country: Annotated[Text, pk()]
        code: Annotated[Text, pk()]
        __unique_constraints__ = (("code", "country"),)

    target = _with_natural_key(world.metadata) if said else Same
    pipeline = pgflow.Pipeline(
        "p", target=target, source="SELECT 1", mode="merge", connection=world.engine, **said
    )
    assert pipeline.ctx["merge_keys"].warning == ""


# -- both styles ----------------------------------------------------------------------

FEATURES = """
    SELECT user_id, date_trunc('day', event_ts)::date AS period_start,
           sum(amount) AS total_spend, count(*) AS order_count,
           bool_or(is_sub) AS is_subscriber, max(event_ts) AS last_event_ts
    FROM w.purchases GROUP BY 1, 2
"""


def _declarative(metadata: sa.MetaData, engine: sa.Engine) -> pgflow.Pipeline:
    @pgflow.table(schema="w", name="user_purchase_features_v1", metadata=metadata)
    class UserPurchaseFeatures:
        user_id: Annotated[BigInt, pk()]
        period_start: Annotated[Date, pk()]
        total_spend: Numeric[12, 2] | None
        order_count: BigInt | None
        is_subscriber: Boolean
        last_event_ts: TimestampTZ

    @pgflow.pipeline(
        target=UserPurchaseFeatures,
        schedule="0 */6 * * *",
        mode="scd2",
        event_timestamp_column="last_event_ts",
        connection=engine,
    )
    def sync_user_purchase_features(conn: Any) -> str:
        return FEATURES

    return sync_user_purchase_features


def _imperative(metadata: sa.MetaData, engine: sa.Engine) -> pgflow.Pipeline:
    class UserPurchaseFeatures:
        __schema__ = "w"
        __tablename__ = "user_purchase_features_v1"
        user_id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
        period_start = sa.Column(sa.Date, primary_key=True)
        total_spend = sa.Column(sa.Numeric(12, 2))
        order_count = sa.Column(sa.BigInteger)
        is_subscriber = sa.Column(sa.Boolean, nullable=False)
        last_event_ts = sa.Column(sa.DateTime(timezone=True), nullable=False)

    return pgflow.Pipeline(
        "sync_user_purchase_features",
        target=pgflow.table(metadata=metadata)(UserPurchaseFeatures),
        source=FEATURES,
        schedule="0 */6 * * *",
        mode="scd2",
        event_timestamp_column="last_event_ts",
        connection=engine,
    )


def test_both_styles_are_one_pipeline(world: Any) -> None:
    """The decorators and the imperative form give the same spec, plan and preview, to the byte."""
    world.run(
        "CREATE TABLE w.purchases (user_id bigint, event_ts timestamptz, amount numeric,"
        " is_sub boolean)"
    )
    ours = _declarative(world.metadata, world.engine)
    theirs = _imperative(sa.MetaData(), world.engine)
    pgflow.create_all(world.metadata, connection=world.engine)
    specs = [pgflow.TableFactory.of(each.spec.targets[0].table).spec for each in (ours, theirs)]
    assert specs[0] == specs[1]
    described = [each.spec.describe() | {"source": None} for each in (ours, theirs)]
    assert described[0] == described[1]
    assert str(ours.plan()) == str(theirs.plan())
    assert ours.preview().to_json() == theirs.preview().to_json()
    decisions = json.loads(ours.preview().to_json())["targets"][0]["decisions"]
    assert decisions["merge key"]["value"] == ["user_id", "period_start"]
    assert decisions["compared"]["value"] == ["total_spend", "order_count", "is_subscriber"]
