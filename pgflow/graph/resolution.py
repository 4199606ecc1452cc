"""Which columns of which tables a query's columns are made of, by sqlglot; never by guessing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgflow.errors import MissingExtra

#: A schema and a table.
Path = tuple[str, str]

#: The columns of tables, as far as they are known.
Schema = Mapping[Path, Sequence[str]]


#: Functions of pg_catalog that only compute, and that sqlglot does not know as such. The server
#: looks there first, so no function of a user takes their place.
_COMPUTING_NAMES = (
    "age array_fill array_lower array_ndims array_positions array_replace array_upper btrim "
    "clock_timestamp convert_from convert_to date_bin date_part daterange decode encode erf "
    "format gcd gen_random_uuid get_byte hashtext initcap int4range int8range isfinite "
    "json_array_length json_build_array json_build_object json_typeof jsonb_array_length "
    "jsonb_build_array jsonb_build_object jsonb_insert jsonb_path_exists jsonb_path_query_array "
    "jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof justify_days "
    "justify_hours justify_interval lcm lower_inc make_date make_interval make_time make_timestamp "
    "make_timestamptz num_nonnulls num_nulls numrange octet_length overlay quote_ident "
    "quote_literal quote_nullable regexp_count regexp_match regexp_matches regexp_substr scale "
    "set_byte sha224 sha384 sha512 starts_with statement_timestamp timezone to_hex "
    "transaction_timestamp trim_scale tsrange tstzrange upper_inc width_bucket"
)
_COMPUTING = frozenset(_COMPUTING_NAMES.split())


@dataclass(frozen=True)
class Origins:
    """What a value is made of.

    Attributes:
        columns: Schema, table and column, sorted. Conditions, and what only orders or joins, do
            not count.
        unknown: Why there may be more; empty if these are all.
    """

    columns: tuple[tuple[str, str, str], ...] = ()
    unknown: str = ""

    def __or__(self, other: Origins) -> Origins:
        both = tuple(sorted({*self.columns, *other.columns}))
        return Origins(both, self.unknown or other.unknown)


@dataclass(frozen=True)
class Outputs:
    """The columns of a query's result.

    Attributes:
        columns: Origins by name.
        rest: Why there may be other columns; empty if these are all.
    """

    columns: Mapping[str, Origins]
    rest: str = ""


def require_sqlglot() -> None:
    """Refuse to go on without the package that takes queries apart.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import sqlglot  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingExtra(
            "the lineage of columns needs sqlglot: pip install 'pgflow[lineage]'. Tables and "
            "pipelines are drawn without it."
        ) from error


def outputs(text: str, schema: Schema) -> Outputs:
    """Resolve the columns of a query.

    Args:
        text: One query of PostgreSQL, placeholders as `$1`.
        schema: The columns of the tables that are known. A table without a schema is taken to be
            in `public`.

    Returns:
        The columns. What cannot be resolved says why.
    """
    from sqlglot.errors import SqlglotError

    try:
        return _resolved(text, schema)
    except SqlglotError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Outputs({}, f"sqlglot says: {reason}")
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        # A query beyond sqlglot must not take the rest of the graph away.
        return Outputs({}, f"sqlglot fails with {type(error).__name__}")


def _resolved(text: str, schema: Schema) -> Outputs:
    import sqlglot
    from sqlglot import exp
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope
    from sqlglot.schema import MappingSchema

    tables: dict[str, Any] = {}
    for (namespace, table), columns in schema.items():
        tables.setdefault(namespace, {})[table] = dict.fromkeys(columns, "text")
    parsed = sqlglot.parse_one(text, dialect="postgres")
    if not isinstance(parsed, exp.Query):
        return Outputs({}, "it is no SELECT")
    if any(not isinstance(cte.this, exp.Query) for cte in parsed.find_all(exp.CTE)):
        return Outputs({}, "its WITH changes rows")
    for select in parsed.find_all(exp.Select):
        select.set("locks", None)  # FOR UPDATE OF names aliases, which sqlglot takes for tables
    qualified = qualify(
        parsed,
        dialect="postgres",
        schema=MappingSchema(tables, dialect="postgres", normalize=False),
        db="public",
        validate_qualify_columns=False,
    )
    query = qualified.unnest()
    scope = build_scope(query)
    if scope is None:
        return Outputs({}, "sqlglot finds no query in it")
    return _Resolver(query, schema).outputs(scope)


