"""Metadata into databases."""
