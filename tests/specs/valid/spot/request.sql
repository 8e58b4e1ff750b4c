SELECT offer_id, offered_at AS event_timestamp, region, demand, price, contract_from, metered_at
FROM offers
WHERE offered_at >= $start AND offered_at < $end
