"""A database with rows and other people's objects, and Alembic at work on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.operations.ops import MigrationScript
from sqlalchemy import Connection, Engine, MetaData, text

from pgflow.alembic import configure, configure_metadata, process_revision_directives
from tests.migrations.matrix.case import READER, Case

#: What others have in the database: a schema of their own, and objects in ours.
FOREIGN = (
    "CREATE SCHEMA bi",
    "CREATE TABLE bi.notes (id bigint PRIMARY KEY, note text)",
    "INSERT INTO bi.notes VALUES (1, 'kept')",
    "CREATE VIEW app.theirs AS SELECT id, note FROM bi.notes",
    "CREATE FUNCTION app.their_function() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE app.their_table (id integer)",
    f"GRANT SELECT ON bi.notes, app.theirs TO {READER}",
)

#: Two stacked views of others over our table, and rights that they gave.
FOREIGN_ON_ITEMS = (
    "CREATE VIEW bi.first AS SELECT id FROM app.items",
    "CREATE VIEW bi.second AS SELECT id + 1 AS next FROM bi.first",
    f"GRANT SELECT ON bi.second TO {READER}",
    "GRANT SELECT ON app.items TO PUBLIC",
)

ROWS = """
INSERT INTO app.items (id, label, quantity, price, status)
SELECT n, 'item ' || n, n, n * 1.25, 'new' FROM generate_series(1, 50) AS n
"""


def _acl(column: str, default: str = "NULL") -> str:
    """Write an access list so that its order and the absence of a default do not matter."""
    return f"ARRAY(SELECT x::text FROM unnest(coalesce({column}, {default})) x ORDER BY 1)::text"


#: The catalogue of every schema but the server's own, with all that a person could see.
_STATE = f"""
SELECT 'relation', c.oid::regclass::text, c.relkind::text, {_acl("c.relacl")}, c.reloptions::text,
       obj_description(c.oid, 'pg_class'), c.relrowsecurity::text || c.relforcerowsecurity::text,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid)
            WHEN c.relkind = 'i' THEN pg_get_indexdef(c.oid) END
  FROM pg_class c WHERE c.relnamespace = ANY (ARRAY(SELECT oid FROM ours)) AND c.relkind <> 't'
UNION ALL
SELECT 'column', a.attrelid::regclass::text || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod), {_acl("a.attacl")},
       a.attnotnull::text || a.attidentity::text || a.attgenerated::text || a.attstorage::text,
       col_description(a.attrelid, a.attnum), a.attcollation::regcollation::text,
       (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
         WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = ANY (ARRAY(SELECT oid FROM ours)) AND c.relkind IN ('r', 'p', 'v', 'm')
   AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', coalesce(n.conrelid::regclass::text, n.contypid::regtype::text), n.conname,
       pg_get_constraintdef(n.oid), NULL, NULL, NULL, NULL
  FROM pg_constraint n WHERE n.connamespace = ANY (ARRAY(SELECT oid FROM ours)) AND n.contype <> 'n'
UNION ALL
SELECT 'function', p.oid::regprocedure::text, {_acl("p.proacl", "acldefault('f', p.proowner)")},
       obj_description(p.oid, 'pg_proc'),
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END, NULL, NULL, NULL
  FROM pg_proc p WHERE p.pronamespace = ANY (ARRAY(SELECT oid FROM ours))
UNION ALL
SELECT 'trigger', t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text,
       obj_description(t.oid, 'pg_trigger'), NULL, NULL
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = ANY (ARRAY(SELECT oid FROM ours)) AND NOT t.tgisinternal
UNION ALL
SELECT 'policy', p.polrelid::regclass::text, p.polname, p.polcmd::text,
       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid), NULL, NULL
  FROM pg_policy p
UNION ALL
SELECT 'type', t.oid::regtype::text, t.typtype::text,
       {_acl("t.typacl", "acldefault('T', t.typowner)")},
       ARRAY(SELECT e.enumlabel FROM pg_enum e
              WHERE e.enumtypid = t.oid ORDER BY enumsortorder)::text,
       obj_description(t.oid, 'pg_type'), t.typdefault, t.typnotnull::text
  FROM pg_type t WHERE t.typnamespace = ANY (ARRAY(SELECT oid FROM ours))
UNION ALL
SELECT 'statistics', s.stxname, pg_get_statisticsobjdef(s.oid), NULL, NULL, NULL, NULL, NULL
  FROM pg_statistic_ext s
