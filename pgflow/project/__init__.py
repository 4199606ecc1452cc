"""A user's project: its modules, the pipelines and tables in them, and their order."""

from __future__ import annotations

from pgflow.project.project import Project, sync_all

__all__ = ["Project", "sync_all"]
