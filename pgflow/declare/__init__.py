"""What the user said, as frozen data: no database, no plugin."""
