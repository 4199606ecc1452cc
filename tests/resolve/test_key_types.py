"""What a type checker knows about keys and contexts."""

from pathlib import Path

from mypy import api

CODE = """
from pgflow.resolve.context import FactoryContext
from pgflow.resolve.keys import COLUMNS, CREATED_AT, PK, TABLE, Key
from pgflow.resolve.plugin import Plugin, produces, requires, singleton

NAMES: Key[tuple[str, ...]] = Key("names", tuple)

@singleton("__x__")
@produces("x", NAMES)
@requires(PK)
class Mine(Plugin):
    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, ctx: FactoryContext) -> None:
        reveal_type(ctx[PK])
        reveal_type(ctx[TABLE])
        reveal_type(ctx[COLUMNS])
        reveal_type(ctx[NAMES])
        reveal_type(ctx["x"])
        reveal_type(ctx.get(CREATED_AT))
        reveal_type(ctx.get(CREATED_AT, 3))
        ctx[PK].nonsense

reveal_type(Mine(3))
"""


def test_reading_by_a_key_is_typed(tmp_path: Path) -> None:
    """`ctx[KEY]` has the key's type, a plain string gives Any, decorators keep the class."""
    page = tmp_path / "page.py"
    page.write_text(CODE)
    output, errors, _ = api.run(["--strict", "--no-error-summary", str(page)])
    assert not errors
    revealed = [line.split('"')[1] for line in output.splitlines() if "Revealed" in line]
    assert [text.replace("builtins.", "") for text in revealed] == [
        "pgflow.resolve.keys.PrimaryKey",
        revealed[1],
        "tuple[sqlalchemy.sql.schema.Column[Any], ...]",
        "tuple[str, ...]",
        "Any",
        "str | None",
        "str | int",
        "page.Mine",
    ]
    assert revealed[1].startswith("sqlalchemy.sql.schema.Table")
    problems = [line for line in output.splitlines() if "error:" in line]
    assert len(problems) == 1
    assert '"PrimaryKey" has no attribute "nonsense"' in problems[0]
