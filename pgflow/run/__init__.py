"""Executing plans: the runner, its locks, and what it records."""
