"""A candidate of a family, by the family's name: one scikit-learn Pipeline of preparation and model.

A candidate reads the spec's features as they are: numbers may be missing, categories may be missing or unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sklearn.pipeline import Pipeline

from evergreen.families import Columns, Parameters, family, package
from evergreen.spec import kinds
from evergreen.spec.families import space
from evergreen.spec.kinds import FeatureType
from evergreen.spec.problem import LabelType

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import optuna
    import pandas as pd

    from evergreen.spec.schema import ModelSpec

    Floats = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64] | Floats

# Installed packages that a candidate is loaded and answers with.
REQUIREMENTS = ("scikit-learn", "numpy", "pandas", "skops")


def suggest(trial: optuna.trial.BaseTrial, name: str, overrides: Mapping[str, Any]) -> Parameters:
    """A point of the family's search space, as the spec's overrides leave it."""
    return {
        parameter: trial.suggest_int(parameter, int(among.low), int(among.high), log=among.log)
        if among.whole
        else trial.suggest_float(parameter, among.low, among.high, log=among.log)
        for parameter, among in space(name, overrides).items()
    }


def columns_of(features: Mapping[str, FeatureType]) -> Columns:
    """A model's inputs as its family takes them."""
    return Columns(tuple(kinds.numbers(features)), tuple(kinds.categories(features)))


def build(
    name: str, parameters: Parameters, features: Mapping[str, FeatureType], seed: int, *, label: LabelType = "binary"
) -> Pipeline:
    """An unfitted candidate for a kind of label; the same parameters and seed fit the same model.

    Raises:
        FamilyUnusable: there is no family of that name that can be used.
    """
    columns, of_name = columns_of(features), family(name)
    return Pipeline(
        [
            ("prepare", of_name.prepare(columns)),
            ("model", of_name.estimator(label, parameters, columns, seed)),
        ]
    )


def fit(pipeline: Pipeline, inputs: pd.DataFrame, labels: Labels, weights: Floats | None) -> Pipeline:
    """Fit a candidate; rows count by their weights in its model, and alike in the preparation of their inputs.

    Returns:
        The same pipeline. A fitted step with a method `plain` gives place to what that returns, so that scikit-learn
        alone can load what is saved of it.
    """
    weighted = {} if weights is None else {"model__sample_weight": weights}
    fitted: Pipeline = pipeline.fit(inputs, labels, **weighted)
    prepare = fitted.named_steps["prepare"]
    prepare.transformers_ = [(name, _plain(step, columns), columns) for name, step, columns in prepare.transformers_]
    prepare.transformers = [each for each in prepare.transformers_ if each[0] != "remainder"]
    fitted.steps = [(name, _plain(step, True)) for name, step in fitted.steps]
    return fitted


def _plain(step: Any, columns: Any) -> Any:
    if not hasattr(step, "plain"):
        return step
    return step.plain() if columns else "drop"  # without a column it was never fitted


def fitted(
    spec: ModelSpec,
    name: str,
    parameters: Parameters,
    inputs: pd.DataFrame,
    labels: Labels,
    weights: Floats | None,
    *,
    seed: int,
) -> Pipeline:
    """A model of the spec: the family fitted with these hyperparameters. The same rows and seed give the same model."""
    unfitted = build(name, parameters, spec.feature_types, seed, label=spec.problem.kind)
    return fit(unfitted, inputs, labels, weights)


def requirements(name: str) -> tuple[str, ...]:
    """The installed packages that a candidate of the family is loaded and answers with."""
    brought = package(name)
    return (*REQUIREMENTS, *([brought[0]] if brought else []))


def categories(pipeline: Pipeline) -> dict[str, frozenset[str]]:
    """The values of each category that a fitted candidate has seen, the rare ones too; what it has not seen it takes
    for missing or for none of them."""
    seen: dict[str, frozenset[str]] = {}
    for name, encoder, columns in pipeline.named_steps["prepare"].transformers_:
        if name == "category" and len(columns):  # without a column it was never fitted
            for column, values in zip(columns, encoder.categories_, strict=True):
                seen[column] = frozenset(value for value in values if isinstance(value, str))
    return seen
