"""The pen: puts tables, constraints and indexes on a MetaData."""
