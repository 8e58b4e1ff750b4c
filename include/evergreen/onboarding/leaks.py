"""Columns that no prediction may know: they tell the outcome, or are only known with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from evergreen.onboarding.rules import Column, Label
from evergreen.spec.problem import LabelType

_SAMPLE = 50_000  # rows, of which a half is predicted from the other
_BINS = 50
_TELLS_CLASS, _TELLS_NUMBER, _SAME_ORDER = 0.985, 0.99, 0.995  # area under the curve or hits; R²; rank correlation
_MAY_TELL_CLASS, _MAY_TELL_NUMBER = 0.9, 0.8  # a good input may, too
_SHARE = 0.8  # of the rows without a label have no value, and of those without a value no label
_FEW = 20  # rows that say nothing
# Names of labels that say nothing of what the outcome is.
_ANY_OUTCOME = {"class", "label", "target", "outcome", "type", "status", "value", "flag", "result", "score", "amount"}

Floats = npt.NDArray[np.float64]


def by_name(label: Label, columns: Mapping[str, Column]) -> Iterator[tuple[str, str]]:
    """Columns whose names speak of the outcome, each with the reason."""
    stems = {name for name in (label.name, *label.columns) if len(name) >= 4 and name not in _ANY_OUTCOME}
    for name in columns:
        if stem := next((stem for stem in stems if stem in name and name not in label.columns), None):
            yield name, f"its name speaks of the outcome ({stem})"


def by_absence(label: pd.Series, frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Columns that have no value where the label has none, each with the reason: they are filled in with it."""
    open_ = label.isna().to_numpy()
    if open_.sum() < _FEW:
        return
    for name in frame.columns:
        empty = frame[name].isna().to_numpy()
        both = (empty & open_).sum()
        if both >= _SHARE * open_.sum() and both >= _SHARE * empty.sum():
            share = both / open_.sum()
            yield name, f"it comes with the outcome: no value in {share:.0%} of the rows that have no outcome"


def by_value(frame: pd.DataFrame, label: pd.Series, kind: LabelType) -> Iterator[tuple[str, str, bool]]:
    """Columns that tell the label, or nearly so, each with the reason, and whether it is sure.

    Args:
        frame: the columns, numbers and texts.
        label: of each row; of classes the class's place.
    """
    if len(frame) > _SAMPLE:
        rows = np.random.default_rng(0).choice(len(frame), _SAMPLE, replace=False)
        frame, label = frame.iloc[rows], label.iloc[rows]
    labels = label.to_numpy("float64")
    if len(labels) < _FEW or labels.min() == labels.max():
        return
    for name in frame.columns:
        codes = _codes(frame[name])
        if codes.max() * 4 > len(codes):
            continue  # an id has a value in every row, and tells nothing of the next one
        score, tells, may_tell = _tells(codes, labels, kind)
        if tells or may_tell:
            yield name, score, tells
        elif kind == "numeric" and pd.api.types.is_numeric_dtype(frame[name]):
            both = frame[name].notna().to_numpy()
            if both.sum() > _FEW and _correlation(frame[name].to_numpy("float64")[both], labels[both]) >= _SAME_ORDER:
                yield name, "it has the order of the label", True


def _codes(column: pd.Series) -> npt.NDArray[np.int64]:
    """A value's place among few: a text as it is, a number by where it lies; 0 is missing."""
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > _BINS:
        column = pd.qcut(column.astype("float64"), _BINS, duplicates="drop")
    return pd.factorize(column)[0].astype(np.int64) + 1


def _tells(codes: npt.NDArray[np.int64], labels: Floats, kind: LabelType) -> tuple[str, bool, bool]:
    """How well a column alone tells the label of rows that were not looked at: in words, whether it does, or may."""
    if kind == "multiclass":
        hits = float(np.mean([_mode_hits(codes, labels, half) for half in (0, 1)]))
        most = np.bincount(labels.astype(np.int64)).max() / len(labels)
        beyond = bool(hits > (1 + most) / 2)
        words = f"alone it tells {hits:.1%} of the classes"
        return words, beyond and hits >= _TELLS_CLASS, beyond and hits >= _MAY_TELL_CLASS
    predicted = np.empty(len(labels))
    for half in (0, 1):
        at = np.arange(len(labels)) % 2 == half
        sums = np.bincount(codes[~at], weights=labels[~at], minlength=codes.max() + 1)
        counts = np.bincount(codes[~at], minlength=codes.max() + 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), labels[~at].mean())
        predicted[at] = means[codes[at]]
    if kind == "binary":
        area = _area(labels, predicted)
        words = f"alone it tells the label (area under the curve {area:.3f})"
        return words, area >= _TELLS_CLASS, area >= _MAY_TELL_CLASS
    explained = 1 - ((labels - predicted) ** 2).sum() / ((labels - labels.mean()) ** 2).sum()
    words = f"alone it tells the label (R² {explained:.3f})"
    return words, bool(explained >= _TELLS_NUMBER), bool(explained >= _MAY_TELL_NUMBER)


def _mode_hits(codes: npt.NDArray[np.int64], labels: Floats, half: int) -> float:
    at = np.arange(len(labels)) % 2 == half
    modes = pd.Series(labels[~at]).groupby(codes[~at]).agg(lambda values: values.mode().iloc[0])
    return float((modes.reindex(codes[at]).to_numpy() == labels[at]).mean())


def _area(labels: Floats, predicted: Floats) -> float:
    positive = labels == 1
    ranks, rows = rankdata(predicted), positive.sum()
    return float((ranks[positive].sum() - rows * (rows + 1) / 2) / (rows * (len(labels) - rows)))


def _correlation(one: Floats, other: Floats) -> float:
    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    return abs(float(np.corrcoef(rankdata(one), rankdata(other))[0, 1]))
