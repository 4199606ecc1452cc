"""Steps as lines of a migration file: what a reader sees."""

from __future__ import annotations

import ast

import pytest

from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.operations import StepOp, grouped, operations
from pgflow.alembic.rendering import indented, step_lines
from pgflow.alembic.settings import MigrationSettings
from pgflow.alembic.statement import Hazard, Statement
from pgflow.alembic.step import Action, Migration, Step

SETTINGS = MigrationSettings(online_lock_timeout="3min", online_statement_timeout="2h")


def step(title: str, *statements: Statement | str, action: Action = "create") -> Step:
    """Make a step about something."""
    made = tuple(Statement(each) if isinstance(each, str) else each for each in statements)
    return Step(EntityIdentifier("app", title, kind="view"), action, title, made)


def lines(*steps: Step) -> str:
    """Write steps."""
    return "\n".join(step_lines(steps, SETTINGS))


def test_a_step_has_its_title_and_its_hazards_above() -> None:
    """A reader sees what a step does, and what that does to a database in use."""
    rewriting = Statement("ALTER ...", (Hazard.REWRITES, Hazard.EXCLUSIVE))
    assert lines(step("Change it", rewriting, Statement("COMMENT ...", (Hazard.EXCLUSIVE,)))) == (
        "# Change it\n"
        "# rewrites the table, takes ACCESS EXCLUSIVE\n"
        'op.execute("ALTER ...")\n'
        'op.execute("COMMENT ...")'
    )


def test_statements_outside_a_transaction_share_a_block_with_timeouts_of_its_own() -> None:
    """Neighbours that need autocommit stand in one block, whose timeouts end with it."""
    one, two = (Statement(f"CREATE INDEX CONCURRENTLY {name}", autocommit=True) for name in "ab")
    assert lines(
        step("Before", "SELECT 1"), step("A", one), step("B", two), step("C", "SELECT 2")
    ) == (
        "# Before\n"
        'op.execute("SELECT 1")\n'
        "# Outside the transaction: each statement is kept when it is done.\n"
        "with op.get_context().autocommit_block():\n"
        "    op.execute(\"SET statement_timeout = '2h'\")\n"
        "    op.execute(\"SET lock_timeout = '3min'\")\n"
        "    # A\n"
        '    op.execute("CREATE INDEX CONCURRENTLY a")\n'
        "    # B\n"
        '    op.execute("CREATE INDEX CONCURRENTLY b")\n'
        '    op.execute("RESET lock_timeout")\n'
        '    op.execute("RESET statement_timeout")\n'
        "# C\n"
        'op.execute("SELECT 2")'
    )


def test_a_title_cannot_break_out_of_its_comment() -> None:
    """A name with a line break in it stays in the comment."""
    assert lines(step("Drop x\nimport os", "SELECT 1")).startswith("# Drop x\\nimport os\nop.")


def test_a_long_statement_in_a_block_is_indented_with_it() -> None:
    """Code and free statements move to the right, bodies stay."""
    free = "CREATE INDEX CONCURRENTLY some_long_name\nON app.some_table (a)"
    bound = "SELECT 'a\nb'"
    found = step("I", Statement(free, autocommit=True), Statement(bound, autocommit=True))
    written = f"def upgrade():\n    {indented(lines(found))}\n"
    ast.parse(written)
    assert '\n            """\n            CREATE INDEX CONCURRENTLY' in written
    assert '("""SELECT \'a\nb\'""")' in written


def test_the_way_back_is_the_planned_one_whoever_reverses() -> None:
    """Alembic's reversal of all operations gives the planned steps in their order, each once."""
    up = tuple(step(title, "SELECT 1") for title in ("a", "b", "c"))
    down = tuple(step(title, "SELECT 2", action="drop") for title in ("x", "y"))
    made = operations(Migration(up, down), SETTINGS)
    back = [each for operation in reversed(made) for each in operation.reverse().steps]
    assert (tuple(o.step for o in made), tuple(back)) == (up, down)


def test_a_difference_is_a_readable_pair() -> None:
    """`alembic check` shows what happens to what."""
    one = step("v", "SELECT 1")
    assert StepOp(one, SETTINGS).to_diff_tuple() == ("create", "view app.v")
    outside = step("w", Statement("SELECT 2", autocommit=True), action="drop")
    (group,) = grouped([outside, outside], SETTINGS)
    assert [each.to_diff_tuple() for each in group.ops] == [("drop", "view app.w")] * 2


@pytest.mark.parametrize("source", ["x = (", "  y"])
def test_what_is_no_python_is_left_to_alembic(source: str) -> None:
    """Another renderer's half lines are indented as Alembic does it."""
    assert indented(source) == source.strip()
