"""A migration becomes files of which each is done or not done."""

from __future__ import annotations

import pytest

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.parting import Leaf, parted
from pgflow.alembic.repetition import Repetition
from pgflow.alembic.statement import Statement
from pgflow.alembic.step import Action, Step

BUILD = "CREATE INDEX CONCURRENTLY IF NOT EXISTS {0} ON app.t (a)"
DROP = "DROP INDEX CONCURRENTLY IF EXISTS app.{0}"


def inside(name: str, action: Action = "create", kind: str = "view") -> Step:
    """Make a step that has a transaction."""
    return _step(name, action, kind, Statement(f"CREATE VIEW app.{name} AS SELECT 1"))


def outside(name: str, action: Action = "create", *more: str) -> Step:
    """Make a step that has none."""
    sql = (BUILD if action == "create" else DROP).format(name)
    later = (Statement(each) for each in more)
    return _step(name, action, "index", Statement(sql, autocommit=True), *later)


def value(name: str) -> Step:
    """Make a step that adds a value to an enum."""
    sql = f"ALTER TYPE app.{name} ADD VALUE IF NOT EXISTS 'x'"
    return _step(name, "alter", "enum", Statement(sql, autocommit=True))


def _step(name: str, action: Action, kind: str, *statements: Statement) -> Step:
    return Step(EntityIdentifier("app", name, kind=kind), action, f"{action} {name}", statements)


def titles(leaves: list[Leaf]) -> list[tuple[str, str, bool]]:
    """Write files as their steps' titles."""
    return [
        (
            ", ".join(step.title for step in leaf.upgrade),
            ", ".join(step.title for step in leaf.downgrade),
            leaf.is_main,
        )
        for leaf in leaves
    ]


def test_one_transaction_is_one_file() -> None:
    """What fits into a transaction stays together."""
    leaves = parted([inside("v"), inside("w")], [inside("w", "drop"), inside("v", "drop")])
    assert titles(leaves) == [("create v, create w", "drop w, drop v", True)]


def test_nothing_is_no_file() -> None:
    """Without steps there is nothing to arrange."""
    assert parted([], []) == []


def test_what_needs_no_transaction_comes_after_and_is_taken_back_before() -> None:
    """An index follows in its own file, whose way back drops it."""
    leaves = parted([inside("v"), outside("i")], [outside("i", "drop"), inside("v", "drop")])
    assert titles(leaves) == [
        ("create v", "drop v", True),
        ("create i", "drop i", False),
    ]


def test_both_ways_may_need_no_transaction() -> None:
    """What is dropped without a transaction goes with what made it, wherever it stood."""
    leaves = parted([inside("v"), outside("i")], [inside("v", "drop"), outside("i", "drop")])
    assert titles(leaves) == [("create v", "drop v", True), ("create i", "drop i", False)]


def test_what_is_rebuilt_on_the_way_back_was_dropped_in_a_file_before() -> None:
    """An index that only the downgrade has to build is dropped in a file of its own, first."""
    there = [inside("i", "drop", "index"), inside("v")]
    back = [inside("v", "drop"), outside("i")]
    assert titles(parted(there, back)) == [
        ("drop i", "create i", False),
        ("create v", "drop v", True),
    ]


def test_an_index_that_changes_does_so_around_the_rest() -> None:
    """Both builds of a changed index are apart from the transaction, each with its drop."""
    there = [inside("i", "drop", "index"), inside("v"), outside("i")]
    back = [inside("i", "drop", "index"), inside("v", "drop"), outside("i")]
    assert titles(parted(there, back)) == [
        ("drop i", "create i", False),
        ("create v", "drop v", True),
        ("create i", "drop i", False),
    ]


def test_new_values_stay_before_what_uses_them() -> None:
    """Values of enums can be added again, so that they need no file of their own."""
    leaves = parted([value("mood"), inside("v")], [inside("v", "drop")])
    assert titles(leaves) == [("alter mood, create v", "drop v", True)]


def default(name: str) -> Step:
    """Make a step that could be done twice, but for which readers and writers have to wait."""
    sql = f"ALTER TABLE app.t ALTER COLUMN {name} SET DEFAULT 'x'"
    return _step(name, "alter", "default", Statement(sql))


