"""Every way in which pgflow can refuse, and what to do next. This module imports nothing."""

from __future__ import annotations


class PgflowError(Exception):
    """Base class of every error that pgflow raises on purpose.

    Catch it to treat any refusal alike; its subclasses name one situation each and carry
    the data of that situation as attributes.

    Attributes:
        run_id: The run that failed, as the history has it; None where there was none.
        details: What the run had found out before it failed, as plain data by subject; None
            where there is nothing.
    """

    run_id: object | None = None
    details: dict[str, object] | None = None


class DeclarationError(PgflowError, ValueError):
    """A table, a pipeline or one of their items is declared in a way that cannot work."""


# --- names ---------------------------------------------------------------------------


class InvalidIdentifier(DeclarationError):
    """A name that PostgreSQL cannot store: empty, or with a NUL character."""


class UnknownColumn(DeclarationError):
    """A declaration names a column that its table does not have."""


# --- options and pipelines -----------------------------------------------------------


class InvalidOption(DeclarationError):
    """An option has a value, or stands beside another one, that cannot work."""


class InvalidCheck(DeclarationError):
    """A check has a value or a name that cannot work, or is about rows that nobody sees."""


class InvalidBody(DeclarationError):
    """A pipeline's function has a signature that cannot be called, or returned no source."""


class InvalidSource(DeclarationError):
    """The source's SQL is not exactly one query, or cannot be bound."""


class MissingParameter(PgflowError, TypeError):
    """A run was given too few parameters, or those that `InvalidParameter` is about."""


class InvalidParameter(MissingParameter):
    """A run was given a parameter that its pipeline does not have, or a value of another type."""


class MissingMergeKey(DeclarationError):
    """A mode needs to know what makes a row unique, and nothing says it."""


# --- connections ---------------------------------------------------------------------


class UnknownConnection(PgflowError, LookupError):
    """No place that is looked at knows a connection of this name.

    Attributes:
        name: The name that was asked for.
        places: Where it was looked for, in order.
        nearest: The most similar known name, or None.
    """

    def __init__(self, message: str, *, name: str, places: tuple[str, ...], nearest: str | None):
        super().__init__(message)
        self.name = name
        self.places = places
        self.nearest = nearest


class MalformedSettings(PgflowError, ValueError):
    """A settings file is not valid TOML, or one of its entries has the wrong shape.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, *, path: str):
        super().__init__(message)
        self.path = path


class UnwritableSettings(PgflowError, OSError):
    """A settings file cannot be written; it stands as it was.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, *, path: str):
        super().__init__(message)
        self.path = path


class UnsetVariable(PgflowError, LookupError):
    """A value in a settings file names an environment variable that is not set.

    Attributes:
        variable: The variable's name.
        entry: The entry that uses it, such as `[connections.warehouse] dsn`.
        path: The file.
    """

    def __init__(self, message: str, *, variable: str, entry: str, path: str):
        super().__init__(message)
        self.variable = variable
        self.entry = entry
        self.path = path


class MalformedDsn(PgflowError, ValueError):
    """A connection string cannot be read. The message never repeats it: it may hold a password.

    Attributes:
        origin: Where the string came from.
    """

    def __init__(self, message: str, *, origin: str):
        super().__init__(message)
        self.origin = origin


class BadCredentials(PgflowError, TypeError):
    """A credentials callable returned something that cannot be used to connect."""


# --- the embedded server -------------------------------------------------------------


class NotAConnection(PgflowError, TypeError):
    """What was given as a connection names no database: an open connection, an async engine."""


class MissingServerBinaries(PgflowError, ImportError):
    """No PostgreSQL server programs are installed where pgflow looks for them.

    Attributes:
        places: Where they were looked for, in order.
    """

    def __init__(self, message: str, *, places: tuple[str, ...]):
        super().__init__(message)
        self.places = places


class InvalidServerName(DeclarationError):
    """An embedded server's name cannot be the name of a directory.

    Attributes:
        name: The name.
    """

    def __init__(self, message: str, *, name: str):
        super().__init__(message)
        self.name = name


