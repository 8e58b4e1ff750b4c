SELECT
    customer_id,
    count(*) AS orders_3d,
    avg((channel = 'web')::INT) AS web_share,
    avg((channel = 'phone')::INT) AS phone_share,
    sum(amount) AS amount_3d,
    arg_max(channel, ordered_at) AS last_channel
FROM orders
GROUP BY customer_id
