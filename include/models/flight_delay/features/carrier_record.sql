-- How punctual the carrier was.
SELECT
    carrier,
    avg((arrival_delay > 15)::INTEGER) AS carrier_late_share_14d,
    avg((arrival_delay > 15)::INTEGER) FILTER (WHERE reported_at >= $as_of - INTERVAL 1 DAY) AS carrier_late_share_1d,
    count(*) AS carrier_flights_14d
FROM reports
GROUP BY carrier
