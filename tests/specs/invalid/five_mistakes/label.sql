SELECT reader_id, count(visit_id) > 0 AS renewed
FROM readers
LEFT JOIN visits USING (reader_id)
WHERE snapshot_at < $cutoff AND coalesce(visited_at, $cutoff) < $horizon_end
GROUP BY reader_id
