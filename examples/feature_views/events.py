"""The application's own table, which is not pgflow's: what users have done, by period."""

import pgflow

EVENTS = """
CREATE SCHEMA IF NOT EXISTS events;
CREATE TABLE IF NOT EXISTS events.user_events (
    user_id bigint, period_start date, event_ts timestamptz, spend numeric,
    PRIMARY KEY (user_id, period_start)
);
INSERT INTO events.user_events VALUES
    (1, '2024-03-01', '2024-03-01 12:00Z', 10.00),
    (1, '2024-03-02', '2024-03-02 12:00Z', 25.50),
    (2, '2024-03-01', '2024-03-01 18:00Z', 7.25)
ON CONFLICT DO NOTHING;
"""

if __name__ == "__main__":
    with pgflow.engine("warehouse").begin() as connection:
        connection.exec_driver_sql(EVENTS)
