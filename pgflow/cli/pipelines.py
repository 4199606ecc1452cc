"""`pgflow list`, `explain` and `preview`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pgflow import idents
from pgflow.cli.failures import FAILED, OK
from pgflow.cli.options import PreviewFormat
from pgflow.cli.output import Output
from pgflow.cli.selection import Chosen
from pgflow.connections.dsn import is_dsn
from pgflow.declare.body import Parameter
from pgflow.declare.options import nearest
from pgflow.errors import InvalidSource, UnknownTable
from pgflow.factories.pipeline import Pipeline
from pgflow.factories.simple import TableFactory
from pgflow.observe.listing import Listing
from pgflow.observe.preview import Preview
from pgflow.observe.preview_text import HINT, Line, brief_lines, lines
from pgflow.project.contents import label, path
from pgflow.project.project import Project, names_of, parameters
from pgflow.project.reading import reading, writes

#: What a listing of pipelines tells of those that have it.
_DETAILS = ("reads", "schedule", "tags", "parameters")


def list_project(
    output: Output, modules: Sequence[str] | None, *, tables: bool, as_json: bool
) -> int:
    """Write the project's pipelines, and its tables if asked for."""
    project = Project.load(modules or None)
    pipelines = [_describe(pipeline) for pipeline in project.pipelines.values()]
    described = [_describe_table(table, project) for table in project.tables.values()]
    if as_json:
        output.json({"pipelines": pipelines} | ({"tables": described} if tables else {}))
        return OK
    output.listing(_pipeline_listing(pipelines))
    if tables:
        output.line()
        output.listing(_table_listing(described))
    return OK


def explain_name(output: Output, name: str, modules: Sequence[str] | None, *, as_json: bool) -> int:
    """Write the plugin order of a pipeline, for each of its targets, or of a table."""
    project = Project.load(modules or None)
    factories = named_factories(project, name)
    explanations = [(title, factory.explain()) for title, factory in factories]
    if as_json:
        output.json([{**told.to_dict(), "name": title} for title, told in explanations])
        return OK
    for number, (title, told) in enumerate(explanations):
        if number:
            output.line()
        if len(explanations) > 1:
            output.line(title)
        output.line(str(told))
    return OK


def preview_pipelines(
    output: Output,
    chosen: Sequence[Chosen],
    *,
    verbose: bool,
    analyze: bool,
    style: PreviewFormat,
) -> int:
    """Write previews; a target that would be refused makes the command fail."""
    previews = [each.pipeline.preview(analyze=analyze, **each.values) for each in chosen]
    if style is PreviewFormat.json:
        output.json([preview.to_dict() for preview in previews])
    elif style is PreviewFormat.markdown:
        output.line("\n\n".join(preview.to_markdown() for preview in previews))
    elif previews:
        output.styled(_preview_lines(previews, verbose=verbose))
    else:
        output.note("nothing to preview: no pipeline fits what you asked for.")
    return OK if all(preview.ok for preview in previews) else FAILED


def _preview_lines(previews: Sequence[Preview], *, verbose: bool) -> Iterator[Line]:
    """Write one preview as it is written everywhere; of several, in short, the statements apart."""
    if len(previews) == 1:
        yield from lines(previews[0], verbose or None)
        return
    for number, preview in enumerate(previews):
        if verbose:
            yield from ([(("", ""),)] if number else [])
            yield from lines(preview, verbose=True)
        else:
            yield from brief_lines(preview)
    if previews and not verbose:
        yield HINT


def named_factories(project: Project, name: str) -> list[tuple[str, Any]]:
    """Return a pipeline's targets, or a table; pipelines come first where both have the name."""
    if name in project.pipelines:
        targets = project.pipelines[name].sync_targets
        return [(f"{name} -> {label(target.target_table)}", target) for target in targets]
    if any(name in names_of(table) for table in project.tables.values()):
        return [(name, project.table(name))]
    known = [*project.pipelines, *project.tables]
    raise UnknownTable(
        f"there is no pipeline or table {name!r}.{nearest(name, known)} "
        f"The project has: {', '.join(known) or 'neither'}.",
        name=name,
        candidates=tuple(known),
    )


def _describe(pipeline: Pipeline) -> dict[str, Any]:
    spec = pipeline.spec
    return {
        "name": pipeline.name,
        "targets": [label(target.table) for target in spec.targets],
        "modes": [target.options.mode for target in spec.targets],
        **_described_reading(pipeline),
        "schedule": spec.schedule,
        "parameters": [_spell(parameter) for parameter in parameters(pipeline)],
        "tags": list(spec.tags),
        "description": pipeline.doc,
    }


def _described_reading(pipeline: Pipeline) -> dict[str, Any]:
    """The tables that a pipeline reads, and whether these are all."""
    try:
        found = reading(pipeline)
    except InvalidSource:  # its run says why
        return {"reads": [], "reads_known": False, "files": [], "files_known": False}
    here = {relation[0] for relation in writes(pipeline)}
    reads = [
        idents.qualify(schema, name) + ("" if where in here else f" ({_where(where)})")
        for where, schema, name in found.relations
    ]
    return {
        "reads": reads,
        "reads_known": found.complete,
        "files": list(found.files.paths),
        "files_known": found.known and not found.files.computed,
    }


def _read_cell(described: dict[str, Any]) -> str:
    """What a pipeline reads, in one cell; what is not known of it is said."""
    left = [] if described["reads_known"] else ["?"]
    if described["reads_known"] and not described["files_known"]:
        left = ["(files: asked when it runs)"]
    return ",".join([*described["reads"], *described["files"], *left])


def _where(connection: Any) -> str:
    """Name a connection, without anything secret."""
    named = isinstance(connection, str) and not is_dsn(connection)
    return connection if named else "elsewhere"


def _spell(parameter: Parameter) -> str:
    kind = getattr(parameter.type, "__name__", str(parameter.type))
    default = "" if parameter.required else f"={parameter.default}"
    return f"{parameter.name}:{kind}{default}"


def _describe_table(table: TableFactory, project: Project) -> dict[str, Any]:
    own = path(table)
    fed = [
        pipeline.name
        for pipeline in project.pipelines.values()
        if own in [path(target.table) for target in pipeline.spec.targets]
    ]
    return {
        "name": label(table),
        "columns": [column.name for column in table.table.columns],
        "primary_key": [column.name for column in table.table.primary_key],
        "pipelines": fed,
    }


def _pipeline_listing(described: Sequence[dict[str, Any]]) -> Listing:
    headings = ("pipeline", "targets", "modes", *_DETAILS, "description")
    rows = tuple(
        (
            each["name"],
            ",".join(each["targets"]),
            ",".join(each["modes"]),
            _read_cell(each),
            each["schedule"] or "",
            ",".join(each["tags"]),
            ",".join(each["parameters"]),
            each["description"],
        )
        for each in described
    )
    return Listing(
        headings,
        rows,
        faint=frozenset({*_DETAILS, "description"}),
        below=("modes", *_DETAILS, "targets"),
        wrapping=frozenset({"description"}),
    )


def _table_listing(described: Sequence[dict[str, Any]]) -> Listing:
    rows = tuple(
        (
            each["name"],
            str(len(each["columns"])),
            ",".join(each["primary_key"]),
            ",".join(each["pipelines"]),
        )
        for each in described
    )
    headings = ("table", "columns", "primary key", "pipelines")
    return Listing(headings, rows, frozenset({"columns"}), below=("pipelines", "primary key"))
