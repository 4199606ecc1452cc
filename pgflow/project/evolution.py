"""A class under `@pgflow.table` rewritten for a source that has grown: new columns, wider types."""

from __future__ import annotations

import ast
import inspect
import io
import keyword
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from pgflow import types
from pgflow.errors import CannotEvolve

_NAMES = {
    "bigint": "BigInt",
    "boolean": "Boolean",
    "bytea": "Bytes",
    "cidr": "Cidr",
    "date": "Date",
    "double precision": "Double",
    "inet": "Inet",
    "integer": "Integer",
    "interval": "Interval",
    "json": "JSON",
    "jsonb": "JSONB",
    "money": "Money",
    "numeric": "Numeric",
    "real": "Real",
    "smallint": "SmallInt",
    "text": "Text",
    "time with time zone": "TimeTZ",
    "time without time zone": "Time",
    "timestamp with time zone": "TimestampTZ",
    "timestamp without time zone": "Timestamp",
    "uuid": "UUID",
    "character varying": "String",
}
_SIZED = re.compile(r"\A(character varying|numeric)\(([0-9, ]+)\)\Z")
#: How long a line of imports may get.
_WIDTH = 88
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")


@dataclass
class Rewriting:
    """The new text of a module, and what has changed in it.

    Attributes:
        path: The module's file.
        encoding: How the file is encoded, as it says itself.
        before: Its text as it is.
        after: Its text with the columns.
        lines: The lines that were added or changed, as they stand in the class.
    """

    path: Path
    encoding: str
    before: str
    after: str
    lines: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> Rewriting:
        """Read a module's file, with the ends of its lines as they are."""
        with path.open("rb") as file:
            encoding, _ = tokenize.detect_encoding(file.readline)
        text = path.read_bytes().decode(encoding)
        return cls(path, encoding, text, text)

    def write(self) -> None:
        """Write the new text."""
        self.path.write_bytes(self.after.encode(self.encoding))

    def undo(self) -> None:
        """Write the text that was there."""
        self.path.write_bytes(self.before.encode(self.encoding))


def annotation(kind: str) -> tuple[str, str]:
    """Spell a type as an annotation.

    Args:
        kind: The type as PostgreSQL spells it.

    Returns:
        The annotation, and the name of `pgflow.types` that it needs.
    """
    sized = _SIZED.match(kind)
    if sized:
        name = _NAMES[sized[1]]
        return f"{name}[{', '.join(sized[2].replace(' ', '').split(','))}]", name
    name = _NAMES.get(kind, "Raw")
    return (name, name) if name != "Raw" else (f'Raw["{kind}"]', name)


@dataclass(frozen=True)
class Growth:
    """What a table gains.

    Attributes:
        declared: A class under `@pgflow.table`.
        added: New columns with their types; they take NULL, as old rows have no value.
        widened: Columns of the class with their new types.
    """

    declared: type
    added: Mapping[str, str]
    widened: Mapping[str, str]


def rewrite(growths: Iterable[Growth]) -> list[Rewriting]:
    """Put new columns into classes, and wider types in the place of those that they have.

    Args:
        growths: What each class gains.

    Returns:
        The new text of each file; nothing is written.

    Raises:
        CannotEvolve: A class has no file that can be read, or a name cannot stand in a class.
    """
    rewritings: dict[Path, Rewriting] = {}
    for growth in growths:
        path, module = _file(growth.declared)
        rewriting = rewritings.setdefault(path, Rewriting.of(path))
        _rewrite(rewriting, module, growth)
    return list(rewritings.values())


def _rewrite(rewriting: Rewriting, module: ModuleType, growth: Growth) -> None:
    declared, added, widened = growth.declared, growth.added, growth.widened
    tree = ast.parse(rewriting.after)
    cls = _class(tree, declared)
    # Python's lines end where these do, and not at every separator that Unicode knows.
    lines = list(io.StringIO(rewriting.after, newline=""))
    changed: list[str] = []
    needed: set[str] = set()
    fields = _fields(cls)
    for column, kind in widened.items():
        spelt, name = annotation(kind)
        needed.add(name)
        changed.append(_widen(lines, fields, column, spelt, declared))
    new = []
    for column, kind in added.items():
        spelt, name = annotation(kind)
        needed.add(name)
        new.append(f"{_identifier(column, spelt, declared)}: {spelt} | None")
    last = max(fields.values(), key=lambda n: n.end_lineno or 0, default=cls.body[-1])
    place = last.end_lineno or len(lines)
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    if not lines[place - 1].endswith(("\n", "\r")):
        lines[place - 1] += end
    indent = lines[cls.body[0].lineno - 1][: cls.body[0].col_offset]
    if indent.strip():
        raise CannotEvolve(
            f"{declared.__qualname__} stands on one line in {rewriting.path}; write the columns "
            f"yourself: {', '.join(new)}."
        )
    lines[place:place] = [indent + line + end for line in new]
    _import(lines, tree, module, needed, cls, end)
    rewriting.after = "".join(lines)
    rewriting.lines += [*changed, *new]


