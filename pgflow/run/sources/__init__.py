"""Sources that are no PostgreSQL: rows of Python, files, databases of other kinds."""
