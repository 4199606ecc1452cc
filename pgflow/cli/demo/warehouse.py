"""A warehouse over the flights that left New York in 2013: six tables, and what fills each.

The airlines' own system is the schema `ops`; flights and weather arrive there day by day. This
module is written as yours would be. Try it:

    pgflow list --tables --module pgflow.cli.demo.warehouse
    pgflow explain plane_bases --module pgflow.cli.demo.warehouse
    pgflow preview flights --module pgflow.cli.demo.warehouse
"""

from datetime import date
from typing import Annotated

import pgflow
from pgflow import Check, ForeignKey, Index, pk
from pgflow.types import Boolean, Date, Double, Integer, Numeric, SmallInt, Text, TimestampTZ

# --- airlines and airports: small lists, kept as they are now ---------------------------------


@pgflow.table(schema="warehouse")
class Airline:
    """A carrier."""

    carrier: Annotated[Text, pk()]
    name: Text


@pgflow.table(schema="warehouse")
class Airport:
    """An airport; not only those that the flights go to."""

    code: Annotated[Text, pk()]
    name: Text
    latitude: Double
    longitude: Double
    altitude_feet: Integer
    time_zone: Text | None


@pgflow.pipeline(target=Airline, mode="merge", source_table="ops.airlines")
def airlines() -> None:
    """Carriers by their two-letter codes."""


@pgflow.pipeline(target=Airport, mode="merge")
def airports() -> str:
    """Airports by their codes."""
    return """
        SELECT faa AS code, name, lat AS latitude, lon AS longitude,
               alt AS altitude_feet, tzone AS time_zone
          FROM ops.airports
    """


# --- planes: the latest state, and when it changed --------------------------------------------


@pgflow.table(schema="warehouse")
class Plane:
    """A plane as the register has it now."""

    tailnum: Annotated[Text, pk()]
    manufacturer: Text
    model: Text
    built: SmallInt | None
    seats: SmallInt
    last_flight: Date | None


@pgflow.pipeline(target=Plane, mode="scd1")
def planes() -> str:
    """Planes in the register, each with the day of its last departure."""
    return """
        SELECT p.tailnum, p.manufacturer, p.model, p.year AS built, p.seats, f.last_flight
          FROM ops.planes AS p
          LEFT JOIN (SELECT tailnum, max(make_date(year, month, day)) AS last_flight
                       FROM ops.flights
                      WHERE dep_time IS NOT NULL
                      GROUP BY tailnum) AS f USING (tailnum)
    """


# --- who flies a plane, and from where: every version, with its validity ----------------------


@pgflow.table(schema="warehouse")
class PlaneBase:
    """Who flies a plane, and from where; one row for each time that it changed."""

    tailnum: Annotated[Text, pk()]
    carrier: Text
    home_airport: Text

    __table_items__ = (ForeignKey({"{carrier}": "airline.carrier"}),)


@pgflow.pipeline(target=PlaneBase, mode="scd2")
def plane_bases(*, day: date = date(2013, 12, 31)) -> str:  # noqa: ARG001  # it is :day below
    """Each plane's carrier and home airport, as the flights up to a day show them."""
    # The carrier is that of the latest departure; home is the airport that the plane has left
    # most often, the first in the alphabet of several.
    return """
        SELECT tailnum,
               (array_agg(carrier ORDER BY time_hour DESC, minute DESC, carrier))[1] AS carrier,
               mode() WITHIN GROUP (ORDER BY origin) AS home_airport
          FROM ops.flights
         WHERE make_date(year, month, day) <= :day
           AND tailnum IS NOT NULL AND dep_time IS NOT NULL
         GROUP BY tailnum
    """


# --- flights: facts, added as they arrive -----------------------------------------------------


@pgflow.table(schema="warehouse")
class Flight:
    """A flight that left New York, or should have."""

    flight_date: Annotated[Date, pk()]
    carrier: Annotated[Text, pk()]
    flight: Annotated[Integer, pk()]
    origin: Annotated[Text, pk()]
    destination: Text
    tailnum: Text | None
    scheduled_departure: TimestampTZ
    departure_delay: SmallInt | None
    arrival_delay: SmallInt | None
    cancelled: Boolean
    distance_miles: Integer

    # Four destinations and some planes are in no list of the airlines, so only two keys refer.
    __table_items__ = (
        ForeignKey({"{carrier}": "airline.carrier"}),
        ForeignKey({"{origin}": "airport.code"}),
        Check("{distance_miles} > 0"),
        Index(None, "tailnum"),
    )


@pgflow.pipeline(target=Flight, mode="append", incremental_column="scheduled_departure")
def flights() -> str:
    """Flights, each once; a run reads from the last departure seen on."""
    return """
        SELECT make_date(year, month, day) AS flight_date, carrier, flight, origin,
               dest AS destination, tailnum,
               time_hour + make_interval(mins => minute) AS scheduled_departure,
               dep_delay AS departure_delay, arr_delay AS arrival_delay,
               dep_time IS NULL AS cancelled, distance AS distance_miles
          FROM ops.flights
    """


# --- the days: a report, built anew each time -------------------------------------------------


@pgflow.table(schema="warehouse")
class DailySummary:
    """What a day was like at an airport."""

    flight_date: Annotated[Date, pk()]
    origin: Annotated[Text, pk()]
    flights: Integer
    cancelled: Integer
    mean_delay: Numeric[6, 1] | None
    mean_wind_mph: Numeric[4, 1] | None


@pgflow.pipeline(target=DailySummary, mode="truncate")
def daily_summaries() -> str:
    """Flights, cancellations, delays and wind, by day and airport."""
    return """
        SELECT f.flight_date, f.origin, f.flights, f.cancelled, f.mean_delay, w.mean_wind_mph
          FROM (SELECT flight_date, origin, count(*) AS flights,
                       count(*) FILTER (WHERE cancelled) AS cancelled,
                       avg(departure_delay) AS mean_delay
                  FROM warehouse.flight
                 GROUP BY flight_date, origin) AS f
          LEFT JOIN (SELECT make_date(year, month, day) AS flight_date, origin,
                            avg(wind_speed) AS mean_wind_mph
                       FROM ops.weather
                      GROUP BY 1, 2) AS w USING (flight_date, origin)
    """
