"""The loops without Airflow."""
