"""Our own families.

Nothing heavy is imported before an estimator is made: specs are checked by the parameters alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from evergreen.families import Columns, Family, Parameter, Parameters

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer


class _OfScaledInputs(Family):
    """Numbers are filled and scaled, categories have a column per value."""

    weights = True
    types: ClassVar[Sequence[str]] = ("numpy.dtype",)

    def prepare(self, columns: Columns) -> ColumnTransformer:
        from evergreen.model.preparation import scaled

        return scaled(columns)


class LogisticRegression(_OfScaledInputs):
    """scikit-learn's logistic regression."""

    labels = ("binary", "multiclass")
    parameters: ClassVar = {
        "C": Parameter(low=0.001, high=100.0, default=1.0, log=True, least=1e-8, most=1e8),
    }

    def estimator(self, label: str, parameters: Parameters, columns: Columns, seed: int) -> BaseEstimator:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(**parameters, max_iter=500, random_state=seed)


class Ridge(_OfScaledInputs):
    """scikit-learn's linear regression with a penalty."""

    labels = ("numeric",)
    parameters: ClassVar = {
        "alpha": Parameter(low=0.001, high=1000.0, default=1.0, log=True, least=1e-8, most=1e8),
    }

    def estimator(self, label: str, parameters: Parameters, columns: Columns, seed: int) -> BaseEstimator:
        from sklearn.linear_model import Ridge

        return Ridge(**parameters, random_state=seed)


class MultilayerPerceptron(_OfScaledInputs):
    """A small network of tf.keras; the defaults are the network's own."""

    labels = ("binary", "numeric", "multiclass")
    parameters: ClassVar = {
        "units": Parameter(low=8, high=64, default=16, log=True, least=1, most=4096),
        "layers": Parameter(low=1, high=2, default=1, least=1, most=16),
        "learning_rate": Parameter(low=0.0005, high=0.02, default=0.001, log=True, least=1e-7, most=1.0),
        "dropout": Parameter(low=0.0, high=0.4, default=0.0, least=0.0, most=0.95),
        "epochs": Parameter(low=5, high=15, default=10, least=1, most=1000),
        "batch_size": Parameter(low=64, high=512, default=256, log=True, least=1, most=65_536),
    }
    # Both classes: in versions of earlier releases.
    types = ("evergreen.model.network.KerasClassifier", "evergreen.model.network.KerasRegressor", "numpy.dtype")
    renamed: ClassVar = {
        f"evergreen.train.network.{name}": f"evergreen.model.network.{name}"
        for name in ("KerasClassifier", "KerasRegressor")
    }

    def estimator(self, label: str, parameters: Parameters, columns: Columns, seed: int) -> BaseEstimator:
        from evergreen.model.network import KerasClassifier, KerasRegressor

        return (KerasRegressor if label == "numeric" else KerasClassifier)(**parameters, seed=seed)


class GradientBoosting(Family):
    """scikit-learn's histogram gradient boosting; missing numbers and categories stay as they are."""

    weights = True
    labels = ("binary", "numeric", "multiclass")
    parameters: ClassVar = {
        "learning_rate": Parameter(low=0.02, high=0.3, default=0.1, log=True, least=1e-4, most=1.0),
        "max_leaf_nodes": Parameter(low=4, high=48, default=31, log=True, least=2, most=4096),
        "min_samples_leaf": Parameter(low=10, high=200, default=20, log=True, least=1, most=1_000_000),
        "max_iter": Parameter(low=40, high=200, default=100, least=1, most=10_000),
        "l2_regularization": Parameter(low=0.001, high=10.0, default=0.0, log=True, least=0.0, most=1e6),
    }
    also: ClassVar = ({"max_leaf_nodes": 8},)  # on few rows or much noise, trees of 31 leaves learn by heart
    types = (
        "evergreen.model.preparation.EmptyColumnsFilled",  # in versions of earlier releases
        "numpy.nan_to_num",
        "functools.partial",  # of the next one, in its handling of categories
        "sklearn.utils.validation.check_array",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "numpy.dtype",
    )
    renamed: ClassVar = {
        "evergreen.train.families.EmptyColumnsFilled": "evergreen.model.preparation.EmptyColumnsFilled",
    }

    def prepare(self, columns: Columns) -> ColumnTransformer:
        from evergreen.model.preparation import binned

        return binned(columns)

    def estimator(self, label: str, parameters: Parameters, columns: Columns, seed: int) -> BaseEstimator:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        return (HistGradientBoostingRegressor if label == "numeric" else HistGradientBoostingClassifier)(
            **parameters,
            categorical_features=list(range(len(columns.categories))) or None,  # `binned` puts them first
            early_stopping=False,
            random_state=seed,
        )


class RandomForest(Family):
    """scikit-learn's random forest.

    Its trees have a bounded number of leaves: without, a model grows with the rows until no server holds it.
    """

    weights = True
    labels = ("binary", "numeric", "multiclass")
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "n_estimators": Parameter(low=50, high=200, default=100, log=True, least=1, most=2000),
        "max_leaf_nodes": Parameter(low=16, high=1024, default=math.inf, log=True, least=2, most=65_536),
        "min_samples_leaf": Parameter(low=1, high=100, default=1, log=True, least=1, most=1_000_000),
    }
    types: ClassVar[Sequence[str]] = (
        "evergreen.model.preparation.SinglePrecision",  # in versions of earlier releases
        "numpy.clip",
        "sklearn.tree._tree.Tree",
        "numpy.dtype",
    )

    def prepare(self, columns: Columns) -> ColumnTransformer:
        from evergreen.model.preparation import binned, single_precision

        return binned(columns, single_precision())

    def estimator(self, label: str, parameters: Parameters, columns: Columns, seed: int) -> BaseEstimator:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        return (RandomForestRegressor if label == "numeric" else RandomForestClassifier)(
            **parameters, random_state=seed
        )
