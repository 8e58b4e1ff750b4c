"""A graph answers as the pipeline that it was made of, whatever a row holds; one that does not is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import Pipeline

from evergreen.families import Columns
from evergreen.handovers.calibration import Calibration
from evergreen.model import calibrating, families
from evergreen.model.rows import inputs, predict
from evergreen.registry import packaging
from evergreen.runtime import comparing, exporting, trees
from evergreen.runtime.answering import GraphPredictor
from evergreen.runtime.graph import Graph
from evergreen.spec.families import space
from evergreen.spec.kinds import FeatureType
from evergreen.spec.measures import CalibrationMethod
from evergreen.spec.problem import LabelType

TYPES: dict[str, FeatureType] = {
    "plan": "category",
    "minutes": "float",
    "city": "category",
    "sessions": "int",
    "never": "float",
    "bare": "category",
}
COLUMNS = Columns(("minutes", "sessions", "never"), ("plan", "city", "bare"))
FAMILIES: dict[LabelType, tuple[str, ...]] = {
    "binary": ("logistic_regression", "mlp", "gradient_boosting", "random_forest"),
    "multiclass": ("logistic_regression", "mlp", "gradient_boosting", "random_forest"),
    "numeric": ("ridge", "mlp", "gradient_boosting", "random_forest"),
}
CASES = [(label, family) for label, names in FAMILIES.items() for family in names]


def rows_of(seed: int, rows: int = 700) -> pd.DataFrame:
    """Categories of which one has more values than a tree's bins and one no value at all, and numbers with gaps."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "plan": random.choice(np.array(["basic", "plus", "gold", None], object), rows),
            "minutes": np.where(random.random(rows) < 0.1, np.nan, random.gamma(2.0, 50.0, rows)),
            "city": [f"c{number}" for number in random.zipf(1.3, rows) % 400],
            "sessions": random.integers(0, 20, rows),
            "never": np.nan,
            "bare": None,
        }
    )


def labels_of(frame: pd.DataFrame, label: LabelType) -> Any:
    value = (frame["plan"] == "gold") * 2.0 + frame["minutes"].fillna(250.0) / 100 + (frame["city"] == "c1")
    if label == "numeric":
        return value.to_numpy()
    return np.digitize(value, [1.5] if label == "binary" else [1.0, 2.5])


def fitted(label: LabelType, family: str, seed: int = 7) -> Pipeline:
    learn = rows_of(seed)
    parameters = {
        name: among.nearest(among.default) if np.isfinite(among.default) else among.high
        for name, among in space(family, {}).items()
    }
    pipeline = families.build(family, parameters | small(family), TYPES, seed, label=label)
    return families.fit(pipeline, inputs(TYPES, learn), labels_of(learn, label), None)


def calibrated(pipeline: Pipeline, method: CalibrationMethod) -> Pipeline:
    learn = rows_of(9)
    scored = calibrating.scores(pipeline, inputs(TYPES, learn))
    return calibrating.calibrated(pipeline, calibrating.fit(method, scored, labels_of(learn, "binary"), None))


def small(family: str) -> dict[str, int]:
    return {"random_forest": {"n_estimators": 20}, "mlp": {"epochs": 2}}.get(family, {})


@pytest.mark.parametrize(("label", "family"), CASES)
def test_every_family_answers_by_its_graph_as_by_its_pipeline(label: LabelType, family: str) -> None:
    pipeline, later = fitted(label, family), inputs(TYPES, rows_of(8, 300))
    graph = GraphPredictor(exporting.export(pipeline, COLUMNS))
    found = comparing.compare(pipeline, graph, COLUMNS, later)
    assert found.faithful, found
    assert found.rows == 300 + 5 * (3 * 4 + 3 * 2) + 1
    asked = pd.concat([later, comparing.odd(COLUMNS, later)], ignore_index=True)
    rows = asked.astype(object).where(asked.notna(), None).to_dict("records")
    assert (graph.answer(rows) == graph.predict(asked)).all(), "a row is answered alike as a mapping and in a frame"
    # A product of one row may add up in another order than that of many: the last digit.
    assert graph.answer(rows[:1]) == pytest.approx(graph.answer(rows)[:1], rel=1e-12, abs=1e-15), "and as among others"
    assert graph.categories() == families.categories(pipeline)


@pytest.mark.parametrize("family", FAMILIES["binary"])
def test_a_map_of_probabilities_is_in_the_graph(family: str) -> None:
    stated, later = fitted("binary", family), inputs(TYPES, rows_of(8, 300))
    for method in get_args(CalibrationMethod):
        pipeline = calibrated(stated, method)
        found = comparing.compare(pipeline, GraphPredictor(exporting.export(pipeline, COLUMNS)), COLUMNS, later)
        assert found.faithful, (method, found)
        assert (predict(pipeline, later) != predict(stated, later)).any()
        assert (predict(calibrating.uncalibrated(pipeline), later) == predict(stated, later)).all()


