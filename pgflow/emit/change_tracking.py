"""Change tracking: a column that holds the number of the transaction that wrote a row last.

Readers ask a snapshot which numbers it knows. Nobody has to commit in order for that, so nothing
that a slow transaction wrote is ever passed over.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgflow import idents

#: The column's name, unless somebody wants another.
COLUMN = "xid"


@dataclass(frozen=True)
class ChangeTracking:
    """The objects that track the changes of one table.

    Attributes:
        schema: The table's schema.
        table: The table.
        column: The column that holds the numbers.
    """

    schema: str | None
    table: str
    column: str = COLUMN

    @property
    def name(self) -> str:
        """The name of the trigger and of its function."""
        return idents.join_fit([self.table, "track", self.column])

    @property
    def index(self) -> str:
        """The name of the index."""
        return idents.join_fit([self.table, self.column, "idx"])

    @property
    def relation(self) -> str:
        """The table's qualified name."""
        return idents.qualify(self.schema, self.table)

    @property
    def function_sql(self) -> str:
        """The function that numbers a row, whatever its writer says."""
        return (
            f"CREATE FUNCTION {self._function}() RETURNS trigger LANGUAGE plpgsql\n"
            f"SET search_path = pg_catalog AS '\n"
            "BEGIN\n"
            f"  NEW.{_in_text(self.column)} := pg_current_xact_id();\n"
            "  RETURN NEW;\n"
            "END'"
        )

    @property
    def trigger_sql(self) -> str:
        """The trigger."""
        return (
            f"CREATE TRIGGER {idents.quote(self.name)} BEFORE INSERT OR UPDATE ON {self.relation}\n"
            f"FOR EACH ROW EXECUTE FUNCTION {self._function}()"
        )

    @property
    def always_sql(self) -> str:
        """Have the trigger fire for rows that replication brings, too."""
        trigger = idents.quote(self.name)
        return f"ALTER TABLE {self.relation} ENABLE ALWAYS TRIGGER {trigger}"

    @property
    def begin_sql(self) -> tuple[str, ...]:
        """What a table needs that pgflow does not migrate, in order.

        The column's default is a constant for the rows that are there, so they are not rewritten;
        the lock is held for a moment only. The index is built while others write.
        """
        column = idents.quote(self.column)
        index = idents.quote(self.index)
        return (
            f"ALTER TABLE {self.relation} ADD COLUMN {column} xid8 NOT NULL"
            " DEFAULT pg_current_xact_id()",
            self.function_sql,
            self.trigger_sql,
            self.always_sql,
            f"CREATE INDEX CONCURRENTLY {index} ON {self.relation} ({column})",
        )

    @property
    def end_sql(self) -> tuple[str, ...]:
        """What takes all of it away again, in order."""
        return (
            f"DROP TRIGGER {idents.quote(self.name)} ON {self.relation}",
            f"DROP FUNCTION {self._function}()",
            f"ALTER TABLE {self.relation} DROP COLUMN {idents.quote(self.column)}",
        )

    @property
    def _function(self) -> str:
        return idents.qualify(self.schema, self.name)


def _in_text(column: str) -> str:
    """A name as it stands in a body that is written between single quotes."""
    return idents.quote(column).replace("'", "''")
