SELECT customer_id, arg_min(channel, ordered_at) AS next_channel
FROM orders
WHERE ordered_at >= $cutoff AND ordered_at < $horizon_end
GROUP BY customer_id
