"""A fitted pipeline as a SavedModel of TensorFlow, with its preparation inside, where it is a linear model or a
network: what serves it needs neither scikit-learn nor anything of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline

from evergreen.families import Columns
from evergreen.runtime.exporting import NotExported, uncalibrated

OUTPUT = "prediction"
MISSING = ""  # of a category: TensorFlow has no missing text; a missing number is NaN


def save(pipeline: Pipeline, columns: Columns, folder: Path) -> None:
    """Write the SavedModel of a pipeline that a family of ours has made.

    Its signature `serving_default` takes a tensor of one value a row for each feature, by the feature's name, numbers
    as float64 and categories as text, and answers `prediction`: P(1) of two classes, a number, or of more classes a row
    of their probabilities.

    Raises:
        NotExported: it is of another kind; trees are.
    """
    prepare, model = pipeline.named_steps["prepare"], pipeline.named_steps["model"]
    model, calibrator = uncalibrated(model)
    if isinstance(calibrator, IsotonicRegression):
        raise NotExported("no SavedModel is known of an isotonic map of probabilities (calibrate in model.yaml)")
    if type(model) not in (LogisticRegression, Ridge, MLPClassifier, MLPRegressor):
        raise NotExported(f"no SavedModel is known of a {type(model).__name__}")
    import tensorflow as tf

    parts = {name: step for name, step, chosen in prepare.transformers_ if len(chosen)}
    layers = _layers(model)

    def answered(**features: Any) -> dict[str, Any]:
        blocks = []
        if columns.numbers:
            blocks.append(_numbers(tf, [features[name] for name in columns.numbers], parts["number"]))
        for at, name in enumerate(columns.categories):
            blocks.append(_category(tf, features[name], parts["category"].categories_[at]))
        rows = tf.concat(blocks, axis=1)
        for place, (weights, offset) in enumerate(layers):
            rows = tf.matmul(rows, tf.constant(weights)) + tf.constant(offset)
            if place < len(layers) - 1:
                rows = tf.nn.relu(rows)
        if calibrator is None:
            return {OUTPUT: _ended(tf, rows, model)}
        # A map is of log-odds where scikit-learn's model has them, else of probabilities.
        score = tf.squeeze(rows, axis=1) if isinstance(model, LogisticRegression) else _ended(tf, rows, model)
        return {OUTPUT: tf.sigmoid(-(calibrator.a_ * score + calibrator.b_))}

    specs = {name: tf.TensorSpec([None], tf.float64, name=name) for name in columns.numbers}
    specs |= {name: tf.TensorSpec([None], tf.string, name=name) for name in columns.categories}
    module = tf.Module()
    module.answered = tf.function(answered, autograph=False)
    signature = module.answered.get_concrete_function(**specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})


def _numbers(tf: Any, stated: Sequence[Any], step: Pipeline) -> Any:
    """Filled, with a column that tells so, and scaled."""
    fill, scale = step.named_steps["fill"], step.named_steps["scale"]
    numbers = tf.stack(stated, axis=1)
    absent = tf.math.is_nan(numbers)
    rows = tf.where(absent, tf.constant(np.nan_to_num(fill.statistics_), tf.float64), numbers)
    if len(told := fill.indicator_.features_):
        rows = tf.concat([rows, tf.cast(tf.gather(absent, told, axis=1), tf.float64)], axis=1)
    return (rows - tf.constant(scale.mean_)) / tf.constant(scale.scale_)


def _category(tf: Any, stated: Any, seen: Sequence[Any]) -> Any:
    """A column per value; a missing one has its own only where there was one to learn from."""
    values = [value if isinstance(value, str) else MISSING for value in seen]
    return tf.cast(tf.equal(stated[:, tf.newaxis], tf.constant([values], tf.string)), tf.float64)


def _layers(model: Any) -> list[tuple[Any, Any]]:
    if isinstance(model, MLPClassifier | MLPRegressor):
        return list(zip(model.coefs_, model.intercepts_, strict=True))
    return [(np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_))]


def _ended(tf: Any, rows: Any, model: Any) -> Any:
    if not isinstance(model, LogisticRegression | MLPClassifier):
        return tf.squeeze(rows, axis=1)
    if rows.shape[1] == 1:
        return tf.squeeze(tf.sigmoid(rows), axis=1)
    return tf.nn.softmax(rows, axis=1)
