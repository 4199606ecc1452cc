"""The application's own table, which is not pgflow's: purchases, in a database of its own."""

import pgflow

PURCHASES = """
CREATE SCHEMA IF NOT EXISTS events;
CREATE TABLE IF NOT EXISTS events.purchases (
    id bigint PRIMARY KEY, user_id bigint, event_ts timestamptz, amount numeric(10, 2),
    is_sub boolean
);
INSERT INTO events.purchases VALUES
    (1, 1, '2024-03-01 08:00Z', 10.00, false),
    (2, 1, '2024-03-01 17:00Z', 5.50, true),
    (3, 1, '2024-03-02 09:00Z', 20.00, true),
    (4, 2, '2024-03-01 12:00Z', 3.00, false)
ON CONFLICT DO NOTHING;
"""

if __name__ == "__main__":
    with pgflow.engine("oltp").begin() as connection:
        connection.exec_driver_sql(PURCHASES)
