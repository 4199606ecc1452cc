"""Measurements of pgflow beside hand-written SQL of the same effect."""