class EmbeddedServerFailed(PgflowError, RuntimeError):
    """The embedded server could not be created, started or stopped.

    Attributes:
        log: The last lines that the server or its tool wrote.
    """

    def __init__(self, message: str, *, log: str = ""):
        super().__init__(message)
        self.log = log


class OtherServerVersion(PgflowError, RuntimeError):
    """The data belongs to another major version of PostgreSQL than the installed programs.

    Attributes:
        data: The major version that wrote the data.
        programs: The major version of the programs.
    """

    def __init__(self, message: str, *, data: int, programs: int):
        super().__init__(message)
        self.data = data
        self.programs = programs


class UnreachableDirectory(PgflowError, PermissionError):
    """The account that runs the server may not enter a directory that the server needs.

    Attributes:
        path: The directory.
        account: The account's name.
    """

    def __init__(self, message: str, *, path: str, account: str):
        super().__init__(message)
        self.path = path
        self.account = account


class NotEmbedded(PgflowError):
    """A connection shall have its embedded server started or stopped, and leads to another one.

    Attributes:
        connection: The connection as it was asked for.
        leads_to: Where it leads, without a password.
    """

    def __init__(self, message: str, *, connection: str, leads_to: str):
        super().__init__(message)
        self.connection = connection
        self.leads_to = leads_to


# --- plugins and factories -----------------------------------------------------------


class PluginError(DeclarationError):
    """A plugin is declared, combined or behaves in a way that cannot work.

    Attributes:
        plugin: Class name of the plugin in question, or an empty string.
        origin: Where that plugin came from, such as `extra_plugins[1] of 'orders'`.
        key: The context key in question, or an empty string.
    """

    def __init__(self, message: str, *, plugin: str = "", origin: str = "", key: str = "") -> None:
        super().__init__(message)
        self.plugin = plugin
        self.origin = origin
        self.key = key


class NotAPlugin(PluginError, TypeError):
    """A plugin list holds something that is no plugin: give an instance or a class."""


class MissingProducer(PluginError):
    """A plugin requires a key that nobody produces: add a producer, or correct the key's name.

    Attributes:
        candidates: Names of known plugins that would produce the key.
        nearest: The most similar key that does exist, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        plugin: str,
        origin: str,
        key: str,
        candidates: tuple[str, ...],
        nearest: str | None,
    ) -> None:
        super().__init__(message, plugin=plugin, origin=origin, key=key)
        self.candidates = candidates
        self.nearest = nearest


class DuplicateProducer(PluginError):
    """Two plugins produce one key: remove one, rename its key, or let it override the other."""


class MixedKey(PluginError):
    """A key is produced as one value here and collected from many there: choose one."""


class SingletonClash(PluginError):
    """Two plugins of a group of which there may be only one: remove one of them.

    Attributes:
        group: Name of the group.
    """

    def __init__(self, message: str, *, plugin: str, origin: str, group: str) -> None:
        super().__init__(message, plugin=plugin, origin=origin)
        self.group = group


class PluginCycle(PluginError):
    """Plugins wait for each other: remove one of the requirements in the chain.

    Attributes:
        chain: Plugin names and the keys between them, ending where it began.
    """

    def __init__(self, message: str, *, chain: tuple[str, ...]) -> None:
        super().__init__(message)
        self.chain = chain


class UnwrittenKey(PluginError):
    """A plugin did not write a key that it declares: write it in `run`, or drop the declaration."""


class UndeclaredWrite(PluginError):
    """A plugin wrote a key that it does not declare: declare it, or do not write it."""


class MissingKey(PluginError, KeyError):
    """A context key is read that has no value yet: require it, so that its producer runs first."""

    __str__ = Exception.__str__  # KeyError would print the message's repr


class KeyAlreadySet(PluginError, KeyError):
    """A context key is written a second time: use another key, or override on purpose."""

    __str__ = Exception.__str__  # KeyError would print the message's repr


class WrongKeyType(PluginError, TypeError):
    """A context key is given a value of another type than the key's."""


