-- merge that deletes what the source no longer has. One full join finds what is new, changed and
-- gone. The source's primary key proves that no key is NULL or comes twice.
CREATE TEMPORARY TABLE delta ON COMMIT DROP AS
SELECT s.*, t.id AS gone, CASE WHEN t.id IS NULL THEN 'insert' WHEN s.id IS NULL THEN 'delete'
                               ELSE 'update' END AS kind, NULL::bigint AS read
  FROM bench.source AS s
  FULL JOIN bench.target AS t ON t.id = s.id
 WHERE t.id IS NULL OR s.id IS NULL
    OR (t.name, t.email, t.amount, t.updated, t.active, t.quantity, t.day)
       IS DISTINCT FROM
       (s.name, s.email, s.amount, s.updated, s.active, s.quantity, s.day)
UNION ALL
SELECT (NULL::bench.source).*, NULL, NULL, count(*) FROM bench.source;

ANALYZE delta (id, gone);

SELECT max(read) AS read, count(*) FILTER (WHERE kind = 'insert') AS inserted,
       count(*) FILTER (WHERE kind = 'update') AS updated,
       count(*) FILTER (WHERE kind = 'delete') AS deleted
  FROM delta \gset

-- An empty source must not empty the target.
SELECT 1 / (:'read'::bigint > 0)::integer AS sound;

-- In the order of the key: else the source's order decides where heap and index are visited.
UPDATE bench.target AS t
   SET name = d.name, email = d.email, amount = d.amount, updated = d.updated, active = d.active,
       quantity = d.quantity, day = d.day, _loaded_at = now(), _batch_id = :'run_id'
  FROM (SELECT * FROM delta WHERE kind = 'update' ORDER BY id) AS d
 WHERE t.id = d.id;

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id'
  FROM delta
 WHERE kind = 'insert'
 ORDER BY id;

DELETE FROM bench.target AS t
 USING delta AS d
 WHERE t.id = d.gone AND d.kind = 'delete';

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'inserted'::bigint, deleted = :'deleted'::bigint, updated = :'updated'::bigint,
       read = :'read'::bigint,
       unchanged = :'read'::bigint - :'inserted'::bigint - :'updated'::bigint
 WHERE run_id = :'run_id';

COMMIT;
