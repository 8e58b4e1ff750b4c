SELECT offer_id, price_later, volume
FROM offers
WHERE offered_at < $cutoff AND price_later IS NOT NULL
