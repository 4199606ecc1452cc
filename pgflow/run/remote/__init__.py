"""Another PostgreSQL database as a source: visited, described, and copied from in binary."""
