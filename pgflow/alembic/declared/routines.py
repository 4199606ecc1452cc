"""Functions, procedures and triggers of sqlalchemy-declarative-extensions, as SQL.

Its own texts lose OUT parameters and transition tables' details, quote parameters wrongly and
re-indent bodies, so the text is written here. A body stays as it is, to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column
from sqlalchemy.engine import Dialect
from sqlalchemy_declarative_extensions import Function, Procedure, Trigger
from sqlalchemy_declarative_extensions.dialects.postgresql import FunctionParam, FunctionReturn

from pgflow import idents
from pgflow.alembic.literals import dollar, literal

_SQL_BODY = re.compile(r"\s*(BEGIN\s+ATOMIC|RETURN)\b", re.IGNORECASE)
_MODES = {"o": "OUT ", "b": "INOUT ", "v": "VARIADIC "}


def qualified(name: str, schema: str | None = None) -> str:
    """Quote a name as sqlalchemy-declarative-extensions takes it: `"table"`, `"schema.table"`."""
    if schema is None and "." in name:
        schema, name = name.split(".", 1)
    return idents.qualify(schema, name)


def function_sql(function: Function, dialect: Dialect) -> str:
    """Write CREATE FUNCTION.

    Args:
        function: The declared function, also of the PostgreSQL dialect.
        dialect: The dialect that prints the types of columns.
    """
    parameters = [_parameter(given) for given in function.parameters or ()]
    columns = [p for p in parameters if isinstance(p, FunctionParam) and p.mode == "t"]
    inputs = ", ".join(_written(p) for p in parameters if p not in columns)
    has_out = any(isinstance(p, FunctionParam) and p.mode in ("o", "b") for p in parameters)
    returns = _returns(function.returns, columns, has_out or _has_out(inputs), dialect)
    parts = [f"CREATE FUNCTION {qualified(function.name, function.schema)}({inputs})"]
    parts += [f"RETURNS {returns}"] if returns else []
    return " ".join([*parts, *_options(function), _body(function)])


def procedure_sql(procedure: Procedure) -> str:
    """Write CREATE PROCEDURE."""
    head = f"CREATE PROCEDURE {qualified(procedure.name, procedure.schema)}()"
    return " ".join([head, *_options(procedure), _body(procedure)])


def trigger_sql(trigger: Trigger) -> str:
    """Write CREATE TRIGGER."""
    given: Any = trigger
    events = " OR ".join(event.value for event in given.events)
    parts = [f"CREATE TRIGGER {idents.quote(given.name)} {given.time.value} {events}"]
    parts.append(f"ON {qualified(given.on)}")
    tables = [("OLD", given.old_table), ("NEW", given.new_table)]
    seen = [f"{which} TABLE AS {idents.quote(name)}" for which, name in tables if name]
    parts += [f"REFERENCING {' '.join(seen)}"] if seen else []
    parts.append(f"FOR EACH {given.for_each.value}")
    parts += [f"WHEN ({given.condition})"] if given.condition else []
    arguments = ", ".join(literal(str(argument)) for argument in given.arguments or ())
    parts.append(f"EXECUTE FUNCTION {qualified(given.execute)}({arguments})")
    return " ".join(parts)


def _parameter(given: Any) -> str | FunctionParam:
    return FunctionParam(*given) if isinstance(given, tuple) else given


def _written(parameter: str | FunctionParam) -> str:
    if isinstance(parameter, str):
        return parameter
    name = f"{_column_name(parameter.name)} " if parameter.name else ""
    default = "" if parameter.default is None else f" DEFAULT {parameter.default}"
    return f"{_MODES.get(parameter.mode or 'i', '')}{name}{parameter.type}{default}"


def _column_name(name: str) -> str:
    return name if name.startswith('"') else idents.quote(name)


def _has_out(inputs: str) -> bool:
    return re.search(r"(^|,)\s*(INOUT|OUT)\s", inputs, re.IGNORECASE) is not None


def _returns(
    returns: Any, columns: list[FunctionParam], has_out: bool, dialect: Dialect
) -> str | None:
    if columns:
        listed = ", ".join(f"{_column_name(c.name or '')} {c.type}" for c in columns)
        return f"TABLE ({listed})"
    if isinstance(returns, FunctionReturn):
        if returns.table:
            listed = ", ".join(_result(column, dialect) for column in returns.table)
            return f"TABLE ({listed})"
        returns = returns.value
    # The declaration's own default is "void", which no function with OUT parameters returns.
    if returns is None or (has_out and returns == "void"):
        return None if has_out else "void"
    return str(returns)


def _result(column: Any, dialect: Dialect) -> str:
    if isinstance(column, Column):
        return f"{idents.quote(column.name)} {column.type.compile(dialect=dialect)}"
    if isinstance(column, tuple):
        name, type_ = column
        return f"{_column_name(name)} {type_}"
    return str(column)


def _options(routine: Any) -> Iterator[str]:
    yield f"LANGUAGE {routine.language}"
    security = getattr(routine, "security", None)
    if security is not None and security.value == "DEFINER":
        yield "SECURITY DEFINER"
    volatility = getattr(routine, "volatility", None)
    if volatility is not None and volatility.value != "VOLATILE":
        yield volatility.value
    parallel = getattr(routine, "parallel", None)
    if parallel is not None and parallel.value != "UNSAFE":
        yield f"PARALLEL {parallel.value}"
    if getattr(routine, "strict", False):
        yield "STRICT"
    if getattr(routine, "leakproof", False):
        yield "LEAKPROOF"


def _body(routine: Any) -> str:
    definition: str = routine.definition
    if routine.language.lower() == "sql" and _SQL_BODY.match(definition):
        return definition.strip().removesuffix(";")
    return f"AS {dollar(definition)}"
