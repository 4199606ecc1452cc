"""Showing what would be done, what is being done, and what was done."""
