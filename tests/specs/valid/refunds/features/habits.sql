SELECT buyer_id, count(*) AS orders_2d FROM orders GROUP BY buyer_id
