SELECT store, product, sum(units) AS units_next
FROM sales
WHERE sold_at >= $cutoff AND sold_at < $horizon_end
GROUP BY store, product
