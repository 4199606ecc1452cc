-- The first load of merge: the target is empty, and its own constraints refuse NULL and repeated
-- keys. Filling the indexes in their order pays for the sort.
INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id'
  FROM bench.source
 ORDER BY id;

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'ROW_COUNT'::bigint, read = :'ROW_COUNT'::bigint
 WHERE run_id = :'run_id';

COMMIT;
