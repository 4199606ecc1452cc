"""How far an incremental pipeline has read: positions, slots of the log, and backfills."""
