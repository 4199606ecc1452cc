"""What to type: examples for every command, which its `--help` shows at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import typer
from typer.models import CommandInfo, TyperInfo

#: Command lines without `pgflow`, by command. A test reads each of them as typer does.
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "init": ("init warehouse", "init . --url 'postgresql://me@localhost/warehouse'"),
    "migrate": ("migrate --dry-run", "migrate", "migrate warehouse --yes"),
    "drift": ("drift", "drift warehouse --format json"),
    "grants": ("grants --loader etl --reader analyst",),
    "eject": ("eject", "eject --drop-system-columns --yes"),
    "backfill": (
        "backfill orders --from 2024-01-01 --to 2024-02-01 --step '1 day'",
        "backfill orders --from 2024-01-01 --to 2024-02-01 --step '1 day' --dry-run",
    ),
    "tracking": ("tracking app.orders", "tracking app.orders --undo"),
    "forget": (
        "forget warehouse.customer 4711 --dry-run",
        "forget warehouse.price country=DE article=9",
    ),
    "evolve": ("evolve orders --dry-run", "evolve orders"),
    "worker": ("worker --init", "worker", "worker --once"),
    "run-due": ("run-due", "run-due 'warehouse.*' --dry-run"),
    "export": ("export airflow --output dags", "export systemd customer_sync --output units"),
    "graph": (
        "graph",
        "graph +daily_sales --columns",
        "graph --format svg --output graph.svg",
        "graph --plugins warehouse.customer",
    ),
    "demo": ("demo", "demo --reset"),
    "list": ("list", "list --tables --format json"),
    "explain": ("explain customer_sync", "explain warehouse.customer"),
    "preview": (
        "preview customer_sync",
        "preview 'warehouse.*' --verbose",
        "preview customer_sync --analyze",
        "preview --all --format markdown",
    ),
    "dry-run": ("dry-run customer_sync", "dry-run --all"),
    "sync": (
        "sync customer_sync",
        "sync 'warehouse.*' tag:nightly",
        "sync daily_sales --param day=2024-03-01",
        "sync --all --continue",
    ),
    "retry": ("retry", "retry customer_sync"),
    "history": ("history", "history customer_sync --limit 5", "history --format json"),
    "history show": ("history show 3f2a9c41",),
    "history prune": ("history prune --older-than 90d --dry-run",),
    "connections list": ("connections list",),
    "connections check": ("connections check", "connections check warehouse"),
    "connections set": (
        "connections set warehouse='postgresql://loader@db.example.com/warehouse'",
        "connections set warehouse='postgresql://loader:${PASSWORD}@db.example.com/dw'",
        "connections set warehouse=-",
    ),
    "connections remove": ("connections remove warehouse",),
    "server start": ("server start", "server start embedded://trial/warehouse"),
    "server stop": ("server stop",),
    "server status": ("server status", "server status --format json"),
    "tenants status": ("tenants status",),
    "tenants upgrade": ("tenants upgrade", "tenants upgrade --only acme"),
    "tenants downgrade": ("tenants downgrade base --only acme",),
    "tenants add": ("tenants add acme",),
    "watermark show": ("watermark show", "watermark show orders"),
    "watermark reset": ("watermark reset orders --dry-run", "watermark reset orders"),
    "watermark set": ("watermark set orders 2024-03-01T00:00:00Z", "watermark set orders now"),
    "slots list": ("slots list",),
    "slots create": ("slots create orders --dry-run", "slots create orders"),
    "slots drop": ("slots drop pgflow_orders",),
    "quarantine show": ("quarantine show", "quarantine show orders --limit 5"),
    "quarantine purge": ("quarantine purge orders --older-than 30",),
}


def teach(app: typer.Typer) -> None:
    """Let the help of every command end with its examples.

    Args:
        app: The command line, with all its commands.
    """
    for path, info in _commands(app):
        examples = EXAMPLES.get(path)
        if examples:
            # \b has the lines stay as they are.
            told = "\n".join(f"  pgflow {example}" for example in examples)
            info.epilog = f"\b\nExamples:\n{told}"


def _commands(app: typer.Typer, path: str = "") -> Iterator[tuple[str, CommandInfo | TyperInfo]]:
    for command in app.registered_commands:
        yield f"{path}{command.name}", command
    for group in app.registered_groups:
        if group.typer_instance is not None and group.name:
            yield f"{path}{group.name}", group
            yield from _commands(group.typer_instance, f"{path}{group.name} ")
