-- Of the customers in the snapshot of the day that ends at $cutoff who are sent an email before $horizon_end: who opens one?
SELECT
    customers.customer_id,
    bool_or(emails.opened) AS opens
FROM customers
JOIN emails
    ON emails.customer_id = customers.customer_id
    AND emails.sent_at >= $cutoff
    AND emails.sent_at < $horizon_end
WHERE customers.snapshot_at >= $cutoff - INTERVAL 1 DAY
    AND customers.snapshot_at < $cutoff
GROUP BY customers.customer_id
