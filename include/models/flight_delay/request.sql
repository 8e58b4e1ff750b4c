-- The flights that are scheduled within the interval, as they are asked about two hours before: what the schedule says, and the
-- newest weather at the airport by then.
WITH flights AS (
    SELECT *, scheduled_at - INTERVAL 2 HOUR AS asked_at
    FROM departures
    WHERE scheduled_at >= $start AND scheduled_at < $end
)
SELECT
    strftime(flights.scheduled_at, '%Y%m%dT%H%M') || '-' || flights.carrier || flights.flight || '-' || flights.origin AS flight_id,
    flights.carrier,
    flights.origin,
    flights.destination,
    flights.origin || '-' || flights.destination AS route,
    flights.tailnum,
    flights.asked_at AS event_timestamp,
    flights.carrier AS airline,
    flights.origin AS airport,
    flights.local_hour,
    isodow(flights.scheduled_at - INTERVAL 5 HOUR) AS weekday,
    flights.distance,
    weather.temperature,
    weather.humidity,
    weather.wind_speed,
    weather.precipitation,
    weather.visibility
FROM flights
ASOF LEFT JOIN weather ON weather.origin = flights.origin AND weather.observed_at <= flights.asked_at
