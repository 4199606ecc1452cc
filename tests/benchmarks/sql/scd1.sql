-- scd1: a merge that stamps what it writes. The source's primary key proves that no key is NULL or
-- comes twice. The same statement counts what the source delivers, so that both see the same rows.
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

ANALYZE delta (id);

SELECT max(read) AS read, count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS updated
  FROM delta \gset

-- In the order of the key: else the source's order decides where heap and index are visited.
UPDATE bench.target AS t
   SET name = d.name, email = d.email, amount = d.amount, updated = d.updated, active = d.active,
       quantity = d.quantity, day = d.day, _loaded_at = now(), _batch_id = :'run_id',
       _changed_at = :'instant'
  FROM (SELECT * FROM delta WHERE NOT is_new ORDER BY id) AS d
 WHERE t.id = d.id;

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id, _changed_at)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id', :'instant'
  FROM delta
 WHERE is_new
 ORDER BY id;

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'inserted'::bigint, updated = :'updated'::bigint, read = :'read'::bigint,
       unchanged = :'read'::bigint - :'inserted'::bigint - :'updated'::bigint
 WHERE run_id = :'run_id';

COMMIT;
