-- Of the flights scheduled within the interval: who arrived more than 15 minutes late? Cancelled and diverted flights have no answer.
SELECT
    strftime(departures.scheduled_at, '%Y%m%dT%H%M') || '-' || departures.carrier || departures.flight || '-' || departures.origin
        AS flight_id,
    reports.arrival_delay > 15 AS late
FROM departures
JOIN reports USING (carrier, flight, origin, scheduled_at)
WHERE departures.scheduled_at < $cutoff AND reports.arrival_delay IS NOT NULL
