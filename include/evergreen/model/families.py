"""The families of models, through one interface: every candidate is one scikit-learn Pipeline of preparation and model.

A candidate reads the spec's features as they are: numbers may be missing, categories may be missing or unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from evergreen.model.network import KerasClassifier, KerasRegressor
from evergreen.spec import kinds
from evergreen.spec.families import space
from evergreen.spec.kinds import FeatureType
from evergreen.spec.problem import LabelType

if TYPE_CHECKING:
    import optuna

Parameters = dict[str, Any]
_MOST_CATEGORIES = 250

# What a saved candidate of each family may hold beside scikit-learn's public types; loading it refuses everything else.
TRUSTED_TYPES = {
    "logistic_regression": ("numpy.dtype",),
    "ridge": ("numpy.dtype",),
    "gradient_boosting": (
        "evergreen.model.families.EmptyColumnsFilled",
        "functools.partial",  # of the next one, in its handling of categories
        "sklearn.utils.validation.check_array",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "numpy.dtype",
    ),
    "mlp": ("evergreen.model.network.KerasClassifier", "evergreen.model.network.KerasRegressor", "numpy.dtype"),
}
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


def build(
    family: str, parameters: Parameters, features: Mapping[str, FeatureType], seed: int, *, label: LabelType = "binary"
) -> Pipeline:
    """An unfitted candidate for a kind of label; the same parameters and seed fit the same model."""
    numbers, categories = kinds.numbers(features), kinds.categories(features)
    prepare, model = _BUILDERS[family]
    return Pipeline([
        ("prepare", prepare(numbers, categories)), ("model", model[label](parameters, seed, len(categories)))
    ])  # fmt: skip


def categories(pipeline: Pipeline) -> dict[str, frozenset[str]]:
    """The values of each category that a fitted candidate has seen, the rare ones too; what it has not seen it takes for missing or
    for none of them."""
    found: dict[str, frozenset[str]] = {}
    for name, encoder, columns in pipeline.named_steps["prepare"].transformers_:
        if name == "category" and len(columns):  # without a column it was never fitted
            for column, seen in zip(columns, encoder.categories_, strict=True):
                found[column] = frozenset(value for value in seen if isinstance(value, str))
    return found


def _filled_and_scaled(numbers: list[str], categories: list[str]) -> ColumnTransformer:
    fill = SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=True)
    number = Pipeline([("fill", fill), ("scale", StandardScaler())])
    category = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("number", number, numbers), ("category", category, categories)])


def _binned(numbers: list[str], categories: list[str]) -> ColumnTransformer:
    # Missing numbers stay missing, which needs a value in each column; unknown categories count as missing ones. Gradient boosting
    # takes 255 categories of a column at most: the rarest together count as one.
    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=_MOST_CATEGORIES,
    )
    return ColumnTransformer([("category", encode, categories), ("number", EmptyColumnsFilled(), numbers)])


def _boosting(kind: type[BaseEstimator]) -> Callable[[Parameters, int, int], BaseEstimator]:
    return lambda parameters, seed, categories: kind(
        **parameters, categorical_features=list(range(categories)) or None, early_stopping=False, random_state=seed
    )


_Model = Callable[[Parameters, int, int], BaseEstimator]  # of parameters, seed and number of categories
_BUILDERS: dict[str, tuple[Callable[[list[str], list[str]], ColumnTransformer], dict[str, _Model]]] = {
    "logistic_regression": (_filled_and_scaled, {
        "binary": lambda parameters, seed, _: LogisticRegression(**parameters, max_iter=500, random_state=seed),
    }),
    "ridge": (_filled_and_scaled, {"numeric": lambda parameters, seed, _: Ridge(**parameters, random_state=seed)}),
    "gradient_boosting": (_binned, {
        "binary": _boosting(HistGradientBoostingClassifier), "numeric": _boosting(HistGradientBoostingRegressor),
    }),
    "mlp": (_filled_and_scaled, {
        "binary": lambda parameters, seed, _: KerasClassifier(**parameters, seed=seed),
        "numeric": lambda parameters, seed, _: KerasRegressor(**parameters, seed=seed),
    }),
}  # fmt: skip
