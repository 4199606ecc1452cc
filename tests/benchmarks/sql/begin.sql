-- How every hand-written run begins: its row in the history is committed first, so that a crash
-- leaves a trace; then the data's own transaction, with the target to itself.
INSERT INTO pgflow.runs (run_id, pipeline, target, mode, status, effective_at, parameters)
VALUES (:'run_id', 'bench', 'bench.target', :'mode', 'running', :'instant', '{}');

BEGIN;

SET LOCAL jit = off;  -- a second of compiling never pays for itself here

SELECT pg_advisory_xact_lock(hashtextextended('bench.target', 0));
