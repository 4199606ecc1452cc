"""What `pgflow evolve` writes into a module, however that is written."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pgflow.errors import CannotEvolve
from pgflow.project.evolution import Growth, rewrite

Load = Callable[..., ModuleType]
TYPES = "from pgflow.types import "


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Write a module into a file, byte for byte, and import it."""

    def write(text: str, encoding: str = "utf-8") -> ModuleType:
        path = tmp_path / "written.py"
        path.write_bytes(text.encode(encoding))
        spec = importlib.util.spec_from_file_location("written", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["written"] = module
        spec.loader.exec_module(module)
        return module

    yield write
    sys.modules.pop("written", None)


def test_the_ends_of_lines_and_the_encoding_stay(load: Load, tmp_path: Path) -> None:
    """A file of another system keeps its line ends, its indents and its encoding."""
    text = (
        "# -*- coding: latin-1 -*-\r\nfrom pgflow.types import Integer\r\n\r\n\r\n"
        "class A:\r\n\tx: Integer  # \xe4 \x0c\r\n\r\n\r\nlast = 1\r\n"
    )
    (done,) = rewrite([Growth(load(text, "latin-1").A, {"y": "text"}, {"x": "bigint"})])
    done.write()
    assert (tmp_path / "written.py").read_bytes().decode("latin-1") == (
        "# -*- coding: latin-1 -*-\r\nfrom pgflow.types import BigInt, Integer, Text\r\n\r\n\r\n"
        "class A:\r\n\tx: BigInt  # \xe4 \x0c\r\n\ty: Text | None\r\n\r\n\r\nlast = 1\r\n"
    )
    assert done.lines == ["x: BigInt  # \xe4", "y: Text | None"]
    done.undo()
    assert (tmp_path / "written.py").read_bytes().decode("latin-1") == text


def test_a_byte_order_mark_is_no_trouble(load: Load) -> None:
    """It is there before and after."""
    text = "\ufefffrom pgflow.types import Integer\n\nclass A:\n    x: Integer"
    (done,) = rewrite([Growth(load(text).A, {"y": "integer"}, {})])
    done.write()
    assert done.path.read_bytes().startswith(b"\xef\xbb\xbffrom pgflow")
    assert done.after.endswith("    x: Integer\n    y: Integer | None\n")


def test_several_classes_of_one_file(load: Load) -> None:
    """Each gets its columns, and one import is enough for all."""
    text = (
        "from pgflow.types import Integer\n\nclass A:\n    x: Integer\n\nclass B:\n    x: Integer\n"
    )
    module = load(text)
    (done,) = rewrite(
        [Growth(module.A, {"y": "date"}, {}), Growth(module.B, {"z": "date"}, {"x": "numeric"})]
    )
    assert done.after == (
        "from pgflow.types import Date, Integer, Numeric\n\n"
        "class A:\n    x: Integer\n    y: Date | None\n\n"
        "class B:\n    x: Numeric\n    z: Date | None\n"
    )


def test_imports_stand_above_the_class(load: Load) -> None:
    """An import at the end of the module is no place for a type that the class needs."""
    text = "from pgflow.types import Integer\n\nclass A:\n    x: Integer\n\nimport json\n"
    (done,) = rewrite([Growth(load(text).A, {"y": "w.mood"}, {})])
    assert done.after == (
        "from pgflow.types import Integer, Raw\n\nclass A:\n"
        '    x: Integer\n    y: Raw["w.mood"] | None\n\nimport json\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{TYPES}Integer as I; x = 1  # ä", f"{TYPES}BigInt, Integer as I; x = 1  # ä"),
        (f"{TYPES}(JSON, Text)  # all", f"{TYPES}JSON, BigInt, Text  # all"),
        (f"{TYPES}(\n    Text,\n)", f"    Text,\n)\n{TYPES}BigInt"),
        (f"{TYPES}{', '.join(['Text'] * 12)}", f"Text\n{TYPES}BigInt"),
        ("from pgflow import types", f"import types\n{TYPES}BigInt"),
    ],
)
def test_an_import_is_extended_where_that_is_simple(load: Load, before: str, after: str) -> None:
    """One that is on one line and has room takes the new names; else there is another one."""
    (done,) = rewrite([Growth(load(before + "\nclass A:\n    pass\n").A, {"y": "bigint"}, {})])
    assert after + "\nclass A:\n" in done.after


@pytest.mark.parametrize(
    ("text", "added", "widened", "said"),
    [
        ("class A: x: Integer\n", {"y": "text"}, {}, "write the columns yourself: y: Text | None"),
        ("class A:\n    x: Integer\n", {"class": "text"}, {}, "'class' cannot be the name"),
        ("class A: x = 1\n", {"Größe 1": "text"}, {}, "column_gr_e_1 = Column('Größe 1', Text)."),
        ("class A:\n    x: 'Integer'\n", {}, {"x": "bigint"}, "change it to BigInt yourself"),
        ("class A:\n    y: Integer\n", {}, {"x": "bigint"}, "the type of 'x' in A cannot be told"),
        ("Text = 7\nclass A:\n    x: Integer\n", {"y": "text"}, {}, "uses the name Text for some"),
        ("if 1:\n  class A: pass\nelse:\n  class A: pass\n", {"y": "text"}, {}, "stands 2 times"),
    ],
)
def test_what_cannot_be_written_is_said(
    load: Load, text: str, added: dict[str, str], widened: dict[str, str], said: str
) -> None:
    """The columns are told, and the file stays as it was."""
    module = load("from pgflow.types import Integer\n" + text)
    with pytest.raises(CannotEvolve) as refused:
        rewrite([Growth(module.A, added, widened)])
    assert said in str(refused.value)
