"""Pictures of answers and searches: which there are, and that what cannot be drawn is left out and not an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna

from evergreen.evaluate import figures

CURVES = {"roc.png", "precision_recall.png", "calibration.png", "gain.png"}


def drawn(folder: Path) -> set[str]:
    files = list(folder.iterdir())
    assert all(file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 2_000 for file in files)
    return {file.name for file in files}


def test_answers_of_two_and_of_several_classes_have_their_curves(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    two, several = tmp_path / "two", tmp_path / "several"
    for folder in (two, several):
        folder.mkdir()
    labels = (random.random(300) < 0.3).astype(float)
    figures.of_classes(("left",), labels, np.clip(labels * 0.4 + random.random(300) * 0.6, 0, 1), two)
    assert drawn(two) == CURVES
    of_three = random.integers(0, 2, 300).astype(float)  # nobody is of the third class
    figures.of_classes(("a", "b", "c"), of_three, random.dirichlet([1, 1, 1], 300), several)
    assert drawn(several) == CURVES


def test_numbers_have_what_came_true_and_what_is_left(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    figures.of_numbers(random.random(50), random.random(50), tmp_path)
    assert drawn(tmp_path) == {"predicted.png", "residuals.png"}


def test_a_search_has_its_history_importances_and_slices(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1) ** 2 + trial.suggest_int("b", 1, 9), n_trials=6)
    figures.of_study(study, tmp_path)
    assert drawn(tmp_path) == {"history.png", "importances.png", "slices.png"}


def test_of_a_search_of_one_trial_there_is_nothing_to_see(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("a", 0, 1), n_trials=1)
    figures.of_study(study, tmp_path)
    assert drawn(tmp_path) == set()
