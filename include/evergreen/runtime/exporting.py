"""A fitted pipeline as an ONNX graph, where it is of a kind that is known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from onnx import TensorProto
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV, _SigmoidCalibration
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from evergreen.families import Columns
from evergreen.runtime import trees
from evergreen.runtime.encoding import INPUT, Category, Inputs
from evergreen.runtime.graph import Graph


class NotExported(Exception):
    """A pipeline of which there is no graph; its text says why."""


def export(pipeline: Pipeline, columns: Columns) -> bytes:
    """The graph of a pipeline that a family of ours has made, with what its input's columns are.

    Raises:
        NotExported: it is of another kind.
    """
    prepare, model = pipeline.named_steps["prepare"], pipeline.named_steps["model"]
    model, calibrator = uncalibrated(model)
    writer = _WRITERS.get(type(model))
    if writer is None:
        raise NotExported(f"no graph is known of a {type(model).__name__}")
    graph = Graph(len(columns.categories) + len(columns.numbers))
    parts = {name: step for name, step, chosen in prepare.transformers_ if len(chosen)}
    seen: list[list[Any]] = [[*values] for values in parts["category"].categories_] if "category" in parts else []
    if type(model) in _OF_SCALED:
        rows, categories = _scaled(graph, parts, columns), _places(columns, seen)
    else:
        rows, categories = _binned(graph, parts, columns), _codes(prepare, model, columns, seen)
    about = Inputs(categories, columns.numbers).to_json()
    if calibrator is None:
        answers = writer(graph, rows, model)
    elif (scored := _SCORES.get(type(model))) is not None:
        answers = _calibrated(graph, _one(graph, scored(graph, rows, model)), calibrator)
    else:
        answers = _calibrated(graph, writer(graph, rows, model), calibrator)
    return graph.to_bytes(answers, about, several=_several(model))


def uncalibrated(model: Any) -> tuple[Any, Any]:
    """A classifier and the map of its scores, as `evergreen.model.calibrating` joins them; None: there is no map.

    Raises:
        NotExported: it is calibrated in another way.
    """
    if not isinstance(model, CalibratedClassifierCV):
        return model, None
    calibrated = model.calibrated_classifiers_[0]
    known = isinstance(calibrated.calibrators[0], IsotonicRegression | _SigmoidCalibration)
    if not known or len(model.calibrated_classifiers_) > 1 or len(model.classes_) > 2:  # a family's own
        raise NotExported("no graph is known of several calibrated models, of several classes, or of other maps")
    return calibrated.estimator, calibrated.calibrators[0]


def _calibrated(graph: Graph, score: str, calibrator: Any) -> str:
    if not isinstance(calibrator, IsotonicRegression):
        line = graph.node("Mul", score, graph.constant(-calibrator.a_))
        return graph.node("Sigmoid", graph.node("Add", line, graph.constant(-calibrator.b_)))
    corners, values = calibrator.X_thresholds_, calibrator.y_thresholds_
    if len(corners) == 1:
        return graph.node("Clip", score, graph.constant(values[0]), graph.constant(values[0]))
    within = graph.node("Clip", score, graph.constant(corners[0]), graph.constant(corners[-1]))
    # How many inner corners a score has reached is the place of its line.
    column = graph.node("Unsqueeze", within, graph.constant([1], np.int64))
    reached = graph.node("GreaterOrEqual", column, graph.constant(corners[1:-1]))
    counted = graph.node("Cast", reached, to=TensorProto.INT64)
    place = graph.node("ReduceSum", counted, graph.constant([1], np.int64), keepdims=0)
    start, low, slope = (
        graph.node("Gather", graph.constant(each), place)
        for each in (corners[:-1], values[:-1], np.diff(values) / np.diff(corners))
    )
    return graph.node("Add", graph.node("Mul", graph.node("Sub", within, start), slope), low)


def _places(columns: Columns, seen: Sequence[Sequence[Any]]) -> tuple[Category, ...]:
    """Of categories that have a column per value: the value's place.

    Args:
        seen: the values of each category that the preparation has seen, in its order.
    """
    return tuple(
        Category(
            name,
            {value: float(place) for place, value in enumerate(values) if isinstance(value, str)},
            next((float(place) for place, value in enumerate(values) if not isinstance(value, str)), np.nan),
        )
        for name, values in zip(columns.categories, seen, strict=True)
    )


def _codes(prepare: Any, model: Any, columns: Columns, seen: Sequence[Sequence[Any]]) -> tuple[Category, ...]:
    """Of categories that are whole numbers to a tree: the number of each value, as the pipeline's own steps make it."""
    if not seen:
        return ()
    asked = [[value for value in values if isinstance(value, str)] for values in seen]
    rows = 1 + max(map(len, asked))  # the last one of each column is missing
    texts = {
        name: pd.Series([*values, *[None] * (rows - len(values))], dtype=object)
        for name, values in zip(columns.categories, asked, strict=True)
    }
    coded = prepare.transform(pd.DataFrame(texts | dict.fromkeys(columns.numbers, 0.0)))
    if isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        coded = model._preprocess_X(coded, reset=False)  # numbers the categories anew; no public method does
    return tuple(
        Category(name, dict(zip(values, codes, strict=False)), codes[-1])
        for name, values, codes in zip(columns.categories, asked, coded[:, : len(asked)].T.tolist(), strict=True)
    )


def _binned(graph: Graph, parts: Mapping[str, Any], columns: Columns) -> str:
    """Categories as their numbers, numbers as they are."""
    changed = parts.get("number")
    if changed is None:
        return INPUT
    if not isinstance(changed, FunctionTransformer) or changed.func not in _NUMBERS:
        raise NotExported(f"no graph is known of {changed}")
    numbers = _NUMBERS[changed.func](graph, graph.columns(len(columns.categories)), changed.kw_args)
    if not columns.categories:
        return numbers
    return graph.node("Concat", graph.columns(0, len(columns.categories)), numbers, axis=1)


