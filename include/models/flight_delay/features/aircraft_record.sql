-- How the aircraft's own flights out of New York went.
SELECT
    tailnum,
    avg((arrival_delay > 15)::INTEGER) AS aircraft_late_share_7d,
    avg(arrival_delay) AS aircraft_arrival_delay_7d,
    count(*) AS aircraft_flights_7d
FROM reports
WHERE tailnum IS NOT NULL
GROUP BY tailnum
