-- How it went at the airport of departure: yesterday tells of storms, the week of the season.
SELECT
    origin,
    avg((arrival_delay > 15)::INTEGER) AS origin_late_share_7d,
    avg((arrival_delay > 15)::INTEGER) FILTER (WHERE reported_at >= $as_of - INTERVAL 1 DAY) AS origin_late_share_1d,
    avg((status = 'cancelled')::INTEGER) FILTER (WHERE reported_at >= $as_of - INTERVAL 1 DAY) AS origin_cancelled_share_1d,
    avg(departure_delay) FILTER (WHERE reported_at >= $as_of - INTERVAL 1 DAY) AS origin_departure_delay_1d
FROM reports
GROUP BY origin
