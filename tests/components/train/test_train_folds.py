"""Time folds that cannot be scored say which class is missing, in which of their parts, of how many rows."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import EvidenceMissing
from evergreen.model import rows
from evergreen.model.rows import Rows, inputs
from evergreen.spec.families import defaults, space
from evergreen.spec.schema import ModelSpec
from evergreen.train import backtesting, folding, stages

from .conftest import DAYS, rows_of, run_as_of, spec_in


def _rows(folder: Path, labels: pd.Series) -> Rows:
    """Fifteen days to learn from, of which a label is chosen by the day."""
    frame = rows_of(range(DAYS - 5))
    day = (frame["event_timestamp"] - frame["event_timestamp"].min()).dt.days
    frame["left"] = day.map(labels).to_numpy()
    spec = spec_in(folder)
    return Rows(
        frame, inputs(spec.feature_types, frame), frame["left"].to_numpy(), frame["customer_id"].to_numpy(object)
    )


def test_a_class_that_is_missing_is_named_with_its_fold(tmp_path: Path) -> None:
    run = run_as_of(spec_in(tmp_path))
    learn = _rows(tmp_path, pd.Series([1] * 2 + [0] * 13))  # the later days, which are scored, have none of class 1
    with pytest.raises(EvidenceMissing) as caught:
        backtesting.fold(run, "mlp", learn)
    message = caught.value.found
    assert message.startswith(
        "fold 1 of 2 has no row of class 1 among its 300 rows to score (2026-01-07 to 2026-01-11)"
    ), message
    assert "; fold 2 of 2 has no row of class 1 among its " in message
    with pytest.raises(
        EvidenceMissing,
        match=r"fold 1 of 2 has no row of class 0 among its [0-9]+ rows to learn from [(]until 2026-01-0",
    ):
        backtesting.fold(run, "mlp", _rows(tmp_path, pd.Series([1] * 15)))


def test_a_fold_that_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    learn = _rows(tmp_path, pd.Series([0, 1] * 5 + [1] * 5))  # only the last days have one class alone
    with caplog.at_level(logging.WARNING):
        folds = backtesting.fold(run_as_of(spec_in(tmp_path)), "mlp", learn).parts
    assert (
        len(folds) == 1
        and "Not scored on: fold 2 of 2 has no row of class 0 among its 300 rows to score" in caplog.text
    )


def _by_day(folder: Path, classes: list[str], metric: str) -> tuple[ModelSpec, Rows]:
    """Fifteen days to learn from, whose classes are dealt out by the day; all of a day's rows share those of two."""
    label = {"name": "left", "type": "multiclass", "classes": ("a", "b", "rare"), "horizon": "2d"}
    search = {"trials": 3, "metric": metric, "seed": 7}
    spec = spec_in(
        folder,
        label={**label, "sources": ("events",)},
        search=search,
        gates={"minimum_rows": 200, "floor": {"log_loss": 1.0}},
    )
    frame = rows_of(range(DAYS - 5))
    day = (frame["event_timestamp"] - frame["event_timestamp"].min()).dt.days
    frame["left"] = [classes[of] if number % 2 else "ab"[number // 2 % 2] for number, of in enumerate(day)]
    return spec, rows.of(spec, frame)


def test_a_class_that_no_short_fold_has_in_both_parts_is_scored_on_longer_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec, learn = _by_day(
        tmp_path, ["a", "b", "a", "b", "a", "rare", "rare", "b", "rare", "a", "b", "a", "b", "a", "b"], "roc_auc"
    )
    whole = spec.model_copy(update={"split": spec.split.model_copy(update={"folds": 4})})
    with caplog.at_level(logging.WARNING):
        folds = backtesting.fold(run_as_of(whole), "mlp", learn).parts
    parts = [set(part.labels) for each in folds for part in (each.learn, each.later)]
    assert "Scored in their place: 1 of 3 longer ones" in caplog.text
    assert parts and all(part == {0, 1, 2} for part in parts)


def test_a_class_that_no_fold_can_learn_is_left_out_of_the_score_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec, learn = _by_day(tmp_path, ["a", "b"] * 7 + ["rare"], "log_loss")
    with caplog.at_level(logging.WARNING):
        folds = backtesting.fold(run_as_of(spec), "gradient_boosting", learn).parts
    assert "no row of class rare among its" in caplog.text
    assert "Scored in their place: rows of the classes that each could learn" in caplog.text
    for part in folds:
        assert part.classes is not None and part.classes.tolist() == [0, 1]
        assert set(part.later.labels) == {0, 1}
        predicted = folding.fitted(spec, part, "gradient_boosting", defaults(space("gradient_boosting", {})))
        answers = predicted(part.later.inputs)
        assert answers.shape == (len(part.later.labels), 3) and (answers[:, 2] == 0).all()
        assert np.allclose(answers.sum(axis=1), 1)
    with pytest.raises(EvidenceMissing, match="search by log_loss, which does without some classes"):
        backtesting.fold(run_as_of(_by_day(tmp_path, ["a"] * 15, "roc_auc")[0]), "mlp", learn)
    never = _by_day(tmp_path, ["a", "b"] * 7 + ["a"], "log_loss")[1]
    with pytest.raises(EvidenceMissing, match="no row of class rare among the 900 rows to learn from"):
        backtesting.fold(run_as_of(spec), "mlp", never)


def test_a_fold_learns_only_from_outcomes_that_were_known_when_its_scoring_starts(tmp_path: Path) -> None:
    """Of outcomes that become known each at a moment of its own, the slow ones are known after the fold's cutoffs."""
    known = {"column": "decided_at", "within": "12d"}
    spec = spec_in(tmp_path, label={"name": "left", "horizon": "2d", "known": known, "sources": ("events",)})
    learn = _rows(tmp_path, pd.Series([0, 1] * 8))
    slow = learn.frame.index % 3 == 0
    own = learn.frame["event_timestamp"] + pd.to_timedelta([11 if each else 1 for each in slow], unit="D")
    known_later = Rows(learn.frame.assign(known_at=own), learn.inputs, learn.labels, learn.keys)
    folds = list(folding.folds(spec, known_later))
    assert folds
    for fold, earlier, _ in folds:
        assert (own.iloc[earlier] <= fold.score_from).all()
        sooner = (learn.frame["event_timestamp"] <= fold.learn_to) & (own <= fold.score_from)
        assert len(earlier) == sooner.sum() < (learn.frame["event_timestamp"] <= fold.learn_to).sum()


def test_too_few_known_outcomes_are_no_evidence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = {"column": "decided_at", "within": "12d", "share": 0.8}
    spec = spec_in(tmp_path, label={"name": "left", "horizon": "2d", "known": known, "sources": ("events",)})
    run = run_as_of(spec)
    with caplog.at_level(logging.INFO, "evergreen"):
        stages._enough_known(run, {"learned from": (80, 20), "evaluated on": (90, 10)})
    assert "of 100 learned from 80.0%, of 100 evaluated on 90.0%" in caplog.text
    with pytest.raises(EvidenceMissing, match=r"label\.horizon") as caught:
        stages._enough_known(run, {"learned from": (80, 20), "evaluated on": (79, 21)})
    assert "of 100 evaluated on 79.0%" in caught.value.found and "80% or more" in str(caught.value)
