SELECT
    reader_id,
    coalesce(sum(pages), 0) AS pages_7d,
    avg(pages) AS pages_per_visit
FROM readers
LEFT JOIN visits USING (reader_id)
WHERE visited_at >= $as_of - INTERVAL 7 DAY OR visited_at IS NULL
GROUP BY reader_id
