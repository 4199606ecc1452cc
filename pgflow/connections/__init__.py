"""Names into engines: where a connection is looked up, and the embedded PostgreSQL behind one."""
