"""Graphs of projects and factories: tables, pipelines, columns, plugins, in several formats."""

from __future__ import annotations

from pgflow.graph.elements import Edge, Graph, Node
from pgflow.graph.formats import draw
from pgflow.graph.plugin_keys import plugin_graph
from pgflow.graph.tables import project_graph

__all__ = ["Edge", "Graph", "Node", "draw", "plugin_graph", "project_graph"]
