"""What the monitor compares with: rows that no fit has seen, with what the model says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from evergreen.handovers.train import SoundTrainingSet
from evergreen.model import rows
from evergreen.registry import artifacts, pipelines, records
from evergreen.registry.contents import Reference
from evergreen.settings import Settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages

from .conftest import DAYS, rows_of, run_as_of, spec_in


def distance(window: np.ndarray[tuple[int], np.dtype[np.float64]], reference: pd.Series[float]) -> float:
    """As the monitor has it: in standard deviations of the reference."""
    return float(wasserstein_distance(reference, window)) / float(np.std(reference))


def rare(days: range, seed: int = 0) -> pd.DataFrame:
    """Rows of which few have the label 1, and for reasons that hardly show: boosted trees learn them by heart."""
    frame = rows_of(days, customers=100, seed=seed)
    frame["left"] *= np.random.default_rng(seed + 1).random(len(frame)) < 0.4
    return frame


def test_predictions_of_days_without_a_change_are_near_the_reference(
    home: Settings, tmp_path: Path, spec: ModelSpec, training_set: Callable[..., SoundTrainingSet]
) -> None:
    """Once, the reference was of learning rows, and a day without a change as far from it as a drift."""
    boosting = spec_in(
        tmp_path / "boosted",
        model=spec.model,
        split={"window": "18d", "evaluation": "6d", "minimum_rows": 100, "folds": 2},
        families={"gradient_boosting": {"max_iter": 200, "learning_rate": 0.2, "min_samples_leaf": 5}},
        search={"trials": 1, "seed": 7},
    )
    run = run_as_of(boosting)
    data = training_set(run, rare(range(DAYS)))
    candidate = stages.tune(run, data, "gradient_boosting")
    reference = artifacts.load(records.candidate(candidate.run.id), Reference).rows
    learned, held_out = rows.read(boosting, data, "learn"), rows.read(boosting, data, "evaluate")
    fitted = pipelines.pipeline(candidate.run.id)
    pd.testing.assert_frame_equal(reference[list(boosting.feature_types)], held_out.inputs)
    assert (reference["prediction"].to_numpy() == rows.predict(fitted, held_out.inputs)).all()

    live = rows.predict(fitted, rows.of(boosting, rare(range(30), seed=99)).inputs)
    in_sample = distance(live, pd.Series(rows.predict(fitted, learned.inputs)))
    apart = distance(live, reference["prediction"])
    assert apart < 0.06 and in_sample > 0.08, (apart, in_sample)
