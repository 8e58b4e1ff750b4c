-- Who the customer is, by the snapshot of the day that ends at $as_of.
SELECT
    customer_id,
    plan,
    region,
    monthly_price,
    date_diff('day', signed_up_at, $as_of) AS tenure_days
FROM customers
WHERE snapshot_at >= $as_of - INTERVAL 1 DAY