class _Resolver:
    """Follows the columns of a qualified query down to tables."""

    def __init__(self, query: Any, schema: Schema) -> None:
        from sqlglot import exp

        self._exp = exp
        self._schema = schema
        self._known: dict[tuple[int, int], Origins] = {}
        self._recursive = {
            cte.alias
            for cte in query.find_all(exp.CTE)
            if any(not t.db and t.name == cte.alias for t in cte.this.find_all(exp.Table))
        }

    def outputs(self, scope: Any) -> Outputs:
        """Resolve every column of a scope's result."""
        found: dict[str, Origins] = {}
        rest = ""
        selects = scope.expression.selects
        if not selects:
            return Outputs({}, "its columns have no names that sqlglot finds")
        for place, select in enumerate(selects):
            if select.is_star:
                rest = f"the columns of {select.sql(dialect='postgres')} are not known"
                continue
            name = select.alias_or_name
            origins = self._place(scope, place)
            if name in found:
                origins = Origins((), f"several columns are called {name}")
            found[name] = origins
        if rest and self._is_union(scope):
            # Positions of the parts do not correspond to names any more.
            return Outputs({}, rest)
        return Outputs(found, rest)

    def _is_union(self, scope: Any) -> bool:
        return isinstance(scope.expression, self._exp.SetOperation)

    def _place(self, scope: Any, place: int) -> Origins:
        key = (id(scope), place)
        if key not in self._known:
            self._known[key] = self._look(scope, place)
        return self._known[key]

    def _look(self, scope: Any, place: int) -> Origins:
        if self._is_union(scope):
            parts = [self._place(part, place) for part in scope.set_operation_scopes]
            whole = parts[0]
            for part in parts[1:]:
                whole |= part
            return whole
        selects = scope.expression.selects
        if any(each.is_star for each in selects[: place + 1]) or place >= len(selects):
            return Origins((), "the columns of * are not known")
        return self._of(scope, selects[place])

    def _of(self, scope: Any, expression: Any) -> Origins:
        """The origins of an expression: those of all columns in it."""
        found = Origins()
        for node in self._nodes(expression):
            found |= self._of_node(scope, node)
        return found

    def _nodes(self, expression: Any) -> Iterator[Any]:
        """The parts of an expression; queries inside it are given, not what is in them."""
        yield from expression.walk(prune=lambda node: isinstance(node, self._exp.Query))

    def _of_node(self, scope: Any, node: Any) -> Origins:
        exp = self._exp
        if isinstance(node, exp.Column):
            return self._column(scope, node)
        if isinstance(node, exp.Query):
            return self._subquery(scope, node)
        if isinstance(node, exp.TableColumn):
            return Origins((), f"{node.name} is a whole row")
        if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
            if node.name.lower() in _COMPUTING and not isinstance(node.parent, exp.Dot):
                return Origins()
            return Origins((), f"{node.name}() may read more than what it is given")
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
            return Origins((), f"{node.sql()} may read more than what it is given")
        if isinstance(node, exp.Window) and node.args.get("alias") is not None:
            return self._named_window(scope, node.args["alias"].name)
        return Origins()

    def _named_window(self, scope: Any, name: str) -> Origins:
        for window in scope.expression.args.get("windows") or ():
            if window.name == name:
                inner = Origins()
                for part in (*window.args.get("partition_by", ()), window.args.get("order")):
                    inner |= self._of(scope, part) if part is not None else Origins()
                return inner if window.args.get("alias") is None else Origins((), "windows nest")
        return Origins((), f"the window {name} is not found")

    def _subquery(self, scope: Any, query: Any) -> Origins:
        inner = query.unnest()
        for each in scope.subquery_scopes:
            if each.expression is inner:
                found = self.outputs(each)
                whole = Origins((), found.rest)
                for origins in found.columns.values():
                    whole |= origins
                return whole
        return Origins((), "a query inside it is not understood")

    def _column(self, scope: Any, column: Any) -> Origins:
        name = column.name
        if any(join.method == "NATURAL" for join in scope.expression.args.get("joins") or ()):
            return Origins((), "it is joined by NATURAL JOIN")
        if isinstance(column.this, self._exp.Star) or not name:
            return Origins((), "the columns of * are not known")
        if not column.table:
            return self._unqualified(scope, name)
        here = scope
        while here is not None:
            source = here.sources.get(column.table)
            if source is not None:
                return self._from(source, column.table, name)
            here = here.parent
        return Origins((), f"{column.table}.{name} is not found")

    def _unqualified(self, scope: Any, name: str) -> Origins:
        """A name that belongs to the only table there is, if nothing around it has columns too."""
        sources = scope.selected_sources
        if len(sources) != 1 or name in sources or self._is_inside(scope):
            return Origins((), f"nobody knows which table {name} is of")
        ((alias, (_, source)),) = sources.items()
        return self._from(source, alias, name)

    def _is_inside(self, scope: Any) -> bool:
        """Whether columns of a query around this one can be meant."""
        here = scope
        while here is not None:
            lateral = here.expression.find_ancestor(self._exp.Lateral)
            if here.is_subquery or here.is_udtf or lateral is not None:
                return True
            here = here.parent
        return False

    def _from(self, source: Any, alias: str, name: str) -> Origins:
        exp = self._exp
        if isinstance(source, exp.Table):
            if not isinstance(source.this, exp.Identifier):
                return Origins((), f"{name} is what a function returns")
            if source.alias_column_names:
                return Origins((), f"the columns of {alias} have other names there")
            path = (source.db, source.name)
            if not source.db or name not in self._schema.get(path, [name]):
                return Origins((), f"{alias} is not declared with a column {name}")
            return Origins(((*path, name),))
        if alias in self._recursive or _cte_name(source) in self._recursive:
            return Origins((), f"{alias} refers to itself")
        if isinstance(source.expression, exp.Values):
            plain = not any(source.expression.find_all(exp.Column, exp.Query, exp.Anonymous))
            return Origins((), "" if plain else f"{alias} computes its values")
        if not isinstance(source.expression, exp.Query):
            return Origins((), f"{name} is what a function returns")
        names = [each.alias_or_name for each in source.expression.selects]
        if names.count(name) != 1:
            return Origins((), f"{alias}.{name} is not found, or found several times")
        return self._place(source, names.index(name))


def _cte_name(scope: Any) -> str:
    parent = scope.expression.parent
    return str(parent.alias) if parent is not None and scope.is_cte else ""
