SELECT order_id, buyer_id, ordered_at AS event_timestamp, express FROM orders WHERE ordered_at >= $start AND ordered_at < $end
