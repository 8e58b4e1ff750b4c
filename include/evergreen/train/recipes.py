"""How a candidate was fitted, so that the same can be fitted on other rows: by its refit, and by whoever asks what a
fresh fit of a version would be worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from evergreen.model import calibrating, families
from evergreen.model.rows import Rows, without
from evergreen.registry import artifacts, tracking
from evergreen.registry.contents import Recipe
from evergreen.registry.records import Candidate
from evergreen.spec.schema import ModelSpec
from evergreen.train import windows

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def of(spec: ModelSpec, candidate: Candidate) -> Recipe:
    """The recipe of a candidate.

    Args:
        spec: that it was trained with.

    Raises:
        EvidenceMissing, ArtifactUntrusted: its file is not there, or was changed.
        ServiceUnavailable: MLflow does not answer.
    """
    if Recipe.NAME in candidate.files:
        return artifacts.load(candidate, Recipe)
    # An earlier release kept none, and left out of the training set what is not to be learned from.
    parameters = tracking.hyperparameters(candidate.run_id, candidate.family)
    return Recipe(family=candidate.family, parameters=parameters, seed=spec.search.seed)


def fit(spec: ModelSpec, recipe: Recipe, rows: Rows) -> tuple[Pipeline, Rows]:
    """A fit of a recipe, and what of the rows it learned from; the same rows give the same fit."""
    spec, learned = recipe.taking(spec), without(windows.of(recipe.window, rows), recipe.dropped)
    rows_of = learned.inputs, learned.labels, learned.weights
    with threadpool_limits(1):  # families are tuned side by side, one core each; and the same order of additions
        pipeline = families.fitted(spec, recipe.family, dict(recipe.parameters), *rows_of, seed=recipe.seed)
    return calibrating.calibrated(pipeline, recipe.calibration), learned
