-- What the shop tells when it orders: the parcel, and how full the roads are by the newest measurement.
SELECT
    parcels.parcel_id,
    parcels.shop_id,
    parcels.depot_id,
    parcels.ordered_at AS event_timestamp,
    parcels.weight,
    parcels.express,
    hour(parcels.ordered_at) AS hour,
    roads.congestion
FROM parcels
ASOF LEFT JOIN roads ON roads.depot_id = parcels.depot_id AND roads.measured_at <= parcels.ordered_at
WHERE parcels.ordered_at >= $start AND parcels.ordered_at < $end
