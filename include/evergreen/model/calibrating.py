"""A fitted candidate whose stated probabilities are corrected by a map of its scores, as scikit-learn's own
`CalibratedClassifierCV(ensemble=False)` does.

That one cannot be fitted here: it wants folds in which each row is predicted once, and time folds leave out the
first rows. So what it makes is put together from a map that was fitted on their scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.calibration import (
    CalibratedClassifierCV,
    _CalibratedClassifier,  # what the public class holds, and no public name makes
    _SigmoidCalibration,
)
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import Pipeline

from evergreen.handovers.calibration import Calibration
from evergreen.model.weightings import Floats, Labels
from evergreen.spec.measures import CalibrationMethod

# Of a saved pipeline, beside those of its family.
TYPES = ("sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration")


def scores(pipeline: Pipeline, inputs: pd.DataFrame) -> Floats:
    """What a binary candidate's map is of: its log-odds, or P(1) where it has none; scikit-learn's choice too."""
    if hasattr(pipeline, "decision_function"):
        return np.asarray(pipeline.decision_function(inputs), dtype=np.float64)
    return np.asarray(pipeline.predict_proba(inputs)[:, 1], dtype=np.float64)


def fit(method: CalibrationMethod, scored: Floats, labels: Labels, weights: Floats | None) -> Calibration:
    """The map of scores.

    Args:
        scored: of rows that the model has not learned from.
        labels: 0 or 1, both of them.
        weights: how much each row counts; None: as much as any other.
    """
    if method == "sigmoid":
        sigmoid = _SigmoidCalibration().fit(scored, labels, weights)
        return Calibration(method=method, rows=len(scored), slope=-float(sigmoid.a_), intercept=-float(sigmoid.b_))
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(scored, labels, weights)
    corners = isotonic.X_thresholds_.tolist(), isotonic.y_thresholds_.tolist()
    return Calibration(method=method, rows=len(scored), scores=tuple(corners[0]), probabilities=tuple(corners[1]))


def probabilities(calibration: Calibration, scored: Floats) -> Floats:
    """What a map makes of scores."""
    return np.asarray(_calibrator(calibration).predict(scored), dtype=np.float64)


def calibrated(pipeline: Pipeline, calibration: Calibration | None) -> Pipeline:
    """A candidate with its map; None: it has none, and is as it was."""
    if calibration is None:
        return pipeline
    model = pipeline.named_steps["model"]
    whole = CalibratedClassifierCV(clone(model), method=calibration.method, ensemble=False)
    whole.classes_ = model.classes_
    whole.calibrated_classifiers_ = [
        _CalibratedClassifier(model, [_calibrator(calibration)], classes=model.classes_, method=calibration.method)
    ]
    return Pipeline([("prepare", pipeline.named_steps["prepare"]), ("model", whole)])


def uncalibrated(pipeline: Pipeline) -> Pipeline:
    """A candidate without its map; one that has none is itself."""
    model = pipeline.named_steps["model"]
    if not isinstance(model, CalibratedClassifierCV) or len(model.calibrated_classifiers_) > 1:  # a family's own
        return pipeline
    inner = model.calibrated_classifiers_[0].estimator
    return Pipeline([("prepare", pipeline.named_steps["prepare"]), ("model", inner)])


def _calibrator(calibration: Calibration) -> Any:
    """The map as scikit-learn has it, to the last bit."""
    if calibration.slope is None or calibration.intercept is None:
        # What is fitted on the corners of a map that rises is that map.
        return IsotonicRegression(out_of_bounds="clip").fit(calibration.scores, calibration.probabilities)
    sigmoid = _SigmoidCalibration()
    sigmoid.a_, sigmoid.b_ = -calibration.slope, -calibration.intercept
    return sigmoid
