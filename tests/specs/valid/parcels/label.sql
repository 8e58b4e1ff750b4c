-- A parcel that was lost has no outcome.
SELECT parcel_id, hours AS hours_to_delivery
FROM parcels
WHERE ordered_at < $cutoff AND hours IS NOT NULL
