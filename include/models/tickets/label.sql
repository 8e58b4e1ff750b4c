-- Of the customers in the snapshot of the day that ends at $cutoff: how many tickets does each open before $horizon_end?
SELECT
    customers.customer_id,
    count(tickets.ticket_id)::DOUBLE AS tickets_7d
FROM customers
LEFT JOIN tickets
    ON tickets.customer_id = customers.customer_id
    AND tickets.opened_at >= $cutoff
    AND tickets.opened_at < $horizon_end
WHERE customers.snapshot_at >= $cutoff - INTERVAL 1 DAY
    AND customers.snapshot_at < $cutoff
GROUP BY customers.customer_id
