-- truncate: everything is replaced. Filling the primary key in its order pays for the sort.
SELECT count(*) AS deleted FROM bench.target \gset

TRUNCATE bench.target;

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id'
  FROM bench.source
 ORDER BY id;

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'ROW_COUNT'::bigint, read = :'ROW_COUNT'::bigint, deleted = :'deleted'::bigint
 WHERE run_id = :'run_id';

COMMIT;
