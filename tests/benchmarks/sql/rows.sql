-- Where the benchmark's tables live, and the rows that source and target are made of.
CREATE SCHEMA bench;

-- Rows first to last; of every hundred the first :changed have other values.
CREATE FUNCTION bench.made(first bigint, last bigint, changed integer)
RETURNS TABLE (id bigint, name text, email text, amount numeric(12, 2), updated timestamptz,
               active boolean, quantity integer, day date)
LANGUAGE sql STABLE AS $$
  SELECT i,
         'name ' || i,
         'user' || i || CASE WHEN i % 100 < changed THEN '@new.example.org' ELSE '@example.org' END,
         (i * 7919 % 1000000 / 100.0)::numeric(12, 2),
         timestamptz '2024-01-01 00:00+00' + i * interval '1 second',
         i % 3 = 0,
         (i % 1000)::integer,
         date '2024-01-01' + (i % 365)::integer
    FROM generate_series(first, last) AS i
$$;
