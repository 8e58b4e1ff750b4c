SELECT shop_id, count(*) AS shop_parcels_3d, avg(hours) AS shop_hours_3d
FROM parcels
GROUP BY shop_id
