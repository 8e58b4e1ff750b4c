"""An Airflow DAG of tasks that do nothing, one after the other: what Airflow itself takes for as many as an ingestion
has. It imports nothing of Evergreen."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, chain


def nothing() -> None:
    """It ends as it begins."""


with DAG("empty_chain", schedule=None, dagrun_timeout=timedelta(minutes=10)):
    tasks = range(int(os.environ["BENCHMARK_TASKS"]))
    chain(*(PythonOperator(task_id=f"nothing_{number}", python_callable=nothing) for number in tasks))
