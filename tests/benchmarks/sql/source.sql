-- The source, in no useful order: of every hundred rows the first are changed and the last missing.
CREATE TABLE bench.source AS
SELECT *
  FROM bench.made(1, :'last', :'changed') AS made
 WHERE made.id % 100 < 100 - :'missing'::integer
 ORDER BY hashint8(made.id);

DO $$
BEGIN
  IF :'proven' = 'True' THEN
    ALTER TABLE bench.source ADD PRIMARY KEY (id);
  END IF;
END
$$;
