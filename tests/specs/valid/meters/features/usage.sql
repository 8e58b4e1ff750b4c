SELECT
    meter_id,
    sum(kwh) FILTER (WHERE read_at >= $as_of - INTERVAL 1 HOUR) AS kwh_1h,
    sum(kwh) AS kwh_3h,
    count(*) AS readings_3h
FROM readings
GROUP BY meter_id
