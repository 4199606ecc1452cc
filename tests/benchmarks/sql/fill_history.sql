-- A target with closed versions of every key and a current one, as runs would have left it:
-- version after version, each over all keys.
INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _batch_id, valid_from, valid_to)
SELECT made.id, made.name, 'old' || version || made.email, made.amount, made.updated, made.active,
       made.quantity, made.day, '00000000-0000-0000-0000-000000000000',
       timestamptz '2024-01-01 00:00+00' + version * interval '30 days',
       timestamptz '2024-01-01 00:00+00' + (version + 1) * interval '30 days'
  FROM generate_series(0, :'versions'::integer - 1) AS version,
       bench.made(1, :'last', 0) AS made;

INSERT INTO bench.target
       (id, name, email, amount, updated, active, quantity, day, _batch_id, valid_from)
SELECT made.*, '00000000-0000-0000-0000-000000000000',
       timestamptz '2024-01-01 00:00+00' + :'versions'::integer * interval '30 days'
  FROM bench.made(1, :'last', 0) AS made;