def said(name: str) -> Step:
    """Make a step for which nobody has to wait."""
    return _step(name, "alter", "table", Statement(f"COMMENT ON TABLE app.{name} IS 'x'"))


def test_only_what_must_leaves_the_transaction() -> None:
    """What uses a new value has a transaction, though it could be done twice."""
    (leaf,) = parted([value("mood"), said("t"), default("a"), inside("v")], [])
    outside_it = [any(each.autocommit for each in step.statements) for step in leaf.upgrade]
    assert outside_it == [True, False, False, False]
    (leaf,) = parted([value("mood"), said("t")], [])
    assert [step.statements[0].autocommit for step in leaf.upgrade] == [True, False]
    (leaf,) = parted([value("mood"), said("t"), value("state")], [])
    assert all(step.statements[0].autocommit for step in leaf.upgrade)


def test_what_others_wait_for_stands_in_a_transaction_before_an_index() -> None:
    """Between a new value and an index it ends the file."""
    leaves = parted([value("mood"), default("a"), outside("i")], [])
    assert titles(leaves) == [("alter mood, alter a", "", True), ("create i", "", False)]
    assert not leaves[0].upgrade[1].statements[0].autocommit


def test_a_transaction_that_cannot_be_repeated_ends_its_file() -> None:
    """What follows a constraint on a new index has a file of its own."""
    using = "ALTER TABLE app.t ADD CONSTRAINT a UNIQUE USING INDEX a"
    there = [outside("a", "create", using), outside("b"), outside("c")]
    assert titles(parted(there, [])) == [("create a", "", True), ("create b, create c", "", False)]


def test_comments_go_along_without_a_transaction() -> None:
    """What can be repeated does not part the statements around it."""
    comment = "COMMENT ON INDEX app.a IS '[pgflow]'"
    there = [outside("a", "create", comment), outside("b", "create", comment)]
    (leaf,) = parted(there, [])
    assert all(each.autocommit for step in leaf.upgrade for each in step.statements)


def test_no_step_is_lost() -> None:
    """Every step stands in one file, there and back."""
    there = [inside("i", "drop", "index"), value("m"), inside("v"), outside("j"), outside("i")]
    back = [inside("j", "drop", "index"), inside("v", "drop"), outside("i"), outside("k")]
    leaves = parted(there, back)
    assert sorted(s.title for leaf in leaves for s in leaf.upgrade) == sorted(
        s.title for s in there
    )
    assert sorted(s.title for leaf in leaves for s in leaf.downgrade) == sorted(
        s.title for s in back
    )


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        (["SET lock_timeout = '5s'"], True),
        (["SELECT relname FROM pg_class WHERE oid = %(x)s::INTEGER AND a LIKE '50%%'"], True),
        (["SELECT nextval('s')"], False),
        (["SELECT 1 INTO t"], False),
        (["INSERT INTO t VALUES (1)"], False),
        (["CREATE INDEX CONCURRENTLY i ON t (a)"], False),
        ([BUILD.format("i")], True),
        ([DROP.format("i")], True),
        (["DROP INDEX i"], False),
        (["ALTER TYPE m ADD VALUE 'x'"], False),
        (["ALTER TYPE m ADD VALUE IF NOT EXISTS 'x'"], True),
        (["ALTER TABLE t VALIDATE CONSTRAINT c"], True),
        (["ALTER TABLE t ALTER a SET NOT NULL"], True),
        (["ALTER TABLE t ADD COLUMN a int"], False),
        (["ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)"], False),
        (
            [
                "ALTER TABLE t DROP CONSTRAINT IF EXISTS c",
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
                "ALTER TABLE t DROP CONSTRAINT c",
            ],
            True,
        ),
        (["no SQL"], False),
    ],
)
def test_what_can_be_repeated(statements: list[str], allowed: bool) -> None:
    """Only what is plainly without further effect counts as repeatable."""
    repetition = Repetition()
    answers = [repetition.allows(each) for each in statements]
    assert all(answers) is allowed
