"""Every family reads the features as they are:
missing numbers, missing and unknown categories, columns without a value."""

from __future__ import annotations

import io
import math
import re
import zipfile

import numpy as np
import optuna
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from evergreen.errors import ModelUnloadable
from evergreen.families import family as named
from evergreen.model import families
from evergreen.model.network import KerasClassifier
from evergreen.model.preparation import SinglePrecision, binned
from evergreen.model.rows import inputs, predict
from evergreen.registry import pipelines
from evergreen.spec.families import defaults, space
from evergreen.spec.kinds import FeatureType
from evergreen.spec.problem import LabelType

from .conftest import rows_of

TYPES: dict[str, FeatureType] = {"minutes": "float", "sessions": "int", "mobile": "bool", "plan": "category"}
FAMILIES = ("logistic_regression", "random_forest", "gradient_boosting", "mlp")
PARAMETERS = {
    "logistic_regression": {"C": 1.0},
    "random_forest": {"n_estimators": 20},
    "gradient_boosting": {"max_iter": 10},
    "mlp": {"epochs": 2},
}
ROWS = rows_of(range(4))
ODD = pd.DataFrame(
    {
        "minutes": [30.0, np.nan, 1e300, np.nan],
        "sessions": [3, np.nan, -5, np.nan],
        "mobile": [True, None, False, None],
        "plan": ["basic", "never seen", None, None],
    }
)


def fit(family: str, types: dict[str, FeatureType], learn: pd.DataFrame) -> Pipeline:
    made = families.build(family, PARAMETERS[family], types, seed=7)
    return families.fit(made, inputs(types, learn), learn["left"], None)


def answers(family: str, types: dict[str, FeatureType], learn: pd.DataFrame, requests: pd.DataFrame) -> np.ndarray:
    pipeline = fit(family, types, learn)
    probabilities: np.ndarray = pipeline.predict_proba(inputs(types, requests))
    return probabilities


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("types", "empty"),
    [
        (TYPES, []),
        (TYPES, ["minutes"]),
        (TYPES, ["plan"]),
        ({"minutes": "float", "sessions": "int"}, []),
        ({"plan": "category"}, []),
    ],
    ids=["all kinds", "a number that never came", "a category that never came", "numbers only", "categories only"],
)
def test_every_family_answers_whatever_is_missing_or_unknown(
    family: str, types: dict[str, FeatureType], empty: list[str]
) -> None:
    learn = ROWS.assign(**dict.fromkeys(empty))
    probabilities = answers(family, types, learn, ODD)
    assert probabilities.shape == (len(ODD), 2)
    assert np.isfinite(probabilities).all() and (probabilities >= 0).all() and (probabilities <= 1).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_answered_alone_as_among_others(family: str) -> None:
    pipeline = fit(family, TYPES, ROWS)
    together = pipeline.predict_proba(inputs(TYPES, ROWS.head(30)))[:, 1]
    alone = [pipeline.predict_proba(inputs(TYPES, ROWS.iloc[[row]]))[0, 1] for row in range(30)]
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_learns_what_there_is_to_learn(family: str) -> None:
    from sklearn.metrics import roc_auc_score

    later = rows_of(range(4), seed=1)
    assert roc_auc_score(later["left"], answers(family, TYPES, ROWS, later)[:, 1]) > 0.6


@pytest.mark.parametrize("family", FAMILIES)
def test_a_search_stays_within_the_ranges_that_the_spec_declares(family: str) -> None:
    ranges = space(family, {})
    fixed = next(iter(ranges))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        suggested = families.suggest(study.ask(), family, {fixed: [ranges[fixed].low] * 2})
        assert suggested.keys() == ranges.keys()
        assert suggested[fixed] == ranges[fixed].low
        assert all(ranges[name].low <= value <= ranges[name].high for name, value in suggested.items())


