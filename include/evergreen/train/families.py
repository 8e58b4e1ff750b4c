"""The families of models, through one interface: every candidate is one scikit-learn Pipeline of preparation and model.

A candidate reads the spec's features as they are: numbers may be missing, categories may be missing or unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from evergreen.spec.families import space
from evergreen.spec.schema import FeatureType
from evergreen.train.network import KerasClassifier

Parameters = dict[str, Any]

# What a saved candidate may hold beside scikit-learn's public types; loading it refuses everything else.
TRUSTED_TYPES = (
    "evergreen.train.network.KerasClassifier",
    "evergreen.train.families.EmptyColumnsFilled",
    "functools.partial",  # of the next one, in gradient boosting's handling of categories
    "sklearn.utils.validation.check_array",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "numpy.dtype",
)
# Installed packages that a candidate is loaded and answers with.
REQUIREMENTS = ("scikit-learn", "numpy", "pandas", "skops")


class EmptyColumnsFilled(TransformerMixin, BaseEstimator):
    """Numbers as they are, but a column without any value when it was fitted is all zeros: gradient boosting cannot bin it.

    A feature that has just been added has none in the first time folds.
    """

    def fit(self, x: npt.ArrayLike, y: npt.ArrayLike | None = None) -> EmptyColumnsFilled:
        """Remember which columns have no value."""
        self.empty_ = np.isnan(np.asarray(x, np.float64)).all(axis=0)
        return self

    def transform(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The numbers, with zeros for those columns."""
        return np.where(self.empty_, 0.0, np.asarray(x, np.float64))


def suggest(trial: optuna.trial.BaseTrial, family: str, overrides: Mapping[str, Any]) -> Parameters:
    """A point of the family's search space, as the spec's overrides leave it."""
    return {
        name: trial.suggest_int(name, int(found.low), int(found.high), log=found.log)
        if found.whole
        else trial.suggest_float(name, found.low, found.high, log=found.log)
        for name, found in space(family, overrides).items()
    }


def build(family: str, parameters: Parameters, features: Mapping[str, FeatureType], seed: int) -> Pipeline:
    """An unfitted candidate; the same parameters and seed fit the same model."""
    numbers = [name for name, kind in features.items() if kind != "category"]
    categories = [name for name, kind in features.items() if kind == "category"]
    return _BUILDERS[family](parameters, numbers, categories, seed)


def _logistic_regression(parameters: Parameters, numbers: list[str], categories: list[str], seed: int) -> Pipeline:
    model = LogisticRegression(**parameters, max_iter=500, random_state=seed)
    return Pipeline([("prepare", _filled_and_scaled(numbers, categories)), ("model", model)])


def _gradient_boosting(parameters: Parameters, numbers: list[str], categories: list[str], seed: int) -> Pipeline:
    # Missing numbers stay missing, which needs a value in each column; unknown categories count as missing ones.
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    prepare = ColumnTransformer([("category", encode, categories), ("number", EmptyColumnsFilled(), numbers)])
    model = HistGradientBoostingClassifier(
        **parameters, categorical_features=list(range(len(categories))) or None, early_stopping=False, random_state=seed
    )
    return Pipeline([("prepare", prepare), ("model", model)])


def _mlp(parameters: Parameters, numbers: list[str], categories: list[str], seed: int) -> Pipeline:
    model = KerasClassifier(**parameters, seed=seed)
    return Pipeline([("prepare", _filled_and_scaled(numbers, categories)), ("model", model)])


_BUILDERS: dict[str, Callable[[Parameters, list[str], list[str], int], Pipeline]] = {
    "logistic_regression": _logistic_regression,
    "gradient_boosting": _gradient_boosting,
    "mlp": _mlp,
}


def _filled_and_scaled(numbers: list[str], categories: list[str]) -> ColumnTransformer:
    fill = SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=True)
    number = Pipeline([("fill", fill), ("scale", StandardScaler())])
    category = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("number", number, numbers), ("category", category, categories)])
