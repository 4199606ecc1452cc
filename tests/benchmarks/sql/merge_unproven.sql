-- merge from a source that nothing proves to have each key once; it is read once.
--
-- Every source row is new, changed or unchanged; every live row of the target is met by the source
-- or kept. Rows that need no writing are dropped as they pass, and sequences count them: that is
-- cheaper than any copy of the source. If as many target rows were met as there were meetings, no
-- key came twice.
CREATE TEMPORARY SEQUENCE unchanged CACHE 10000;

CREATE TEMPORARY SEQUENCE kept CACHE 10000;

CREATE TEMPORARY TABLE delta ON COMMIT DROP AS
SELECT s.*, t.id IS NULL AS is_new, NULL::bigint AS live
  FROM bench.source AS s
  FULL JOIN bench.target AS t ON t.id = s.id
 WHERE CASE WHEN t.id IS NULL THEN true
            WHEN s.id IS NULL THEN nextval('kept') < 0
            ELSE (t.name, t.email, t.amount, t.updated, t.active, t.quantity, t.day)
                 IS DISTINCT FROM
                 (s.name, s.email, s.amount, s.updated, s.active, s.quantity, s.day)
              OR nextval('unchanged') < 0
       END
UNION ALL
SELECT (NULL::bench.source).*, NULL, count(*) FROM bench.target;

ANALYZE delta (id);

-- Calls so far: one more than that is what nextval says now.
SELECT nextval('unchanged') - 1 AS unchanged, nextval('kept') - 1 AS kept, max(live) AS live,
       count(*) FILTER (WHERE is_new) AS inserted,
       count(*) FILTER (WHERE NOT is_new) AS updated,
       count(*) FILTER (WHERE is_new AND id IS NULL) AS nulls
  FROM delta \gset

SELECT count(*) AS repeated
  FROM (SELECT FROM delta WHERE is_new GROUP BY id HAVING count(*) > 1) AS twice \gset

-- Each target row was met at most once, and no new key came twice; else this stops the run.
SELECT 1 / (:'nulls'::bigint = 0 AND :'repeated'::bigint = 0
            AND :'unchanged'::bigint + :'updated'::bigint = :'live'::bigint - :'kept'::bigint
           )::integer AS sound;

DROP SEQUENCE unchanged, kept;

-- In the order of the key: else the source's order decides where heap and index are visited.
UPDATE bench.target AS t
   SET name = d.name, email = d.email, amount = d.amount, updated = d.updated, active = d.active,
       quantity = d.quantity, day = d.day, _loaded_at = now(), _batch_id = :'run_id'
  FROM (SELECT * FROM delta WHERE NOT is_new ORDER BY id) AS d
 WHERE t.id = d.id;

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _loaded_at, _batch_id)
SELECT id, name, email, amount, updated, active, quantity, day, now(), :'run_id'
  FROM delta
 WHERE is_new
 ORDER BY id;

UPDATE pgflow.runs
   SET status = 'success', finished_at = clock_timestamp(),
       seconds = extract(epoch FROM clock_timestamp() - started_at),
       inserted = :'inserted'::bigint, updated = :'updated'::bigint,
       unchanged = :'unchanged'::bigint,
       read = :'inserted'::bigint + :'updated'::bigint + :'unchanged'::bigint
 WHERE run_id = :'run_id';

COMMIT;
