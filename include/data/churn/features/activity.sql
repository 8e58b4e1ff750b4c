-- How the customer used the product in the last fortnight: whole weeks, in which weekends weigh the same on every day, and the
-- last three days, which tell soonest that someone is leaving.
-- Lengths are unknown (null) when more than a fifth of the week's sessions came without one.
WITH sessions AS (
    SELECT *, started_at >= $as_of - INTERVAL 7 DAY AS this_week
    FROM usage
),
per_customer AS (
    SELECT
        customer_id,
        count(*) FILTER (WHERE started_at >= $as_of - INTERVAL 3 DAY) AS sessions_3d,
        count(*) FILTER (WHERE this_week) AS sessions_7d,
        count(*) AS sessions_14d,
        count(DISTINCT date_trunc('day', started_at)) AS active_days_14d,
        CASE WHEN count(minutes) FILTER (WHERE this_week) >= 0.8 * count(*) FILTER (WHERE this_week)
            THEN avg(minutes) FILTER (WHERE this_week) END AS minutes_per_session_7d,
        count(*) FILTER (WHERE device = 'mobile') / count(*) AS mobile_share_14d,
        date_diff('second', max(started_at), $as_of) / 86400.0 AS days_since_last_session
    FROM sessions
    GROUP BY customer_id
)
SELECT
    customers.customer_id,
    coalesce(sessions_3d, 0) AS sessions_3d,
    coalesce(sessions_7d, 0) AS sessions_7d,
    coalesce(sessions_14d, 0) AS sessions_14d,
    coalesce(active_days_14d, 0) AS active_days_14d,
    minutes_per_session_7d,
    mobile_share_14d,
    coalesce(days_since_last_session, 14.0) AS days_since_last_session
FROM customers
LEFT JOIN per_customer USING (customer_id)
WHERE customers.snapshot_at >= $as_of - INTERVAL 1 DAY
