-- scd2 that also closes the versions of keys that the source no longer has.
CREATE TEMPORARY TABLE delta ON COMMIT DROP AS
SELECT s.*, t.id AS current, t.valid_from,
       CASE WHEN t.id IS NULL THEN 'open' WHEN s.id IS NULL THEN 'close' ELSE 'change' END AS kind,
       NULL::bigint AS read
  FROM bench.source AS s
  FULL JOIN (SELECT * FROM bench.target WHERE valid_to IS NULL) AS t ON t.id = s.id
 WHERE t.id IS NULL OR s.id IS NULL
    OR (t.name, t.email, t.amount, t.updated, t.active, t.quantity, t.day)
       IS DISTINCT FROM
       (s.name, s.email, s.amount, s.updated, s.active, s.quantity, s.day)
UNION ALL
SELECT (NULL::bench.source).*, NULL, NULL, NULL, count(*) FROM bench.source;

ANALYZE delta (id, current);

SELECT max(read) AS read, count(*) FILTER (WHERE kind = 'open') AS opened,
       count(*) FILTER (WHERE kind = 'change') AS changed,
       count(*) FILTER (WHERE kind = 'close') AS deleted
  FROM delta \gset

-- An empty source must not close everything.
SELECT 1 / (:'read'::bigint > 0)::integer AS sound;

-- No version may end before it begins.
SELECT 1 / (count(*) = 0)::integer AS sound FROM delta WHERE valid_from >= :'instant';

UPDATE bench.target AS t
   SET valid_to = :'instant', _closed_batch_id = :'run_id'
  FROM delta AS d
 WHERE t.id = d.current AND t.valid_to IS NULL AND d.kind IN ('change', 'close');

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id, valid_from)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id', :'instant'
  FROM delta
 WHERE kind IN ('open', 'change')
 ORDER BY id;

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'opened'::bigint + :'changed'::bigint, deleted = :'deleted'::bigint,
       closed = :'changed'::bigint + :'deleted'::bigint, read = :'read'::bigint,
       unchanged = :'read'::bigint - :'opened'::bigint - :'changed'::bigint
 WHERE run_id = :'run_id';

COMMIT;
