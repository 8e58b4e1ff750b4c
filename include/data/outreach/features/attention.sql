-- How a customer took the emails of the last four weeks.
SELECT
    customer_id,
    count(*) AS emails_28d,
    avg(opened::INTEGER) AS opened_share_28d,
    arg_max(opened, sent_at)::INTEGER AS opened_last
FROM emails
GROUP BY customer_id
