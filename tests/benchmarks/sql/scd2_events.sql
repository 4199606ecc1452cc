-- scd2 by event time, from a source whose primary key proves that no key is NULL or comes twice:
-- the version of every changed key is closed and a new one opened at the row's own instant. No row
-- is late; that is found out before anything is written.
CREATE TEMPORARY TABLE delta ON COMMIT DROP AS
SELECT s.id, s.name, s.email, s.amount, s.updated, s.active,
       s.quantity, s.day, t.id IS NULL AS is_new, t.valid_from, NULL::bigint AS read
  FROM bench.source AS s
  LEFT JOIN bench.target AS t ON t.id = s.id AND t.valid_to IS NULL
 WHERE t.id IS NULL
    OR isfinite(s.updated) IS NOT TRUE
    OR s.updated < t.valid_from
    OR (t.name, t.email, t.amount, t.active, t.quantity, t.day)
       IS DISTINCT FROM
       (s.name, s.email, s.amount, s.active, s.quantity, s.day)
UNION ALL
SELECT (NULL::bench.source).*, NULL, NULL, count(*) FROM bench.source;

ANALYZE delta (id);

SELECT max(read) AS read, count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS closed
  FROM delta \gset

-- Every row has an instant, none is late, and no key reappears before it was closed.
SELECT 1 / (count(*) = 0)::integer AS sound
  FROM delta WHERE is_new IS NOT NULL
   AND (isfinite(updated) IS NOT TRUE OR valid_from >= updated);

SELECT 1 / (count(*) = 0)::integer AS sound
  FROM delta AS d JOIN bench.target AS t ON t.id = d.id
 WHERE d.is_new AND t.valid_to > d.updated;

UPDATE bench.target AS t
   SET valid_to = d.updated, _closed_batch_id = :'run_id'
  FROM delta AS d
 WHERE t.id = d.id AND t.valid_to IS NULL AND NOT d.is_new;

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id, valid_from)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id', updated
  FROM delta
 WHERE is_new IS NOT NULL
 ORDER BY id;

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'inserted'::bigint + :'closed'::bigint, closed = :'closed'::bigint,
       read = :'read'::bigint, unchanged = :'read'::bigint - :'inserted'::bigint - :'closed'::bigint
 WHERE run_id = :'run_id';

COMMIT;
