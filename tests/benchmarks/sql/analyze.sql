-- After a large change: the planner of the next statement must not guess by old statistics.
ANALYZE bench.target;