UNION ALL
SELECT 'rule', r.ev_class::regclass::text, r.rulename, pg_get_ruledef(r.oid), NULL, NULL, NULL, NULL
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
 WHERE c.relnamespace = ANY (ARRAY(SELECT oid FROM ours)) AND r.rulename <> '_RETURN'
UNION ALL
SELECT 'extension', extname, NULL, NULL, NULL, NULL, NULL, NULL FROM pg_extension
UNION ALL
SELECT 'schema', nspname, {_acl("nspacl")},
       obj_description(oid, 'pg_namespace'), NULL, NULL, NULL, NULL
  FROM ours
UNION ALL
SELECT 'defaults', d.defaclobjtype::text, {_acl("d.defaclacl")}, NULL, NULL, NULL, NULL, NULL
  FROM pg_default_acl d
"""
_OURS = "WITH ours AS (SELECT * FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)')"


@dataclass(frozen=True)
class Draft:
    """A migration as autogenerate wrote it.

    Attributes:
        script: The operations.
        upgrade: The body of `upgrade()`.
        downgrade: The body of `downgrade()`.
    """

    script: MigrationScript
    upgrade: str
    downgrade: str

    @property
    def steps(self) -> list[str]:
        """The operations in words: `create table app.items`."""
        assert self.script.upgrade_ops is not None
        operations = self.script.upgrade_ops.ops
        steps = (step for operation in operations for step in operation.steps)
        return [f"{step.action} {step.id}" for step in steps]


class Workshop:
    """Alembic on one database.

    Args:
        engine: An engine on a database of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def prepare(self, case: Case) -> None:
        """Bring the database into the state before a change, with rows and foreign objects."""
        self.upgrade(self.draft(metadata_of(case, "before")))
        with self.engine.begin() as connection:
            for statement in (*FOREIGN, ROWS, *FOREIGN_ON_ITEMS):
                connection.exec_driver_sql(statement)

    def draft(self, metadata: MetaData) -> Draft:
        """Write a migration."""
        configure()
        with self.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
            script = produce_migrations(context, metadata)
            directives = [script]
            process_revision_directives(context, ("head",), directives)
            assert directives == [script], "one change of small tables is one migration"
            assert script.upgrade_ops is not None
            assert script.downgrade_ops is not None
            return Draft(
                script,
                render_python_code(script.upgrade_ops, migration_context=context),
                render_python_code(script.downgrade_ops, migration_context=context),
            )

    def upgrade(self, draft: Draft) -> None:
        """Run a migration's `upgrade()`."""
        self._run(draft.upgrade)

    def downgrade(self, draft: Draft) -> None:
        """Run a migration's `downgrade()`."""
        self._run(draft.downgrade)

    def state(self) -> Sequence[tuple[object, ...]]:
        """Return everything in the catalogue that a person could see, in a fixed order."""
        with self.engine.connect() as connection:
            connection.execute(text("SET search_path = ''"))
            found = connection.exec_driver_sql(f"{_OURS} {_STATE}")
            return sorted((tuple(row) for row in found), key=repr)

    def rows(self) -> Sequence[tuple[object, ...]]:
        """Return the rows of our table, as text."""
        return self._select("SELECT i.* FROM app.items i ORDER BY id")

    def foreign(self) -> Sequence[object]:
        """Return what others have: their rows through their views, and what they look like."""
        seen = self._select("SELECT max(next)::bigint FROM bi.second")
        kept = self._select("SELECT * FROM app.theirs")
        names = ("bi", "their")
        return [*seen, *kept, *(row for row in self.state() if str(row[1]).startswith(names))]

    def _select(self, query: str) -> Sequence[tuple[object, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def _run(self, body: str) -> None:
        with self.engine.connect() as connection:
            context = MigrationContext.configure(connection)
            with context.begin_transaction(), Operations.context(context) as op:
                run_body(body, op)
            _end(connection)


def run_body(body: str, op: Operations) -> None:
    """Run the body of a migration's function as Python would."""
    scope: dict[str, Callable[[Operations], None]] = {}
    exec(compile(f"def run(op):\n    {body}", "migration", "exec"), scope)
    scope["run"](op)


def metadata_of(case: Case, side: str) -> MetaData:
    """Declare one side of a change on a MetaData of its own."""
    metadata = MetaData()
    getattr(case, side)(metadata)
    configure_metadata(metadata)
    return metadata


def _end(connection: Connection) -> None:
    if connection.in_transaction():
        connection.commit()
