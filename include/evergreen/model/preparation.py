"""From a model's inputs to what an estimator can take: numbers may be missing, categories may be missing or unknown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from evergreen.families import Columns

_MOST_CATEGORIES = 250
_LARGEST = float(np.finfo(np.float32).max)


class EmptyColumnsFilled(TransformerMixin, BaseEstimator):
    """Numbers as they are, but a column without any value when it was fitted is
    all zeros: gradient boosting cannot bin it.

    A feature that has just been added has none in the first time folds.
    """

    def fit(self, x: npt.ArrayLike, y: npt.ArrayLike | None = None) -> EmptyColumnsFilled:
        """Remember which columns have no value."""
        self.empty_ = np.isnan(np.asarray(x, np.float64)).all(axis=0)
        return self

    def transform(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The numbers, with zeros for those columns."""
        return np.where(self.empty_, 0.0, np.asarray(x, np.float64))

    def plain(self) -> FunctionTransformer:
        """The same of scikit-learn's and NumPy's own. A number that comes in such a column later stays one: no tree has
        learned to look at it."""
        filled = {"nan": np.where(self.empty_, 0.0, np.nan), "posinf": np.inf, "neginf": -np.inf}
        return FunctionTransformer(np.nan_to_num, kw_args=filled)


class SinglePrecision(EmptyColumnsFilled):
    """The same, with numbers beyond single precision as its largest ones: forests of versions that an earlier release
    registered, and families that packages built on it. To be deleted when no such version can serve."""

    def transform(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The numbers, from the least to the largest of single precision."""
        return np.clip(super().transform(x), -_LARGEST, _LARGEST)

    def plain(self) -> SinglePrecision:
        """As it is."""
        return self


def single_precision() -> FunctionTransformer:
    """Numbers as they are, those beyond single precision as its largest ones: a forest computes in it, and refuses
    them."""
    return FunctionTransformer(np.clip, kw_args={"a_min": -_LARGEST, "a_max": _LARGEST})


def scaled(columns: Columns) -> ColumnTransformer:
    """Missing numbers are the median, with a column that tells so; numbers have mean 0 and
    deviation 1; one column per category's value."""
    fill = SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=True)
    number = Pipeline([("fill", fill), ("scale", StandardScaler())])
    category = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [("number", number, list(columns.numbers)), ("category", category, list(columns.categories))]
    )


def binned(columns: Columns, numbers: TransformerMixin | None = None) -> ColumnTransformer:
    """Categories first, as whole numbers, then numbers; what is missing stays NaN.

    Args:
        numbers: what becomes of the numbers; `EmptyColumnsFilled` by default.
    """
    # Missing numbers stay missing, which needs a value in each column; unknown categories count as missing ones.
    # Gradient boosting takes 255 categories of a column at most: the rarest together count as one.
    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=_MOST_CATEGORIES,
    )
    return ColumnTransformer(
        [
            ("category", encode, list(columns.categories)),
            ("number", numbers or EmptyColumnsFilled(), list(columns.numbers)),
        ]
    )
