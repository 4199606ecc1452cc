"""Comments of objects, and pgflow's mark at their end.

A mark says that a migration of pgflow made the object, and so may drop it: `[pgflow]`, with the
name of the migration history where it is not the default one, `[pgflow:shop]`, and with the roles
to which migrations granted rights, `[pgflow grants=reader,writer]`. An index or statistics on
somebody else's table name that table, `[pgflow on=bi.notes]`, and a schema the roles with default
privileges in it, `[pgflow defaults=reader]`. The mark follows the user's own text after one space.
A user's text that would itself be read as marked, on an object without mark, is followed by
`[not pgflow]`.
"""

from __future__ import annotations

import re

from pgflow import idents
from pgflow.alembic.entity import Entity, Mark
from pgflow.alembic.literals import dollar, literal
from pgflow.alembic.statement import Statement

_NAME = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"]|"")+")'
_NAMES = rf"{_NAME}(?:,{_NAME})*"
_MARK = re.compile(
    rf"\[pgflow(?::({_NAME}))?(?: on=({_NAME}\.{_NAME}))?"
    rf"(?: grants=({_NAMES}))?(?: defaults=({_NAMES}))?\]"
)
_NO_MARK = "[not pgflow]"

#: The name of the database at hand as it stands in a mark: between double quotes.
_DATABASE = """replace(current_database(), '"', '""')"""

#: Kinds that have a comment and never a mark.
_UNMARKED = ("column", "constraint")

#: How PUBLIC is written among grantees; no role can have this name.
_PUBLIC = "public"


def join(comment: str | None, mark: Mark | None) -> str | None:
    """Write a comment and a mark as the one text that the server keeps.

    Args:
        comment: The user's text; None or "" for none.
        mark: The mark; None for an object that pgflow did not make.

    Returns:
        The text for COMMENT ON, from which `split` gets both back to the byte; None for none.
    """
    if mark is None:
        own = _NO_MARK if comment and split(comment) != (comment, None) else ""
    else:
        own = _written(mark)
    return " ".join(part for part in (comment, own) if part) or None


def split(text: str | None) -> tuple[str | None, Mark | None]:
    """Take a comment apart into the user's text and pgflow's mark.

    Args:
        text: The comment as the server keeps it, or None.

    Returns:
        The user's text, None if there is none, and the mark, None if there is none.
    """
    if not text:
        return None, None
    own = _own_text(text, len(text) - len(_NO_MARK)) if text.endswith(_NO_MARK) else None
    if own is not None:
        return own or None, None
    # From the right, because the user's text may hold the beginning of a mark. What looks like a
    # mark inside a quoted name of the real one never matches: its quotes do not pair up.
    start = text.rfind("[pgflow")
    while start >= 0:
        found = _MARK.fullmatch(text, start)
        own = _own_text(text, start)
        if found is not None and own is not None:
            return own or None, _read(found)
        start = text.rfind("[pgflow", 0, start)
    return text, None


def statement(label: str, entity: Entity) -> Statement:
    """Set the comment of an object, mark included.

    Args:
        label: The object as COMMENT ON names it: `TABLE app.t`.
        entity: The object with the comment and mark that it should have.

    Returns:
        `COMMENT ON TABLE app.t IS '...'`, with NULL if there is neither comment nor mark.
    """
    if entity.id.kind == "role" and entity.mark is not None:
        return _still_ours(label, entity.comment, entity.mark)
    # What never has a mark needs nothing that tells its text from one.
    marked = entity.id.kind not in _UNMARKED
    text = join(entity.comment, entity.mark) if marked else entity.comment or None
    return Statement(f"COMMENT ON {label} IS {'NULL' if text is None else literal(text)}")


def split_shared(text: str | None, database: str) -> tuple[str | None, Mark | None]:
    """Take the comment of a role apart, which all databases of a server see.

    Args:
        text: The comment as the server keeps it, or None.
        database: The database that asks.

    Returns:
        The user's text, and the mark if the role was made by a migration of this database.
    """
    comment, mark = split(text)
    if mark is None or not mark.owner.endswith(f"@{database}"):
        return comment, None
    return comment, Mark(mark.owner.removesuffix(f"@{database}"), mark.grantees)


def shared_statement(label: str, comment: str | None, mark: Mark | None) -> str:
    """Write, for a DO block, the statement that sets the comment of a role.

    Args:
        label: The role as COMMENT ON names it: `ROLE reader`.
        comment: The user's text.
        mark: The mark. The name of the database, whichever runs the block, is put into it.

    Returns:
        `COMMENT ON ROLE reader IS '...'`, or an EXECUTE of it.
    """
    if mark is None:
        text = join(comment, None)
        return f"COMMENT ON {label} IS {'NULL' if text is None else literal(text)}"
    _, _, grantees = _written(mark).partition(" ")
    after = f'" {grantees}' if grantees else '"]'
    text = f"{_begin(mark, f'{comment} ' if comment else '')} || {literal(after)}"
    return f"EXECUTE {literal(f'COMMENT ON {label} IS ')} || quote_literal({text})"


def _begin(mark: Mark, comment: str = "") -> str:
    """Write the expression for a comment up to the name of the database in its mark."""
    quoted = mark.owner.replace('"', '""')
    text = f'{comment}[pgflow:"{quoted}@'
    return f"{literal(text)} || {_DATABASE}"


def _still_ours(label: str, comment: str | None, mark: Mark) -> Statement:
    """Set a role's comment unless another database's migration made the role."""
    own = f"{_begin(mark)} || '\"'"
    role = literal(label.removeprefix("ROLE "))
    present = f"coalesce(shobj_description(to_regrole({role}), 'pg_authid'), '')"
    lines = (
        "BEGIN",
        f"    IF position({own} IN {present}) > 0 THEN",
        f"        {shared_statement(label, comment, mark)};",
        "    END IF;",
        "END",
    )
    return Statement("DO " + dollar("\n" + "\n".join(lines) + "\n"))


def _own_text(text: str, end: int) -> str | None:
    if end == 0:
        return ""
    return text[: end - 1] if text[end - 1] == " " else None


def _written(mark: Mark) -> str:
    owner = f":{idents.quote(mark.owner)}" if mark.owner else ""
    table = f" on={mark.table}" if mark.table else ""
    return (
        f"[pgflow{owner}{table}{_list('grants', mark.grantees)}{_list('defaults', mark.defaults)}]"
    )


def _list(word: str, roles: frozenset[str]) -> str:
    names = ",".join(idents.quote(name) if name else _PUBLIC for name in sorted(roles))
    return f" {word}={names}" if names else ""


def _read(found: re.Match[str]) -> Mark:
    owner, table, grantees, defaults = found.groups()
    return Mark(_plain(owner or ""), _roles(grantees), table or "", _roles(defaults))


def _roles(names: str | None) -> frozenset[str]:
    return frozenset(
        "" if name == _PUBLIC else _plain(name) for name in re.findall(_NAME, names or "")
    )


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
