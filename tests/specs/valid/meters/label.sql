SELECT meter_id, sum(kwh) AS kwh_next
FROM readings
WHERE read_at >= $cutoff
GROUP BY meter_id
