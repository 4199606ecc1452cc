"""Tables and views as others name them, and what is set on them in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pgflow import idents
from pgflow.alembic.entity import Fact
from pgflow.alembic.identifiers import EntityIdentifier
from pgflow.alembic.literals import literal

#: Condition: relation `c` is no member of an extension (which brings its own tables).
OWN = """NOT EXISTS (
    SELECT FROM pg_depend x
     WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e'
)"""


def qualified(identifier: EntityIdentifier) -> str:
    """Return a table, view, index or sequence as SQL names it: `app.orders`."""
    return idents.qualify(identifier.schema or None, identifier.name or "")


def owner(identifier: EntityIdentifier) -> str:
    """Return the relation that a column, constraint or index belongs to: `app.orders`."""
    return idents.qualify(identifier.schema or None, identifier.table or "")


def own(identifier: EntityIdentifier) -> str:
    """Return the quoted name alone, without schema: `id`."""
    return idents.quote(identifier.name or "")


def sibling(identifier: EntityIdentifier, kind: str, name: str | None = None) -> EntityIdentifier:
    """Return another part of the same relation, such as the default of a column.

    Args:
        identifier: A part of a relation.
        kind: The kind of the other part.
        name: Its name; the same name if it is not given.
    """
    return EntityIdentifier(
        identifier.schema, name or identifier.name, kind=kind, table=identifier.table
    )


def storage_options(raw: Sequence[str] | None, prefix: str = "") -> tuple[str, ...]:
    """Return the storage options of the catalogue (`reloptions`) as a comparable fact.

    Args:
        raw: Texts such as `fillfactor=70`.
        prefix: `toast.` for the options of a table's TOAST table.
    """
    return tuple(sorted(prefix + option for option in raw or ()))


def assignments(options: Iterable[str]) -> str:
    """Write storage options as WITH and SET list them: `fillfactor='70', user_catalog_table`."""
    return ", ".join(f"{_option(name)}={literal(value)}" for name, value in _pairs(options).items())


def reset_and_set(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return what leads from some storage options to others, for ALTER.

    Returns:
        `RESET (...)` and `SET (...)`, each only where it is needed.
    """
    before, after = _pairs(old), _pairs(new)
    gone = [name for name in before if name not in after]
    changed = [option for option in new if option not in old]
    actions = []
    if gone:
        actions.append(f"RESET ({', '.join(map(_option, gone))})")
    if changed:
        actions.append(f"SET ({assignments(changed)})")
    return actions


def quoted(name: Fact) -> str:
    """Quote a fact that is the name of an access method, a tablespace, ..."""
    return idents.quote(str(name))


def texts(fact: Fact) -> tuple[str, ...]:
    """Return a fact that is a tuple of texts, with its type known."""
    return tuple(str(item) for item in fact) if isinstance(fact, tuple) else ()


def _pairs(options: Iterable[str]) -> Mapping[str, str]:
    pairs = (option.partition("=") for option in options)
    return {name: value for name, _, value in pairs}


def _option(name: str) -> str:
    return ".".join(idents.quote(part) for part in name.split("."))
