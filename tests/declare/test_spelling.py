"""Whatever a declaration is given that it cannot take is refused by name, with the way out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from sqlalchemy import MetaData

import pgflow
from pgflow import checks
from pgflow.declare.spelling import _PLACES
from pgflow.errors import DeclarationError, InvalidOption, NoModules
from pgflow.types import BigInt, Text


def table(**options: Any) -> type:
    """A class under `@pgflow.table`, on a MetaData of its own."""

    @pgflow.table(**{"schema": "w", "metadata": MetaData()} | options)
    class T:
        id: Annotated[BigInt, pgflow.pk()]
        v: Text | None

    return T


def pipeline(**options: Any) -> pgflow.Pipeline:
    """A pipeline of a function that is never called."""
    given = {"target": table(), "mode": "merge", "name": "p"} | options
    return pgflow.pipeline(**given)(lambda conn: "SELECT 1 AS id")


def make(*bases: type, **attributes: Any) -> Any:
    """A class under `@pgflow.table` with attributes that annotations cannot give."""
    body = {"__annotations__": {"id": BigInt}, **attributes}
    return pgflow.table(schema="w", metadata=MetaData())(type("T", bases, body))


@pytest.mark.parametrize(
    ("misspelt", "sentence"),
    [
        (lambda: table(nmae="x"), "nmae= is no option of a table .* Did you mean 'name'?"),
        (lambda: table(tag="x"), "Did you mean 'tags', an option of @pgflow.pipeline?"),
        (lambda: table(schedule="x"), "schedule= is an option of @pgflow.pipeline"),
        (lambda: pipeline(tag="x"), "'p': unknown option 'tag'. Did you mean 'tags'?"),
        (lambda: pipeline(shedule="x"), "unknown option 'shedule'. Did you mean 'schedule'?"),
        (lambda: pipeline(schema="x"), "schema= is an option of @pgflow.table"),
        (lambda: pipeline(base="x"), "base= is an option of @pgflow.table"),
        (lambda: pipeline(zzz=1), "unknown option 'zzz'. It takes: name, target, targets, source"),
        (lambda: pgflow.target(table(), keyz=1), r"target\(\) takes no keyz=. Did you mean 'keys'"),
        (lambda: pgflow.target(table(), connection="x"), "Did you mean 'target_connection'?"),
        (lambda: pgflow.target(table(), tags="x"), "tags= is an option of @pgflow.pipeline"),
        (lambda: pgflow.register_table(metdata=1), "takes no metdata=. Did you mean 'metadata'?"),
        (lambda: pgflow.pk(autoincremnt=True), "pk.* Did you mean 'autoincrement'?"),
        (lambda: pgflow.Query("SELECT 1", param={}), "Query.* Did you mean 'params'?"),
        (lambda: pgflow.CSV("x", delimitr=";"), "CSV.* Did you mean 'delimiter'?"),
        (lambda: pgflow.Schedule("* * * * *", retry=3), "Schedule.* Did you mean 'retries'?"),
        (lambda: pgflow.Config(plugin=[]), "Config.* Did you mean 'plugins'?"),
        (lambda: pgflow.Index("i", "a", unigue=True), "Index.* Did you mean 'unique'?"),
        (lambda: checks.NotNull("a", quarantin=True), "Did you mean 'quarantine'?"),
        (lambda: pgflow.Check(), r"Check\(\): missing a required argument: 'expression'"),
        (lambda: pgflow.pipeline(lambda conn: ""), "parentheses and options: @pgflow.pipeline"),
        (lambda: pgflow.pipeline("name"), r"pipeline\(\): too many positional arguments"),
    ],
)
def test_a_misspelt_option_has_the_nearest_one(
    misspelt: Callable[[], object], sentence: str
) -> None:
    """Also an option that stands in the wrong declaration says where it belongs."""
    with pytest.raises(DeclarationError, match=sentence.replace("?", r"\?").replace("= ", "= ?")):
        misspelt()


def test_options_of_one_declaration_are_named_as_they_are() -> None:
    """What is told to belong elsewhere is taken there."""
    for name, function in (("@pgflow.table", pgflow.table), ("@pgflow.pipeline", pgflow.pipeline)):
        assert set(_PLACES[name]) <= set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: pgflow.table("x"), "a table is declared by a class, not by 'x'"),
        (lambda: pgflow.table(schema="w")(print), "a table is declared by a class, not by <built"),
        (lambda: table(base=3), "base=3 is no DeclarativeBase of SQLAlchemy"),
        (lambda: table(config=3), "config=3 is no configuration: give a pgflow.Config"),
        (lambda: table(system_columns="x"), "system_columns='x' must be a dictionary"),
        (lambda: table(mode=[1]), r"mode \[1\] is unknown"),
        (lambda: table(plugins=3), "plugins is 3: give a list of plugins"),
        (lambda: make(__merge_keys__=3), "T: __merge_keys__: 3 is no list"),
        (lambda: make(__unique_constraints__=[1]), "one sequence of columns for each"),
        (lambda: make(__table_items__=3), "T: __table_items__: 3 is no list"),
        (lambda: make(__table_args__=3), "T: __table_args__: 3 is no list"),
        (lambda: make(__annotations__={"id": ""}), "T.id: the annotation '' cannot be evaluated"),
        (lambda: pipeline(target="w.t"), "pipeline 'p': its target 'w.t' is no table"),
        (lambda: pipeline(target=object), "pipeline 'p': its target <class 'object'> is no table"),
        (lambda: pgflow.target(pgflow.target(table())), r"say all of its options in one call"),
        (lambda: pipeline(keys=3), "'p': keys=3 must be a sequence of names"),
        (lambda: pipeline(keys=[1]), "'p': keys= names 1, which is no column's name"),
        (lambda: pipeline(order_by=3), "'p': order_by= names 3, which is no column's name"),
        (lambda: pipeline(lookback=-1, incremental_column="v"), "lookback=-1 is no distance"),
        (lambda: pipeline(keep_confirmations="x"), "keep_confirmations='x' must be True or False"),
        (lambda: pipeline(tags=3), r"'p': tags=3 must be a list of names: tags=\['daily'\]"),
        (lambda: pipeline(continue_on_failure="x"), "continue_on_failure='x' must be True or F"),
        (lambda: pipeline(config=3), "'p': config=3 is no configuration"),
        (lambda: pgflow.pk(autoincrement="x"), r"pk\(autoincrement='x'\) must be True or False"),
        (lambda: pgflow.Query("SELECT 1", 3), r"Query\(params=\): 3 is no dictionary"),
        (lambda: pgflow.SourceTable("a.b", {"a": 1}), "column_map=: 1 is no text"),
        (lambda: pgflow.Rows([], columns=3), r"Rows\(columns=\): 3 is no list"),
        (lambda: pgflow.CSV("x", delimiter=3), r"CSV\(delimiter=\): 3 is no text"),
        (lambda: pgflow.CSV("x", header="x"), r"CSV\(header='x'\) must be True or False"),
        (lambda: pgflow.CSV("x", time_zone=3), "time_zone=3 is no time zone"),
        (lambda: pgflow.CSV(""), r"CSV\(\) takes a path, a pattern, or a list of them, not ''"),
        (lambda: pgflow.Config(plugins=3), r"Config\(plugins=\): 3 is no list"),
        (lambda: pgflow.create_all("x"), r"create_all\(\) takes a MetaData, such as .*not 'x'"),
    ],
)
def test_a_wrong_kind_of_value_is_named(wrong: Callable[[], object], sentence: str) -> None:
    """No mistake ends in an error from deep inside."""
    with pytest.raises((DeclarationError, pgflow.PgflowError), match=sentence):
        wrong()


def test_modules_are_named_and_not_given() -> None:
    """sync_all() takes names; a pipeline has a sync() of its own."""
    with pytest.raises(NoModules, match="<Pipeline 'p' -> w.t> is no name of a module. Give names"):
        pgflow.sync_all([pipeline()])


def test_a_table_is_listed_once() -> None:
    """The same part of one table twice would do nothing; other parts and databases may be."""
    one = table()
    with pytest.raises(InvalidOption, match="'p': targets= lists w.t twice on one connection"):
        pipeline(target=None, targets=[one, pgflow.target(one, update_columns=["v"])])
    for option in ("scope", "target_connection"):
        both = [pgflow.target(one, **{option: each}) for each in ("id = 1", "id = 2")]
        assert len(pipeline(target=None, targets=both).sync_targets) == 2


def test_an_error_for_duplicates_can_be_said() -> None:
    """`on_duplicate="error"` is what happens anyway; nearer, it wins over a table's choice."""
    lenient = table(on_duplicate="last", order_by="v")
    assert pipeline(target=lenient).spec.targets[0].options.on_duplicate == "last"
    strict = pipeline(target=pgflow.target(lenient, on_duplicate="error"))
    assert strict.spec.targets[0].options.on_duplicate is None
    assert pipeline(on_duplicate="error").spec.targets[0].options.order_by is None
