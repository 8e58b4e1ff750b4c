-- Hours are null until they are known, a day after the order: the mean is of those that are.
SELECT shop_id, count(*) AS shop_parcels_3d, avg(hours) AS shop_hours_3d
FROM parcels
GROUP BY shop_id