def test_the_network_that_answers_without_tensorflow_is_the_one_that_was_fitted() -> None:
    pipeline = families.build("mlp", {"epochs": 2, "layers": 2, "dropout": 0.2}, TYPES, seed=7)
    pipeline.fit(inputs(TYPES, ROWS), ROWS["left"])
    prepared = pipeline[:-1].transform(inputs(TYPES, ROWS))
    theirs = np.asarray(pipeline[-1].network()(prepared.astype(np.float32)))[:, 0]
    np.testing.assert_allclose(pipeline.predict_proba(inputs(TYPES, ROWS))[:, 1], theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_tells_which_categories_it_has_seen(family: str) -> None:
    def seen(types: dict[str, FeatureType], learn: pd.DataFrame) -> dict[str, frozenset[str]]:
        return families.categories(fit(family, types, learn))

    many = ROWS.assign(plan=[None, *(f"plan {number % 300}" for number in range(len(ROWS) - 1))])
    assert seen(TYPES, ROWS) == {"plan": frozenset(ROWS["plan"].dropna())}
    assert seen(TYPES, many) == {"plan": frozenset(many["plan"].dropna())}, "rare ones that count as one are seen too"
    assert seen(TYPES, ROWS.assign(plan=None)) == {"plan": frozenset()}
    assert seen({"minutes": "float"}, ROWS) == {}


@pytest.mark.parametrize(
    ("family", "library"),
    [
        ("logistic_regression", LogisticRegression),
        ("ridge", Ridge),
        ("random_forest", RandomForestClassifier),
        ("random_forest", RandomForestRegressor),
        ("gradient_boosting", HistGradientBoostingClassifier),
        ("gradient_boosting", HistGradientBoostingRegressor),
        ("mlp", KerasClassifier),
    ],
)
def test_the_defaults_are_the_librarys_own(family: str, library: type) -> None:
    its_own = library().get_params()
    for name, parameter in named(family).parameters.items():
        assert parameter.default == (math.inf if its_own[name] is None else its_own[name]), name


@pytest.mark.parametrize("label", ["binary", "numeric"])
def test_a_forest_is_bounded_whatever_the_rows_and_finite_beyond_single_precision(label: LabelType) -> None:
    parameters = defaults(space("random_forest", {}))
    rows = rows_of(range(40), seed=1)
    labels = rows["left"] if label == "binary" else np.random.default_rng(0).normal(size=len(rows))
    pipeline = families.build("random_forest", parameters, TYPES, 7, label=label)
    families.fit(pipeline, inputs(TYPES, rows), labels, None)
    assert max(tree.get_n_leaves() for tree in pipeline[-1].estimators_) <= 1024
    assert np.isfinite(predict(pipeline, inputs(TYPES, ODD))).all()


@pytest.mark.parametrize("label", ["binary", "multiclass", "numeric"])
@pytest.mark.parametrize("empty", [[], ["minutes"], ["minutes", "sessions", "mobile"]], ids=lambda names: len(names))
@pytest.mark.parametrize("family", ["gradient_boosting", "mlp", "random_forest"])
def test_what_is_saved_names_nothing_of_ours_and_answers_as_what_was_fitted(
    family: str, empty: list[str], label: LabelType
) -> None:
    learn, place = ROWS.assign(**dict.fromkeys(empty)), ROWS["minutes"].fillna(0).rank(pct=True).to_numpy()
    labels = place if label == "numeric" else np.digitize(place, [0.5] if label == "binary" else [0.3, 0.6])
    made = families.build(family, PARAMETERS[family], TYPES, seed=7, label=label).fit(inputs(TYPES, learn), labels)
    asked = pd.concat([inputs(TYPES, ODD), inputs(TYPES, ROWS)], ignore_index=True)
    before = predict(made, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "fit", lambda self, *_, **__: self)  # it is fitted
        plain = families.fit(made, asked, labels, None)
    np.testing.assert_allclose(predict(plain, asked), before, rtol=1e-12, atol=1e-12)
    content = skops.io.dumps(plain, compression=zipfile.ZIP_STORED)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "evergreen" not in archive.read("schema.json").decode()
        assert not [entry for entry in archive.namelist() if entry.endswith(".pkl")]
    loaded = pipelines.parse_pipeline(content, family, "a version")
    assert (predict(loaded, asked) == predict(plain, asked)).all()


@pytest.mark.parametrize("family", ["gradient_boosting", "mlp", "random_forest"])
def test_a_version_of_an_earlier_release_that_holds_our_classes_loads(family: str) -> None:
    made = families.build(family, PARAMETERS[family], TYPES, seed=7)
    if family == "random_forest":
        made.steps[0] = ("prepare", binned(families.columns_of(TYPES), SinglePrecision()))
    made.fit(inputs(TYPES, ROWS), ROWS["left"])
    content = skops.io.dumps(made, compression=zipfile.ZIP_STORED)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "evergreen" in archive.read("schema.json").decode()
    loaded = pipelines.parse_pipeline(content, family, "a version")
    assert (predict(loaded, inputs(TYPES, ODD)) == predict(made, inputs(TYPES, ODD))).all()


def test_models_that_an_earlier_release_saved_load_by_the_names_of_today() -> None:
    """Its types were called by other modules; what is checked are today's."""
    for family, changed in {"gradient_boosting": "EmptyColumnsFilled", "mlp": "KerasClassifier"}.items():
        fitted = families.build(family, PARAMETERS[family], TYPES, seed=7).fit(inputs(TYPES, ROWS), ROWS["left"])
        content = skops.io.dumps(fitted)
        (old,) = (before for before, today in named(family).renamed.items() if today.endswith(changed))
        before = with_types(content, named(family).renamed[old], old)
        assert before != content
        loaded = pipelines.parse_pipeline(before, family, "a version")
        assert (predict(loaded, inputs(TYPES, ODD)) == predict(fitted, inputs(TYPES, ODD))).all()
        other = with_types(content, named(family).renamed[old], old.replace("evergreen.train", "evergreen.trial"))
        with pytest.raises(ModelUnloadable):
            pipelines.parse_pipeline(other, family, "a version")


def with_types(content: bytes, today: str, before: str) -> bytes:
    """The file as one in which a type has another full name."""
    (module, _, name), (other, _, other_name) = today.rpartition("."), before.rpartition(".")
    of_today = re.compile(rf'"__class__": "{name}",(\s+)"__module__": "{re.escape(module)}"')
    renewed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(renewed, "w") as changed:
        for entry in archive.infolist():
            kept = archive.read(entry)
            if entry.filename == "schema.json":
                kept = of_today.sub(rf'"__class__": "{other_name}",\1"__module__": "{other}"', kept.decode()).encode()
            changed.writestr(entry, kept)
    return renewed.getvalue()


CLASSES = {
    "logistic_regression": {"C": 1.0},
    "random_forest": {"n_estimators": 20},
    "gradient_boosting": {"max_iter": 10},
    "mlp": {"epochs": 60, "learning_rate": 0.02, "batch_size": 64},
}


@pytest.mark.parametrize("family", CLASSES)
def test_every_family_learns_several_classes_and_is_saved_with_them(family: str) -> None:
    places = np.digitize(ROWS["minutes"].fillna(0), ROWS["minutes"].quantile([0.3, 0.6]))
    pipeline = families.build(family, CLASSES[family], TYPES, seed=7, label="multiclass")
    families.fit(pipeline, inputs(TYPES, ROWS), places, None)
    probabilities = predict(pipeline, inputs(TYPES, ODD))
    assert probabilities.shape == (len(ODD), 3) and (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    right = (predict(pipeline, inputs(TYPES, ROWS)).argmax(axis=1) == places).mean()
    assert right > 0.8, "the classes are cut out of one of its inputs"
    assert (pipeline.predict(inputs(TYPES, ROWS)) == predict(pipeline, inputs(TYPES, ROWS)).argmax(axis=1)).all()
    content = skops.io.dumps(pipeline, compression=zipfile.ZIP_STORED)
    again = pipelines.parse_pipeline(content, family, "a test's model")
    assert (predict(again, inputs(TYPES, ODD)) == probabilities).all()


def test_an_exported_network_of_several_classes_answers_as_the_fitted_one() -> None:
    places = np.digitize(ROWS["minutes"].fillna(0), ROWS["minutes"].quantile([0.3, 0.6]))
    pipeline = families.build("mlp", {"epochs": 2, "layers": 2}, TYPES, seed=7, label="multiclass")
    pipeline.fit(inputs(TYPES, ROWS), places)
    prepared = pipeline.named_steps["prepare"].transform(inputs(TYPES, ROWS))
    exported = np.asarray(pipeline.named_steps["model"].network()(prepared.astype(np.float32)))
    np.testing.assert_allclose(exported, predict(pipeline, inputs(TYPES, ROWS)), atol=1e-5)