def by_hand(added: Mapping[str, str], widened: Mapping[str, str]) -> list[str]:
    """Spell the columns for a declaration that only its author can change.

    Args:
        added: New columns with their types.
        widened: Columns with their new types.
    """
    return [f'Column("{c}", {annotation(k)[0]})' for c, k in {**added, **widened}.items()]


def _file(declared: type) -> tuple[Path, ModuleType]:
    module, found = inspect.getmodule(declared), None
    if module is not None:
        found = inspect.getsourcefile(module)
    if module is None or found is None:
        raise CannotEvolve(f"the file of {declared.__qualname__} is not known.")
    return Path(found), module


def _class(tree: ast.Module, declared: type) -> ast.ClassDef:
    named = [
        n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == declared.__name__
    ]
    if len(named) != 1:
        raise CannotEvolve(f"{declared.__qualname__} stands {len(named)} times in its file.")
    return named[0]


def _fields(cls: ast.ClassDef) -> dict[str, ast.AnnAssign]:
    found = (n for n in cls.body if isinstance(n, ast.AnnAssign))
    return {n.target.id: n for n in found if isinstance(n.target, ast.Name)}


def _identifier(column: str, spelt: str, declared: type) -> str:
    taken = column.startswith("__") or keyword.iskeyword(column) or hasattr(declared, column)
    if not _PLAIN.match(column) or taken:
        free = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_").lower()
        raise CannotEvolve(
            f"{column!r} cannot be the name of a class attribute of {declared.__qualname__}. "
            "Rename it in the source (AS), or declare it under another one, with SQLAlchemy's "
            f"Column, in the class: column_{free} = Column({column!r}, {spelt})."
        )
    return column


def _widen(
    lines: list[str],
    fields: Mapping[str, ast.AnnAssign],
    column: str,
    spelt: str,
    declared: type,
) -> str:
    """Put the new type into the annotation's own place, markers and `| None` stay."""
    node = fields.get(column)
    kind = None if node is None else _type_of(node.annotation)
    if kind is None or kind.lineno != kind.end_lineno:
        raise CannotEvolve(
            f"the type of {column!r} in {declared.__qualname__} cannot be told from its text; "
            f"change it to {spelt} yourself."
        )
    # Offsets of the parser are bytes of UTF-8.
    line = lines[kind.lineno - 1].encode()
    text = line[: kind.col_offset] + spelt.encode() + line[kind.end_col_offset :]
    lines[kind.lineno - 1] = text.decode()
    return text.decode().strip()


def _type_of(node: ast.expr) -> ast.expr | None:
    """The type in `T`, `T | None`, `Optional[T]` and `Annotated[T, ...]`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [s for s in (node.left, node.right) if not _is_none(s)]
        return _type_of(sides[0]) if len(sides) == 1 else None
    if isinstance(node, ast.Subscript):
        name = node.value.attr if isinstance(node.value, ast.Attribute) else None
        name = node.value.id if isinstance(node.value, ast.Name) else name
        if name == "Annotated" and isinstance(node.slice, ast.Tuple):
            return _type_of(node.slice.elts[0])
        if name == "Optional":
            return _type_of(node.slice)
        return node
    return node if isinstance(node, (ast.Name, ast.Attribute)) else None


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _import(
    lines: list[str],
    tree: ast.Module,
    module: ModuleType,
    needed: set[str],
    cls: ast.ClassDef,
    end: str,
) -> None:
    """Import the types that the module does not know yet, after the last import above the class."""
    for name in sorted(needed):
        known = getattr(module, name, None)
        if known is not None and known is not getattr(types, name):
            raise CannotEvolve(
                f"{module.__name__} uses the name {name} for something else than pgflow.types."
                f"{name}; declare the columns yourself."
            )
    imports = [
        n
        for n in tree.body
        if isinstance(n, (ast.Import, ast.ImportFrom)) and n.lineno < cls.lineno
    ]
    known_here = {alias.asname or alias.name for each in imports for alias in each.names}
    missing = sorted(n for n in needed if not hasattr(module, n) and n not in known_here)
    if not missing:
        return
    if any(_extend(lines, each, missing) for each in reversed(imports)):
        return
    place = imports[-1].end_lineno or 0 if imports else 0
    lines.insert(place, f"from pgflow.types import {', '.join(missing)}{end}")


def _extend(lines: list[str], found: ast.Import | ast.ImportFrom, missing: Iterable[str]) -> bool:
    """Put names into an import of `pgflow.types` that stands on one line and has room."""
    if not isinstance(found, ast.ImportFrom) or (found.module, found.level) != ("pgflow.types", 0):
        return False
    if found.lineno != found.end_lineno or found.names[0].name == "*":
        return False
    names = sorted([*map(ast.unparse, found.names), *missing], key=lambda n: (not n.isupper(), n))
    line = lines[found.lineno - 1].encode()
    text = f"from pgflow.types import {', '.join(names)}".encode()
    text = line[: found.col_offset] + text + line[found.end_col_offset :]
    if len(text.decode().rstrip()) > _WIDTH:
        return False
    lines[found.lineno - 1] = text.decode()
    return True
