-- append with a key: each key once. Rows whose key is there with other values are counted apart.
-- The source's primary key proves that no key comes twice. A key that somebody else inserts meanwhile
-- is left alone.
CREATE TEMPORARY TABLE delta ON COMMIT DROP AS
SELECT s.*, t.id IS NULL AS is_new, NULL::bigint AS read
  FROM bench.source AS s
  LEFT JOIN bench.target AS t ON t.id = s.id
 WHERE t.id IS NULL
    OR (t.name, t.email, t.amount, t.updated, t.active, t.quantity, t.day)
       IS DISTINCT FROM
       (s.name, s.email, s.amount, s.updated, s.active, s.quantity, s.day)
UNION ALL
SELECT (NULL::bench.source).*, NULL, count(*) FROM bench.source;

SELECT max(read) AS read, count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS skipped
  FROM delta \gset

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id'
  FROM delta
 WHERE is_new
 ORDER BY id
    ON CONFLICT (id) DO NOTHING;

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'inserted'::bigint, skipped = :'skipped'::bigint, read = :'read'::bigint,
       unchanged = :'read'::bigint - :'inserted'::bigint - :'skipped'::bigint
 WHERE run_id = :'run_id';

COMMIT;
