SELECT order_id, refunded::INTEGER AS refunded FROM orders
