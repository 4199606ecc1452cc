"""`pgflow drift`: where a database is not as declared."""

from __future__ import annotations

from collections.abc import Sequence

from pgflow.alembic.drift import Difference, examine
from pgflow.cli.failures import OK, sentence
from pgflow.cli.output import Output
from pgflow.connections.registry import describe, engine
from pgflow.project.project import Project

#: The database differs.
DIFFERS = 1
#: It could not be found out whether it does.
UNKNOWN = 2


def show_drift(
    output: Output,
    connection: str,
    modules: Sequence[str] | None,
    *,
    shadow: str | None,
    as_json: bool,
) -> int:
    """Write every difference between a database and what is declared.

    Args:
        output: Where to.
        connection: The database.
        modules: What `--module` said.
        shadow: An empty database to compare in.
        as_json: Whether the result is written as JSON.

    Returns:
        `OK`, `DIFFERS` or `UNKNOWN`; scripts can tell a difference from an error.
    """
    try:
        metadata = Project.load(modules or None).metadatas
        database = engine(connection)
        with database.connect() as conn:
            drift = examine(conn, metadata, shadow=shadow)
            conn.rollback()
        found = drift.differences
    except Exception as error:  # any error means that nothing is known
        output.error(sentence(error), error)
        return UNKNOWN
    if as_json:
        output.json([_plain(each) for each in found])
    elif found:
        for each in found:
            output.line(str(each))
    elif drift.refusal is None:
        output.line(f"No drift: {describe(database)} is as declared.")
    if drift.refusal is not None:
        output.note(f"No migration can be made of this. {drift.refusal}")
    return DIFFERS if found or drift.refusal is not None else OK


def _plain(difference: Difference) -> dict[str, object]:
    return {
        "kind": difference.id.kind,
        "schema": difference.id.schema or None,
        "name": difference.id.name,
        "table": difference.id.table,
        "arguments": difference.id.arguments,
        "state": difference.state.value,
        "facts": {
            name: {"declared": declared, "live": live}
            for name, (declared, live) in difference.facts.items()
        },
    }
