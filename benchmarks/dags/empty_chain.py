"""An Airflow DAG of tasks that do nothing, one after the other: what Airflow itself takes for as many as an ingestion
has."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, chain

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import INGEST_POOL


def nothing() -> None:
    """It ends as it begins."""


with DAG("empty_chain", schedule=None, dagrun_timeout=timedelta(minutes=10)):
    chain(
        *(
            PythonOperator(task_id=f"nothing_{step.name}", python_callable=nothing, pool=INGEST_POOL)
            for step in LOOPS["ingest"].steps
        )
    )
