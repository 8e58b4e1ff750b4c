-- How it went between the two airports.
SELECT
    origin || '-' || destination AS route,
    avg((arrival_delay > 15)::INTEGER) AS route_late_share_14d,
    avg(arrival_delay) AS route_arrival_delay_14d,
    count(*) AS route_flights_14d
FROM reports
GROUP BY route