def test_a_map_that_says_one_thing_of_all_scores_is_in_the_graph() -> None:
    flat = Calibration(method="isotonic", rows=10, scores=(0.0,), probabilities=(0.3,))
    pipeline = calibrating.calibrated(fitted("binary", "logistic_regression"), flat)
    assert set(GraphPredictor(exporting.export(pipeline, COLUMNS)).predict(inputs(TYPES, rows_of(8, 20)))) == {0.3}


@pytest.fixture
def losing_sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trees whose sets of categories are taken for thresholds."""
    real = trees._of_boosting
    monkeypatch.setattr(trees, "_of_boosting", lambda tree: replace(real(tree), sets={}))
    yield


@pytest.fixture
def losing_nulls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trees in which all missing numbers go right."""
    real = trees._of_forest

    def without(*arguments: Any) -> list[Any]:
        return [replace(tree, missing=np.zeros_like(tree.missing)) for tree in real(*arguments)]

    monkeypatch.setattr(trees, "_of_forest", without)
    yield


@pytest.mark.parametrize(("fault", "family"), [("losing_sets", "gradient_boosting"), ("losing_nulls", "random_forest")])
def test_a_graph_that_loses_what_converters_lose_is_refused(
    fault: str, family: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(fault)
    pipeline, later = fitted("binary", family), inputs(TYPES, rows_of(8, 300))
    graph = GraphPredictor(exporting.export(pipeline, COLUMNS))
    assert not comparing.compare(pipeline, graph, COLUMNS, later).faithful


def test_odd_rows_alone_refuse_a_graph_whose_fault_no_common_row_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the window have no gap: what becomes of a missing number shows in those that are made odd."""
    types: dict[str, FeatureType] = {"minutes": "float", "sessions": "int"}
    columns, learn = Columns(("minutes", "sessions"), ()), rows_of(7)
    pipeline = families.build("random_forest", {"n_estimators": 20}, types, 7)
    families.fit(pipeline, inputs(types, learn), labels_of(learn, "binary"), None)
    real = trees._of_forest
    monkeypatch.setattr(
        trees,
        "_of_forest",
        lambda *arguments: [replace(tree, missing=~tree.missing) for tree in real(*arguments)],
    )
    later = inputs(types, rows_of(8, 300).dropna(subset=["minutes"]))
    graph = GraphPredictor(exporting.export(pipeline, columns))
    np.testing.assert_allclose(graph.predict(later), predict(pipeline, later), atol=1e-12)
    assert not comparing.compare(pipeline, graph, columns, later).faithful


def test_a_model_of_another_kind_has_no_graph() -> None:
    of_package = fitted("binary", "random_forest")
    of_package.steps[-1] = ("model", ExtraTreesClassifier())
    with pytest.raises(exporting.NotExported, match="ExtraTreesClassifier"):
        exporting.export(of_package, COLUMNS)


def test_a_graph_that_answers_no_number_is_no_faithful_one() -> None:
    pipeline, later = fitted("numeric", "ridge"), inputs(TYPES, rows_of(8, 20))
    graph = Graph(len(COLUMNS.numbers) + len(COLUMNS.categories))
    kept = onnx.load_from_string(exporting.export(pipeline, COLUMNS)).metadata_props[0].value
    one = graph.node("Squeeze", graph.columns(0, 1), graph.constant([1], np.int64))
    content = graph.to_bytes(graph.node("Mul", one, graph.constant(np.nan)), {}, several=False)
    model = onnx.load_from_string(content)
    model.metadata_props[0].value = kept
    predictor = GraphPredictor(model.SerializeToString())
    assert np.isnan(predictor.predict(later)).all()
    assert comparing.compare(pipeline, predictor, COLUMNS, later).difference == np.inf


class _Spec:
    feature_types = TYPES


def test_the_choice_and_its_reason_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, later = fitted("binary", "gradient_boosting"), inputs(TYPES, rows_of(8, 100))
    chosen, content = packaging.package(_Spec, pipeline, later)  # type: ignore[arg-type]  # its features are enough
    assert chosen.runtime == "graph" and content is not None, chosen
    assert chosen.speed_up is not None and chosen.speed_up > 5 and chosen.difference is not None
    assert chosen.difference <= comparing.TOLERANCE

    monkeypatch.setattr(trees, "_of_boosting", lambda _: (_ for _ in ()).throw(AttributeError("no nodes")))
    refused, content = packaging.package(_Spec, pipeline, later)  # type: ignore[arg-type]
    assert (refused.runtime, content) == ("pipeline", None)
    assert "no nodes" in refused.reason
