"""The plans of scd2: versions that begin when a run sees them, or at the rows' own instants."""
