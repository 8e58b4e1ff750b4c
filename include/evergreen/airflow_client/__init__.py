"""Airflow by its REST API: what the local stack, the demo and the benchmarks ask it."""
