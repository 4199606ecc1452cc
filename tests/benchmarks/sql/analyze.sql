-- After a large change: the planner of the next statement must not guess by old statistics. What
-- the server had not reported yet would be taken for changes after it.
SELECT pg_stat_force_next_flush();

ANALYZE bench.target;
