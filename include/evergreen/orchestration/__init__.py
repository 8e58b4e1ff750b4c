"""The only place that knows Airflow: stages become tasks, run identity, retries, links, assets, notifications."""
