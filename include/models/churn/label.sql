-- Of the customers in the snapshot of the day that ends at $cutoff: who cancels before $horizon_end?
SELECT
    customers.customer_id,
    count(cancellations.customer_id) > 0 AS churned
FROM customers
LEFT JOIN cancellations
    ON cancellations.customer_id = customers.customer_id
    AND cancellations.cancelled_at >= $cutoff
    AND cancellations.cancelled_at < $horizon_end
WHERE customers.snapshot_at >= $cutoff - INTERVAL 1 DAY
    AND customers.snapshot_at < $cutoff
GROUP BY customers.customer_id