class ContextClosed(PgflowError, RuntimeError):
    """Work is staged on a context whose plugins have all run: stage it inside `run`."""


class PostgresTooOld(PgflowError):
    """A plugin needs a newer PostgreSQL: upgrade the server, or use another plugin.

    Attributes:
        required: The major version that is needed.
        server_version: The major version of the server.
        plugins: Names of the plugins that need more than the server offers.
    """

    def __init__(
        self, message: str, *, required: int, server_version: int, plugins: tuple[str, ...]
    ) -> None:
        super().__init__(message)
        self.required = required
        self.server_version = server_version
        self.plugins = plugins


class ExtensionError(DeclarationError):
    """Extensions do not fit together: one is missing, given twice, or they wait for each other.

    Attributes:
        extensions: Names of the extensions in question.
    """

    def __init__(self, message: str, *, extensions: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.extensions = extensions


class ConfigConflict(DeclarationError):
    """A MetaData already carries another `Config`: attach one, before the first factory."""


# --- what a batch can get wrong ------------------------------------------------------


class BatchError(PgflowError):
    """The rows that the source delivered cannot be applied; nothing was written.

    Attributes:
        pipeline: The pipeline's name.
        target: The target's qualified name.
    """

    def __init__(self, message: str, *, pipeline: str, target: str) -> None:
        super().__init__(f"{pipeline} -> {target}: {message}")
        self.pipeline = pipeline
        self.target = target


class NullKeys(BatchError):
    """Rows of the batch have no merge key."""


class NoInstant(BatchError):
    """Rows of the batch have no instant at which a version could begin."""


class DuplicateKeys(BatchError):
    """The batch has different rows with one merge key."""


class EmptySource(BatchError):
    """The source delivered nothing, and applying that would empty the target."""


class TooManyDeletes(BatchError):
    """More rows would be deleted than `max_delete_ratio` allows."""


class OutOfScope(BatchError):
    """The batch has rows outside the scope of the run."""


class ChecksFailed(BatchError):
    """Rows of the batch fail checks whose severity is `error`.

    Attributes:
        failed: The names of those checks.
    """

    def __init__(
        self, message: str, *, pipeline: str, target: str, failed: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, pipeline=pipeline, target=target)
        self.failed = failed


class InstantTooEarly(BatchError):
    """The run's instant lies before versions that the target already has."""


class NullWatermark(BatchError):
    """Rows have no value in the incremental column, and the pipeline wants that to be an error."""


class SourceMismatch(BatchError):
    """The source's columns or their types do not fit the target."""


class UnresolvedLookup(BatchError):
    """Rows refer to a dimension that had no version of their key at their instant."""


class MissingMember(BatchError):
    """The row of a dimension that is to stand for unknown members is not there."""


# --- rows from elsewhere -------------------------------------------------------------


class FileError(PgflowError):
    """A file that is a source cannot be read as it is; nothing was written.

    Attributes:
        path: The file, or the pattern that no file fits.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class MissingFile(FileError, FileNotFoundError):
    """A source's path or pattern leads to no file."""


class ChangedFile(FileError):
    """A file changed while it was read, so its rows may belong to two states: run again."""


class MalformedFile(FileError, ValueError):
    """A file is not what the source says that it is."""


class ConsumedRows(PgflowError):
    """Rows that can be read only once were to be read again: give a function that makes them."""


class MissingReader(PgflowError, ImportError):
    """The package that reads a kind of source is not installed: install the extra that it names."""


class BadRow(BatchError):
    """A row of the source cannot be taken as it is; nothing was written.

    Attributes:
        row: Its number in the source, from 1, or None.
        place: The file and line, or an empty string.
        column: The column, or an empty string.
    """

    def __init__(
        self,
        message: str,
        *,
        pipeline: str,
        target: str,
        row: int | None = None,
        place: str = "",
        column: str = "",
    ) -> None:
        super().__init__(message, pipeline=pipeline, target=target)
        self.row = row
        self.place = place
        self.column = column


class SchemaEvolved(SourceMismatch):
    """The source has columns that the target lacks, or wider ones: migrate by `pgflow evolve`.

    Attributes:
        added: New columns with their types.
        widened: Columns of the target with the wider types that the source has.
    """

    def __init__(
        self,
        message: str,
        *,
        pipeline: str,
        target: str,
        added: dict[str, str],
        widened: dict[str, str],
    ) -> None:
        super().__init__(message, pipeline=pipeline, target=target)
        self.added = added
        self.widened = widened


# --- tables: types, columns, items ---------------------------------------------------


class TableError(DeclarationError):
    """A table, or something on it, is declared in a way that cannot work.

    Attributes:
        table: The table or class in question, or an empty string.
        column: The column in question, or an empty string.
    """

    def __init__(self, message: str, *, table: str = "", column: str = "") -> None:
        super().__init__(message)
        self.table = table
        self.column = column


class UnsupportedType(TableError):
    """An annotation does not say a column type: use a name of `pgflow.types` or of SQLAlchemy.

    Attributes:
        annotation: What stands in the type's place.
    """

    def __init__(
        self, message: str, *, annotation: object, table: str = "", column: str = ""
    ) -> None:
        super().__init__(message, table=table, column=column)
        self.annotation = annotation


class InvalidTypeParameter(TableError):
    """A type is given parameters that PostgreSQL does not take."""


class UnresolvedAnnotation(TableError):
    """An annotation cannot be evaluated: import its names where Python finds them at run time."""


class UncalledMarker(TableError):
    """A marker stands in `Annotated` without being called: write `pk()`, not `pk`."""


class InvalidColumn(TableError):
    """What is said about a column contradicts itself."""


class DuplicateColumn(TableError):
    """Two columns of a table have one name, or would have after 63 bytes."""


class MissingColumns(TableError):
    """A table is declared without any column."""


class MissingSchema(TableError):
    """A table is declared without its schema: give `schema=` or `__schema__`."""


class MissingMetaData(TableError):
    """`register_table` knows neither `base=` nor `metadata=`, so the table would belong nowhere."""


class ForeignDecorator(TableError):
    """A class is also a dataclass, an attrs class or a pydantic model, which collects fields too.

    Attributes:
        decorator: What the class carries: `@dataclass`, `attrs` or `pydantic`.
    """

    def __init__(self, message: str, *, table: str, decorator: str) -> None:
        super().__init__(message, table=table)
        self.decorator = decorator


class InvalidExpression(TableError):
    """An expression with `{column}` markers has a brace that is neither a marker nor doubled."""


class InvalidItem(TableError):
    """A check, an index, a foreign key or a unique constraint is declared incompletely."""


class PrimaryKeyInItems(TableError):
    """A schema item is a primary key column: it comes by a plugin or by `@pgflow.table`."""


class DuplicateTable(TableError):
    """A MetaData has a table of this name already."""


class NameTaken(TableError):
    """An index, a constraint or a table bears a name that its schema has already.

    Attributes:
        name: The name.
        owner: Who has it.
    """

    def __init__(self, message: str, *, name: str, owner: str, table: str = "") -> None:
        super().__init__(message, table=table)
        self.name = name
        self.owner = owner


class UnknownReference(TableError):
    """A foreign key points to a table or column that nobody declares.

    Attributes:
        reference: The reference as it was written.
    """

    def __init__(self, message: str, *, reference: str, table: str = "") -> None:
        super().__init__(message, table=table)
        self.reference = reference


class AmbiguousReference(UnknownReference):
    """A foreign key names a table without its schema, and two schemas have one of that name."""


class ReferenceToHistory(UnknownReference):
    """A foreign key points to the merge key of an scd2 table, which is not unique there."""


# --- where history is kept -----------------------------------------------------------


class InvalidSystemColumns(TableError):
    """`system_columns=` renames or leaves out something that cannot be."""


class SystemColumnMismatch(TableError):
    """A table has a column of a system column's name that cannot serve as one."""


class ModeConflict(TableError):
    """Two owners want one table filled in ways that exclude each other.

    Attributes:
        owners: Who wants it, and in which mode.
    """

    def __init__(self, message: str, *, table: str, owners: tuple[str, ...]) -> None:
        super().__init__(message, table=table)
        self.owners = owners


class MappedTable(TableError):
    """A table is mapped to a class already and lacks the columns that a mode needs."""


class NotAmendable(TableError):
    """A table has a constraint that cannot hold once it keeps history."""


class NoHistory(TableError):
    """A history is asked of a table that keeps none: nothing fills it in mode `scd2`."""


class CannotRelink(PgflowError):
    """Rows cannot be linked to their dimensions again: the table lacks what it takes.

    Attributes:
        target: The table in question.
    """

    def __init__(self, message: str, *, target: str) -> None:
        super().__init__(message)
        self.target = target


# --- applying metadata ---------------------------------------------------------------


class TablesOutOfDate(PgflowError):
    """The database has tables that lack columns of the metadata: migrate them with Alembic.

    Attributes:
        missing: The missing columns, by qualified table name.
    """

    def __init__(self, message: str, *, missing: dict[str, tuple[str, ...]]) -> None:
        super().__init__(message)
        self.missing = missing


# --- running -------------------------------------------------------------------------


class WrongDriver(PgflowError):
    """A connection does not speak through psycopg 3."""


class StatementFailed(PgflowError):
    """The server refused a statement of a run; everything was rolled back.

    Attributes:
        purpose: What the statement was for.
        statement: Its text, with `$n` for bound values.
        sqlstate: PostgreSQL's error code, or None where the connection broke.
        diagnostic: The server's own message.
    """

    def __init__(
        self, message: str, *, purpose: str, statement: str, sqlstate: str | None, diagnostic: str
    ) -> None:
        super().__init__(message)
        self.purpose = purpose
        self.statement = statement
        self.sqlstate = sqlstate
        self.diagnostic = diagnostic


class SourceFailed(StatementFailed):
    """The source, which is not in the target's database, refused something or cannot be reached.

    Attributes:
        source: Where it is; never a password.
    """

    source: str = ""


class TargetLocked(PgflowError):
    """Another run held the target for longer than `lock_timeout`.

    Attributes:
        target: The target's qualified name.
        holders: What is known of who holds it.
    """

    def __init__(self, message: str, *, target: str, holders: tuple[str, ...]) -> None:
        super().__init__(message)
        self.target = target
        self.holders = holders


class CannotForget(PgflowError):
    """A key cannot be erased: it is no value of its column, or other rows refer to its rows.

    Attributes:
        references: What refers to them: how many rows, of which table, by which foreign key.
    """

    def __init__(self, message: str, *, references: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.references = references


class MissingTable(PgflowError):
    """The target, one of its columns, or pgflow's own tables are not in the database."""


class OtherLayout(PgflowError):
    """pgflow's own tables are too old for this pgflow, or too new: migrate them, or upgrade it.

    Attributes:
        table: The table.
        found: The version of its layout.
        expected: The version that this pgflow writes.
    """

    def __init__(self, message: str, *, table: str, found: int, expected: int) -> None:
        super().__init__(message)
        self.table = table
        self.found = found
        self.expected = expected


class UnsuitableTransaction(PgflowError):
    """A run, or an erasure, was asked to join a transaction in which it could not do its work."""


class UnsuitablePath(PgflowError):
    """`force_path=` asks for a way from source to target that cannot be."""


class InvalidInstant(PgflowError, ValueError):
    """What a run, `as_of()` or `relink()` was given is no instant: give an aware datetime."""


class StalePosition(PgflowError):
    """A pipeline's position is of another server, or of a time that this server does not have."""


class InvalidPosition(PgflowError, ValueError):
    """A watermark cannot be set to this; it stays where it is."""


class NoPosition(PgflowError):
    """The source's server cannot say where it is in a way that loses no rows."""


class UnreadableChange(PgflowError):
    """The source's log holds something that this version cannot read; nothing was written."""


class SlotRefused(PgflowError):
    """A replication slot cannot be made here, or would endanger the source's server."""


class BackfillRefused(PgflowError, ValueError):
    """A range cannot be read again in steps, or not without falsifying what the target holds."""


class BackfillOvertaken(PgflowError):
    """Somebody else has done this step of the same backfill meanwhile; nothing was written."""


class OutcomeUnknown(PgflowError):
    """A connection broke during the commit, and the history cannot be asked: ask it later.

    The data is there if, and only if, the status of the run (`run_id`) is `success`.
    """


class RunCancelled(PgflowError):
    """The run's own process wanted it to end: by `cancel_runs()`, or with the task that awaits."""


class RunLost(PgflowError):
    """A run's own record vanished before it could be completed."""


class UnknownRun(PgflowError, LookupError):
    """The history has no run of that id, or several whose ids begin like that."""


class HistoryOutOfReach(PgflowError):
    """The database that knows how pipelines have run cannot be reached; others may be.

    Attributes:
        pipelines: The names of the pipelines of which nothing is known.
    """

    def __init__(self, message: str, *, pipelines: tuple[str, ...]) -> None:
        super().__init__(message)
        self.pipelines = pipelines


class ReadOnlyHistory(PgflowError):
    """Somebody tried to write the history of runs through its model; only runs write it."""


class MissingExtra(PgflowError, ImportError):
    """A part of pgflow needs a package that is not installed: install the extra that it names."""


# --- projects ------------------------------------------------------------------------


class NoModules(PgflowError):
    """Nothing says which modules hold the pipelines: name them in `pgflow.toml` or by hand."""


class ModuleFailed(PgflowError, ImportError):
    """A module of the project cannot be imported.

    Attributes:
        module: The module as it was named.
        place: File and line where it failed, or None if it was not found.
    """

    def __init__(self, message: str, *, module: str, place: str | None) -> None:
        super().__init__(message)
        self.module = module
        self.place = place


class DuplicatePipeline(DeclarationError):
    """Two pipelines of a project have one name, so that their histories would mix.

    Attributes:
        pipeline: The name.
        places: Where both are.
    """

    def __init__(self, message: str, *, pipeline: str, places: tuple[str, ...]) -> None:
        super().__init__(message)
        self.pipeline = pipeline
        self.places = places


class UnknownPipeline(PgflowError, LookupError):
    """No pipeline of the project has this name, or none fits this pattern.

    Attributes:
        name: What was asked for.
        nearest: The most similar name, or None.
    """

    def __init__(self, message: str, *, name: str, nearest: str | None) -> None:
        super().__init__(message)
        self.name = name
        self.nearest = nearest


class UnknownTable(PgflowError, LookupError):
    """No table of the project has this name, or several have it.

    Attributes:
        name: What was asked for.
        candidates: The tables that it could mean.
    """

    def __init__(self, message: str, *, name: str, candidates: tuple[str, ...]) -> None:
        super().__init__(message)
        self.name = name
        self.candidates = candidates


class PipelineCycle(DeclarationError):
    """Pipelines read what the others write, so that none can come first.

    Attributes:
        chain: Names of the pipelines, ending where it began.
    """

    def __init__(self, message: str, *, chain: tuple[str, ...]) -> None:
        super().__init__(message)
        self.chain = chain


class CannotRepeat(PgflowError):
    """A run that failed cannot be repeated as it was: the history does not hold all that it needs.

    Attributes:
        pipeline: The pipeline.
        parameter: The run parameter that cannot be given again.
    """

    def __init__(self, message: str, *, pipeline: str, parameter: str) -> None:
        super().__init__(message)
        self.pipeline = pipeline
        self.parameter = parameter


class TargetsFailed(PgflowError):
    """At least one of a pipeline's several targets failed.

    Attributes:
        result: What was done, target by target.
    """

    def __init__(self, message: str, *, result: object) -> None:
        super().__init__(message)
        self.result = result


class BrokenHistory(PgflowError, AssertionError):
    """A table with versions does not tell one consistent history."""


# --- migrations ----------------------------------------------------------------------


class MigrationRefused(PgflowError):
    """No migration can lead safely from the live database to what is declared."""


class ForeignDependent(MigrationRefused):
    """What must be dropped, if only to be made again, is needed by something that is not ours.

    Attributes:
        objects: What needs it, in words.
        needed: What would have to be dropped or changed, in words.
    """

    def __init__(self, message: str, *, objects: tuple[str, ...], needed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.objects = objects
        self.needed = needed


class CannotChange(MigrationRefused):
    """An object cannot become what is declared without losing its data.

    Attributes:
        object: What would have to be dropped and made again.
    """

    def __init__(self, message: str, *, object: str) -> None:  # noqa: A002 (the word users know)
        super().__init__(message)
        self.object = object


class MissingValue(MigrationRefused):
    """A new NOT NULL column of a filled table has neither a default nor a backfill.

    Attributes:
        column: The column, with its table.
    """

    def __init__(self, message: str, *, column: str) -> None:
        super().__init__(message)
        self.column = column


class AmbiguousRename(MigrationRefused):
    """Two declared objects say that they are the same live one under a new name.

    Attributes:
        objects: Both, in words.
    """

    def __init__(self, message: str, *, objects: tuple[str, ...]) -> None:
        super().__init__(message)
        self.objects = objects


class MigrationCycle(MigrationRefused):
    """Steps of a migration wait for each other, so that none can come first.

    Attributes:
        chain: The steps' titles, ending where it began.
    """

    def __init__(self, message: str, *, chain: tuple[str, ...]) -> None:
        super().__init__(message)
        self.chain = chain


class FilesExist(PgflowError):
    """A command found files where it would write its own; it has written nothing.

    Attributes:
        directory: The directory.
        files: The files that are there.
    """

    def __init__(self, message: str, *, directory: str, files: tuple[str, ...]) -> None:
        super().__init__(message)
        self.directory = directory
        self.files = files


class ManagedByAlembic(PgflowError):
    """`pgflow migrate` would change a database whose changes come from Alembic's files.

    Attributes:
        table: Alembic's version table.
    """

    def __init__(self, message: str, *, table: str) -> None:
        super().__init__(message)
        self.table = table


class HazardsNotConfirmed(PgflowError):
    """`pgflow migrate` was not allowed to do what locks tables or deletes data.

    Attributes:
        titles: The steps that would.
    """

    def __init__(self, message: str, *, titles: tuple[str, ...]) -> None:
        super().__init__(message)
        self.titles = titles


class CannotEvolve(PgflowError):
    """A declaration cannot be changed for a source that has grown: change it by hand."""


class CannotEject(PgflowError):
    """`pgflow eject` cannot leave plain tables: something depends on what would go."""


class AmbiguousSchema(PgflowError):
    """SQL cannot be respelled for another schema, as a word in it may mean several things.

    Attributes:
        schema: The schema for which it is written.
    """

    def __init__(self, message: str, *, schema: str) -> None:
        super().__init__(message)
        self.schema = schema


class UnwritableStatement(PgflowError):
    """A statement cannot stand in a migration file.

    Attributes:
        sql: The statement.
    """

    def __init__(self, message: str, *, sql: str) -> None:
        super().__init__(message)
        self.sql = sql


class MalformedMigrationSettings(PgflowError):
    """What says how migrations are made is misspelt, or makes no sense."""


class NotAConfig(PgflowError, TypeError):
    """What was given as pgflow's configuration is something else."""


class MixedMetadata(PgflowError):
    """Some of the MetaData that Alembic was given went through `configure_metadata`, some not."""


class LockNotGranted(PgflowError):
    """A migration waited for a lock in every try, so that nothing of it was done.

    Attributes:
        blockers: Who holds the locks: process, role, application and last query, in words.
    """

    def __init__(self, message: str, *, blockers: tuple[str, ...]) -> None:
        super().__init__(message)
        self.blockers = blockers


class CatalogueChanging(PgflowError):
    """Others drop objects faster than their schemas can be read."""


class OutsideTransaction(PgflowError):
    """A statement that cannot run in a transaction was given a connection that is in one."""


class InvalidDeclaration(DeclarationError):
    """SQL that is declared for migrations is not valid, or is no declaration.

    Attributes:
        sql: The statement, or the whole text if it cannot be parsed; None where there is none.
    """

    def __init__(self, message: str, *, sql: str | None = None) -> None:
        super().__init__(message)
        self.sql = sql


class DeclaredTwice(DeclarationError):
    """Two declarations make the same object.

    Attributes:
        name: The object in full.
        origins: Both places.
    """

    def __init__(self, message: str, *, name: str, origins: tuple[str, str]) -> None:
        super().__init__(message)
        self.name = name
        self.origins = origins


class DeclarationRefused(PgflowError):
    """The server does not accept a declared object, tried out in a scratch schema.

    Attributes:
        sql: The statement as it was declared.
        origin: Where it was declared.
    """

    def __init__(self, message: str, *, sql: str, origin: str) -> None:
        super().__init__(message)
        self.sql = sql
        self.origin = origin


class ScratchRefused(PgflowError):
    """This connection may not try out declared objects: give a `shadow=` database."""


class UnfitShadow(PgflowError):
    """The shadow database is of another version, or is not empty."""


class PasswordDeclared(DeclarationError):
    """A role is declared with a password, which would end up in migration files.

    Attributes:
        role: The role's name.
    """

    def __init__(self, message: str, *, role: str) -> None:
        super().__init__(message)
        self.role = role


class UnknownRole(DeclarationError, LookupError):
    """A declaration changes a role that neither a declaration nor the server knows.

    Attributes:
        role: The role's name.
    """

    def __init__(self, message: str, *, role: str) -> None:
        super().__init__(message)
        self.role = role


# --- schedules -----------------------------------------------------------------------


class NotScheduled(PgflowError, LookupError):
    """Nothing that was asked for has a `schedule=`, or an instant is none of its schedule's."""


class MissingWorkerExtra(PgflowError, ImportError):
    """Workers need the package procrastinate: `pip install 'pgflow[worker]'`."""


class MissingQueue(PgflowError):
    """The database has no queue for workers yet: `pgflow worker --init` creates it.

    Attributes:
        schema: Where it was looked for.
    """

    def __init__(self, message: str, *, schema: str) -> None:
        super().__init__(message)
        self.schema = schema


class OtherQueue(PgflowError):
    """The queue has a layout that the installed procrastinate does not work with.

    Attributes:
        schema: Where it is.
        found: Its layout.
        expected: The layout that procrastinate works with.
    """

    def __init__(self, message: str, *, schema: str, found: str | None, expected: str) -> None:
        super().__init__(message)
        self.schema = schema
        self.found = found
        self.expected = expected


class PoolerBetween(PgflowError):
    """A worker needs sessions of its own, and a pooler shares them out: give `direct_dsn=`."""


class WorkerLost(PgflowError):
    """The worker that ran a firing died, more often than the firing may be tried again."""


class CannotExport(PgflowError):
    """A schedule, or a name, cannot be said exactly in the words of another scheduler.

    Attributes:
        pipeline: The pipeline.
    """

    def __init__(self, message: str, *, pipeline: str) -> None:
        super().__init__(message)
        self.pipeline = pipeline


# --- the demo ------------------------------------------------------------------------


class MissingDemoData(ModuleFailed):
    """The package with the demo's data is not installed, or does not hold what it should."""


class SchemaTaken(PgflowError):
    """The demo would use a schema that is not its own: give it another database.

    Attributes:
        schema: The schema's name.
    """

    def __init__(self, message: str, *, schema: str) -> None:
        super().__init__(message)
        self.schema = schema
