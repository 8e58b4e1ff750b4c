-- Money and calls for help in the last four weeks: four bills of a subscription that is billed weekly.
WITH bills AS (
    SELECT
        customer_id,
        count(*) FILTER (WHERE status = 'failed') AS failed_payments_28d,
        coalesce(sum(amount) FILTER (WHERE status = 'paid'), 0) AS paid_28d
    FROM payments
    GROUP BY customer_id
),
calls AS (
    SELECT
        customer_id,
        count(*) AS tickets_28d,
        count(*) FILTER (WHERE priority = 'high') AS urgent_tickets_28d,
        date_diff('second', max(opened_at), $as_of) / 86400.0 AS days_since_last_ticket
    FROM tickets
    GROUP BY customer_id
)
SELECT
    customers.customer_id,
    coalesce(failed_payments_28d, 0) AS failed_payments_28d,
    coalesce(paid_28d, 0.0) AS paid_28d,
    coalesce(tickets_28d, 0) AS tickets_28d,
    coalesce(urgent_tickets_28d, 0) AS urgent_tickets_28d,
    coalesce(days_since_last_ticket, 28.0) AS days_since_last_ticket
FROM customers
LEFT JOIN bills USING (customer_id)
LEFT JOIN calls USING (customer_id)
WHERE customers.snapshot_at >= $as_of - INTERVAL 1 DAY
