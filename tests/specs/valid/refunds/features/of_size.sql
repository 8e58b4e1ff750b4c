SELECT order_id, amount, gift FROM orders WHERE ordered_at < $as_of;
