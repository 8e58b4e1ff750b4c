SELECT
    store,
    product,
    coalesce(sum(units) FILTER (WHERE sold_at >= $as_of - INTERVAL 1 DAY), 0) AS units_1d,
    sum(units) AS units_3d,
    max(sold_at) AS last_sold,
    min(sold_at)::DATE AS first_day_sold
FROM sales
GROUP BY store, product
