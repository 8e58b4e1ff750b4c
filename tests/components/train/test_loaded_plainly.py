"""A registered model loads with plain MLflow, in an environment made of what the model says it needs.

The environment is made by uv from a package index: where none answers, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.handovers.train import SoundTrainingSet
from evergreen.model.rows import inputs, predict
from evergreen.registry import pipelines
from evergreen.registry import stages as registry
from evergreen.registry.tags import Tag
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages
from tests.environments import environment
from tests.handovers import gated, judged

from .conftest import DAYS, SECTIONS, rows_of, run_as_of, spec_in

ODD = pd.DataFrame(
    {
        "minutes": [np.nan, 1e300, -5.0, np.nan],
        "sessions": [3.0, np.nan, 0.0, np.nan],
        "mobile": [None, True, False, None],
        "plan": ["never seen", None, "basic", None],
    }
)


LABELS: dict[str, dict[str, Any]] = {
    "binary": {"families": {"logistic_regression": {}, "random_forest": {}, "gradient_boosting": {}, "mlp": {}}},
    "calibrated": {
        "families": {"logistic_regression": {}, "random_forest": {}, "gradient_boosting": {}, "mlp": {}},
        "calibrate": "isotonic",
    },
    "numeric": {
        "families": {"ridge": {}, "random_forest": {}, "gradient_boosting": {}, "mlp": {}},
        "label": SECTIONS["label"] | {"type": "numeric"},
        "search": {"trials": 1, "seed": 7, "metric": "rmse"},
        "gates": {"minimum_rows": 100, "floor": {"r2": -1.0}, "better_than_champion": {"margin": 0.2}},
    },
    "multiclass": {
        "families": {"logistic_regression": {}, "random_forest": {}, "gradient_boosting": {}, "mlp": {}},
        "label": SECTIONS["label"] | {"type": "multiclass", "classes": ("low", "middle", "high")},
        "search": {"trials": 1, "seed": 7, "metric": "log_loss"},
        "gates": {"minimum_rows": 100, "floor": {"accuracy": 0.1}, "better_than_champion": {"margin": 0.2}},
    },
}


def outcomes(kind: str, rows: pd.DataFrame) -> Any:
    place = rows["minutes"].fillna(0).rank(pct=True)
    if kind in ("binary", "calibrated"):
        return rows["left"]
    return place if kind == "numeric" else pd.cut(place, 3, labels=["low", "middle", "high"]).astype(object)


@pytest.mark.long
@pytest.mark.parametrize("kind", LABELS)
def test_every_familys_version_loads_with_plain_mlflow_and_answers_the_same(
    kind: str, spec: ModelSpec, training_set: Callable[..., SoundTrainingSet], tmp_path: Path, mlflow_url: str
) -> None:
    import mlflow

    spec = spec_in(tmp_path / "model", model=spec.model, **({"search": {"trials": 1, "seed": 7}} | LABELS[kind]))
    run, learned = run_as_of(spec), rows_of(range(DAYS))
    data = training_set(run, learned.assign(left=outcomes(kind, learned)))
    tuned = {family: stages.tune(run, data, family).run.id for family in spec.families}
    asked = pd.concat([ODD, rows_of(range(2), seed=3)], ignore_index=True)
    asked = inputs(spec.feature_types, asked)
    asked.to_parquet(tmp_path / "rows.parquet")
    registered = registry.register(run, gated(run, judged(tuned["mlp"], key=data.key, family="mlp")))
    client = mlflow.MlflowClient()
    addresses = {family: client.get_run(run_id).data.tags[Tag.MODEL_URI] for family, run_id in tuned.items()}
    addresses["mlp"] = f"models:/{spec.model}/{registered.version}"

    needed = Path(mlflow.artifacts.download_artifacts(f"{addresses['mlp']}/requirements.txt"))
    assert {line.partition("==")[0] for line in needed.read_text().split()} == {
        "mlflow",
        "scikit-learn",
        "numpy",
        "pandas",
        "skops",
    }
    python = environment(tmp_path / "environment", needed)
    script = Path(__file__).with_name("loaded_plainly.py")
    variables = {name: os.environ[name] for name in os.environ if name.startswith("MLFLOW_")}
    answered = subprocess.run(
        [python, str(script), mlflow_url, str(tmp_path / "rows.parquet"), *addresses.values()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
        check=False,
        timeout=300,
    )
    assert answered.returncode == 0, answered.stderr
    found = json.loads(answered.stdout.splitlines()[-1])
    for family, address in addresses.items():
        ours = predict(pipelines.pipeline(tuned[family]), asked)
        for theirs in found[address]:
            theirs = np.array(theirs)[:, 1] if kind in ("binary", "calibrated") else np.array(theirs)
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-12, err_msg=f"{family} of {kind}")
