SELECT depot_id, count(*) AS depot_parcels_1d
FROM parcels
GROUP BY depot_id
