-- How it went at the airport of arrival.
SELECT
    destination,
    avg((arrival_delay > 15)::INTEGER) AS destination_late_share_14d,
    avg((arrival_delay > 15)::INTEGER) FILTER (WHERE reported_at >= $as_of - INTERVAL 1 DAY) AS destination_late_share_1d
FROM reports
GROUP BY destination
