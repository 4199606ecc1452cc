"""The application's own table, which is not pgflow's: a few users, to have something to read."""

import pgflow

USERS = """
CREATE SCHEMA IF NOT EXISTS source;
CREATE TABLE IF NOT EXISTS source.users (
    id bigint PRIMARY KEY, email text NOT NULL, name text, last_seen timestamptz NOT NULL
);
INSERT INTO source.users VALUES
    (1, 'first@example.com', 'First', '2024-03-01 08:00Z'),
    (2, 'second@example.com', NULL, '2024-03-01 09:00Z'),
    (3, 'third@example.com', 'Third', '2024-03-01 10:00Z')
ON CONFLICT DO NOTHING;
"""

if __name__ == "__main__":
    with pgflow.engine().begin() as connection:
        connection.exec_driver_sql(USERS)
