"""An explanation says which plugins run, where they come from, and why they stand where they do."""

import json
from collections.abc import Callable

from pgflow.resolve.keys import COLUMNS, PK
from pgflow.resolve.plugin import Plugin, optional
from pgflow.resolve.resolution import Resolution

Make = Callable[..., Plugin]
Resolve = Callable[..., Resolution]


def test_an_explanation_reads_well(make: Make, resolved: Resolve) -> None:
    """The text names each plugin with its origin, its keys and its reason."""
    explanation = resolved(
        [
            make("TablePlugin", produces="primary", requires=(PK, COLUMNS, optional("hint"))),
            make("SerialPKPlugin", produces=PK),
            make("CreatedAtPlugin", contributes=COLUMNS, produces="created_at_column"),
            make("RenamePlugin", overrides="target", before="SerialPKPlugin"),
            make("ReportPlugin", requires="target", after="TablePlugin"),
        ],
        ["target"],
    ).explain()
    assert str(explanation) == (
        "Plugins of 'orders', in the order in which they run:\n"
        "given by the factory: target\n"
        "  1. CreatedAtPlugin\n"
        "       from      extra_plugins[2]\n"
        "       writes    created_at_column\n"
        "       adds to   columns\n"
        "       why here  list order\n"
        "  2. RenamePlugin\n"
        "       from      extra_plugins[3]\n"
        "       replaces  target\n"
        "       why here  list order\n"
        "  3. SerialPKPlugin\n"
        "       from      extra_plugins[1]\n"
        "       writes    pk_columns\n"
        "       why here  after RenamePlugin: which asks to run before it\n"
        "  4. TablePlugin\n"
        "       from      extra_plugins[0]\n"
        "       reads     pk_columns, columns, hint (optional)\n"
        "       writes    primary\n"
        "       why here  after CreatedAtPlugin: collects columns; after SerialPKPlugin: needs "
        "pk_columns\n"
        "  5. ReportPlugin\n"
        "       from      extra_plugins[4]\n"
        "       reads     target\n"
        "       why here  after RenamePlugin: needs target; after TablePlugin: asks to run after it"
    )


def test_two_plugins_of_one_class_are_told_apart(make: Make, resolved: Resolve) -> None:
    """Where a class stands twice in a list, reasons name the place as well."""
    first = make("Check", requires=optional("x"))
    plugins = [first, type(first)(), make("Last", after="Check"), make("P", produces="x")]
    steps = resolved(plugins).explain().steps
    assert steps[1].reason == "after P: reads x"
    assert steps[3].reason == (
        "after Check (extra_plugins[0]): asks to run after it; "
        "after Check (extra_plugins[1]): asks to run after it"
    )


def test_an_explanation_is_plain_data_too(make: Make, resolved: Resolve) -> None:
    """`to_dict` holds strings and lists only, the same facts as the text."""
    data = resolved([make("A", produces=PK), make("B", overrides=PK)], ["x"]).explain().to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["name"] == "orders"
    assert data["given"] == ["x"]
    assert data["steps"][1] == {
        "plugin": "B",
        "origin": "extra_plugins[1]",
        "requires": [],
        "optional": [],
        "produces": [],
        "contributes": [],
        "overrides": ["pk_columns"],
        "reason": "after A: replaces pk_columns",
    }
