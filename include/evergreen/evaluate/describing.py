"""A training in MLflow as people look at it: its trials, pictures of its searches and of the best candidate's answers.
Nothing of it decides anything, and no task waits for it."""

from __future__ import annotations

from pathlib import Path

from evergreen.evaluate import figures
from evergreen.files import work_folder
from evergreen.handovers.train import Evaluated, SoundTrainingSet
from evergreen.model import rows
from evergreen.model.rows import Rows
from evergreen.registry import artifacts, experiments, pipelines, records
from evergreen.registry.contents import Trials
from evergreen.run import Run
from evergreen.train import tuning


def describe(run: Run, data: SoundTrainingSet, evaluated: Evaluated) -> tuple[str, int]:
    """Add it all, once; returns the id of the training's run, and how many trials were logged now."""
    best, logged = evaluated.best, 0
    family = {"evergreen.best_family": best.family}
    parent = experiments.parent(run, evaluated.key, [each.run.id for each in evaluated.candidates], family)
    for each in evaluated.candidates:
        tried = artifacts.load(records.candidate(each.run.id), Trials).root
        logged += experiments.trials(run, each.run.id, each.family, evaluated.metric, tried)
        with work_folder() as folder:
            study = tuning.loaded(tuning.study(run.spec.model, evaluated.key, each.family))
            if study is not None:
                figures.of_study(study, folder)
                experiments.figures(each.run.id, folder, "search")
    later = rows.read(run.spec, data, "evaluate")
    with work_folder() as folder:
        _answers(run, later, rows.predict(pipelines.pipeline(best.run.id), later.inputs), folder)
        experiments.figures(best.run.id, folder, "evaluation")
    return parent, logged


def _answers(run: Run, later: Rows, predictions: figures.Floats, folder: Path) -> None:
    problem = run.spec.problem
    if problem.kind == "numeric":
        figures.of_numbers(later.labels.astype(float), predictions, folder)
    else:
        classes = run.spec.label.classes or (run.spec.label.name,)
        figures.of_classes(classes, later.labels.astype(float), predictions, folder)
