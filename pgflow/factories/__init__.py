"""Factories that users call: a declaration in, tables on a MetaData or a pipeline out."""
