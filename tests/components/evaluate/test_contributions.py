"""Contributions add up to the score of every row, or are sampled with an error that holds, or are not shown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from evergreen.handovers.explanation import Explanation
from evergreen.model.contributions import adds_up, explain

Floats = npt.NDArray[np.float64]


def background(rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": random.normal(size=rows), "b": random.normal(size=rows), "kind": random.choice(["x", "y", "z"], rows)}
    )


def total(made: Explanation) -> float:
    return made.usual + sum(part.contribution for part in made.parts)


def additive(rows: pd.DataFrame) -> Floats:
    return (3 * rows["a"] + rows["b"] ** 2 + (rows["kind"] == "x") * 2.0).to_numpy(float)


def test_of_a_score_without_interactions_the_parts_are_exact() -> None:
    others, row = background(200), pd.DataFrame({"a": [2.0], "b": [0.0], "kind": ["x"]})
    made = explain(row, others, additive, seed=1)
    assert made.way == "one at a time" and adds_up(made) and made.score == pytest.approx(8.0)
    parts = {part.input: part.contribution for part in made.parts}
    assert parts["a"] == pytest.approx(3 * (2 - others["a"].mean()))
    assert parts["kind"] == pytest.approx(2 * (1 - (others["kind"] == "x").mean()))
    assert all(part.error == 0 for part in made.parts) and made.parts[0].input == "a"


def test_of_one_with_interactions_they_are_sampled_and_the_error_holds() -> None:
    def multiplied(rows: pd.DataFrame) -> Floats:
        return (rows["a"] * rows["b"] + rows["a"]).to_numpy(float)

    others, row = background(200), pd.DataFrame({"a": [2.0], "b": [3.0], "kind": ["x"]})
    # Of two inputs Shapley's value is the mean of what it adds first and last.
    first = (2 * others["b"] + 2).mean() - multiplied(others).mean()
    last = multiplied(row)[0] - (others["a"] * 3 + others["a"]).mean()
    wanted, beyond = (first + last) / 2, 0
    for seed in range(40):
        made = explain(row, others, multiplied, seed)
        assert made.way == "sampled" and adds_up(made) and total(made) == pytest.approx(made.score)
        parts = {part.input: part for part in made.parts}
        assert parts["kind"].contribution == 0, "it changes nothing"
        beyond += abs(parts["a"].contribution - wanted) > 2 * parts["a"].error
    assert beyond <= 8, "within two standard errors in about 38 of 40"


def test_of_boosted_trees_with_categories_they_add_up_where_a_tree_explainer_is_wrong() -> None:
    learned = background(2000)
    labels = ((learned["kind"] == "x") & (learned["a"] > 0)).astype(int)
    encode = ColumnTransformer([("kind", OrdinalEncoder(), ["kind"])], remainder="passthrough")
    pipeline = make_pipeline(encode, HistGradientBoostingClassifier(categorical_features=[0], max_iter=20))
    pipeline.fit(learned, labels)
    for number in range(5):
        made = explain(learned.iloc[[number]], learned, lambda rows: pipeline.decision_function(rows), seed=3)
        assert adds_up(made) and total(made) == pytest.approx(made.score, abs=1e-6)


def test_a_score_that_is_not_the_same_twice_is_not_explained() -> None:
    random = np.random.default_rng(1)

    def wandering(rows: pd.DataFrame) -> Floats:
        return additive(rows) + random.normal()

    made = explain(pd.DataFrame({"a": [2.0], "b": [0.0], "kind": ["x"]}), background(200), wandering, seed=1)
    assert not adds_up(made)
