-- The source, in no useful order: of every hundred rows the first are changed and the last missing.
-- By event time every row is newer than what the target has. The function's rows have lost the
-- scale of numbers; the table has the target's types, so that neither side has anything to cast.
CREATE TABLE bench.source AS
SELECT id, name, email, amount::numeric(12, 2) AS amount, updated + :'later'::interval AS updated, active, quantity, day
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
