-- A target that was loaded once.
INSERT INTO bench.target (id, name, email, amount, updated, active, quantity, day, _batch_id)
SELECT made.*, '00000000-0000-0000-0000-000000000000'
  FROM bench.made(1, :'last', 0) AS made;
