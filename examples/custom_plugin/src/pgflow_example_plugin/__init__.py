"""Plugins and a mode for pgflow, in a package of their own."""

from pgflow_example_plugin.notify import NotifyPlugin
from pgflow_example_plugin.provenance import ProvenancePlugin
from pgflow_example_plugin.replace_keys import REPLACE_KEYS

__all__ = ["REPLACE_KEYS", "NotifyPlugin", "ProvenancePlugin"]
