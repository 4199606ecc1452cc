"""What a MetaData declares, as SQL statements."""