def _clipped(graph: Graph, numbers: str, bounds: Mapping[str, Any]) -> str:
    return graph.node("Clip", numbers, graph.constant(bounds["a_min"]), graph.constant(bounds["a_max"]))


def _filled(graph: Graph, numbers: str, values: Mapping[str, Any]) -> str:
    return graph.node("Where", graph.node("IsNaN", numbers), graph.constant(values["nan"]), numbers)


_NUMBERS = {np.clip: _clipped, np.nan_to_num: _filled}


def _scaled(graph: Graph, parts: Mapping[str, Any], columns: Columns) -> str:
    """Numbers filled, with a column that tells so, and scaled; categories with a column per value."""
    blocks = []
    if (number := parts.get("number")) is not None:
        fill, scale = number.named_steps["fill"], number.named_steps["scale"]
        numbers = graph.columns(len(columns.categories))
        absent = graph.node("IsNaN", numbers)
        rows = graph.node("Where", absent, graph.constant(np.nan_to_num(fill.statistics_)), numbers)
        if len(told := fill.indicator_.features_):
            rows = graph.node("Concat", rows, graph.double(graph.taken(absent, told)), axis=1)
        centred = graph.node("Sub", rows, graph.constant(scale.mean_))
        blocks.append(graph.node("Div", centred, graph.constant(scale.scale_)))
    if (category := parts.get("category")) is not None:
        sizes = [len(values) for values in category.categories_]
        codes = graph.taken(graph.columns(0, len(sizes)), np.repeat(np.arange(len(sizes)), sizes))
        places = graph.constant(np.concatenate([np.arange(size) for size in sizes]))
        blocks.append(graph.double(graph.node("Equal", codes, places)))
    return blocks[0] if len(blocks) == 1 else graph.node("Concat", *blocks, axis=1)


def _affine(graph: Graph, rows: str, weights: Any, offset: Any) -> str:
    return graph.node("Gemm", rows, graph.constant(weights), graph.constant(np.atleast_1d(offset)))


def _one(graph: Graph, rows: str) -> str:
    """A number per row."""
    return graph.node("Squeeze", rows, graph.constant([1], np.int64))


def _probability(graph: Graph, raw: str, outputs: int) -> str:
    """P(1) of two classes, else a row of probabilities."""
    return _one(graph, graph.node("Sigmoid", raw)) if outputs == 1 else graph.node("Softmax", raw, axis=1)


def _log_odds(graph: Graph, rows: str, model: LogisticRegression) -> str:
    return _affine(graph, rows, model.coef_.T, model.intercept_)


def _logistic(graph: Graph, rows: str, model: LogisticRegression) -> str:
    return _probability(graph, _log_odds(graph, rows, model), len(model.coef_))


def _ridge(graph: Graph, rows: str, model: Ridge) -> str:
    return _one(graph, _affine(graph, rows, model.coef_.reshape(-1, 1), model.intercept_))


def _last_layer(graph: Graph, rows: str, model: MLPClassifier | MLPRegressor) -> str:
    *hidden, last = zip(model.coefs_, model.intercepts_, strict=True)
    for weights, offset in hidden:
        rows = graph.node("Relu", _affine(graph, rows, weights, offset))
    return _affine(graph, rows, *last)


def _classifying_network(graph: Graph, rows: str, model: MLPClassifier) -> str:
    return _probability(graph, _last_layer(graph, rows, model), model.n_outputs_)


def _regressing_network(graph: Graph, rows: str, model: MLPRegressor) -> str:
    return _one(graph, _last_layer(graph, rows, model))


def _boosted(graph: Graph, rows: str, model: Any) -> str:
    raw = trees.boosted(graph, rows, model._predictors)
    return graph.node("Add", raw, graph.constant(np.reshape(model._baseline_prediction, (1, -1))))


def _boosting(graph: Graph, rows: str, model: Any) -> str:
    raw = _boosted(graph, rows, model)
    if isinstance(model, HistGradientBoostingClassifier):
        return _probability(graph, raw, model.n_trees_per_iteration_)
    if model.loss != "squared_error":
        raise NotExported(f"no graph is known of gradient boosting with the loss {model.loss}")
    return _one(graph, raw)


def _forest(graph: Graph, rows: str, model: RandomForestClassifier | RandomForestRegressor) -> str:
    single = graph.double(graph.node("Cast", rows, to=1))  # trees compare numbers of single precision
    answers = trees.forest(graph, single, model)
    return answers if _several(model) else _one(graph, answers)


def _several(model: Any) -> bool:
    """Whether an answer is a row of probabilities."""
    return len(getattr(model, "classes_", ())) > 2


# Of classifiers that have log-odds; of others a map is of their probabilities.
_SCORES: dict[type[BaseEstimator], Callable[[Graph, str, Any], str]] = {
    LogisticRegression: _log_odds,
    HistGradientBoostingClassifier: _boosted,
}
_OF_SCALED = (LogisticRegression, Ridge, MLPClassifier, MLPRegressor)
_WRITERS: dict[type[BaseEstimator], Callable[[Graph, str, Any], str]] = {
    LogisticRegression: _logistic,
    Ridge: _ridge,
    MLPClassifier: _classifying_network,
    MLPRegressor: _regressing_network,
    HistGradientBoostingClassifier: _boosting,
    HistGradientBoostingRegressor: _boosting,
    RandomForestClassifier: _forest,
    RandomForestRegressor: _forest,
}
