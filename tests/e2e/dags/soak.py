"""Airflow DAGs for the soak test: many short tasks, and Keras trainings among them,
forked from the preloaded scheduler."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task

SIZES = {"soak": (40, 4), "long_soak": (490, 24)}  # queries and trainings


@task(pool="evergreen_ingest", execution_timeout=timedelta(minutes=2))
def query(number: int) -> int:
    import duckdb
    import pandas as pd

    rows = pd.DataFrame({"x": range(1000), "part": [number] * 1000})
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        return int(connection.sql("select sum(x) + max(part) from rows").fetchall()[0][0])


@task(pool="evergreen_training", execution_timeout=timedelta(minutes=5))
def train(seed: int) -> float:
    import numpy as np

    from evergreen.model.network import KerasClassifier

    random = np.random.default_rng(seed)
    inputs = random.normal(size=(2000, 8))
    labels = (inputs[:, 0] + random.normal(size=2000) > 0).astype(int)
    fitted = KerasClassifier(units=8, epochs=8, learning_rate=0.01, seed=seed).fit(inputs, labels)
    return float(((fitted.predict_proba(inputs)[:, 1] > 0.5) == labels).mean())


@task(pool="evergreen_ingest")
def totals(queried: list[int], trained: list[float]) -> dict[str, float]:
    answers = list(queried)
    assert answers == [499500 + number for number in range(len(answers))]
    return {"queries": len(answers), "trainings": len(list(trained)), "worst": min(trained)}


# Every task uses libraries that were imported before the fork, native threads among them.
for name, (queries, trainings) in SIZES.items():
    with DAG(name, schedule=None, dagrun_timeout=timedelta(minutes=20)):
        totals(query.expand(number=list(range(queries))), train.expand(seed=list(range(trainings))))
