"""What travels through the training loop, in the order in which it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from evergreen.handovers.handover import Handover, Part, Staged, TrackedRun
from evergreen.links import Link
from evergreen.spec.problem import MetricName

Scores = Mapping[str, float | None]  # metric → value; None where it is not defined
Verdict = Literal["pass", "fail", "no evidence"]


class Stretch(Part):
    """The rows of a training set whose cutoffs lie in a stretch of time, both ends included."""

    rows: int
    """How many there are."""
    start: datetime
    """The first cutoff that the stretch may have."""
    end: datetime
    """The last cutoff that it may have."""


class TrainingSet(Handover):
    """Mature labels joined point in time with features, pinned by versions and content."""

    key: str
    """What makes two trainings the same: model, as_of, content, spec, code and seed."""
    staged: Staged
    """The entities' keys, event_timestamp (the cutoff), features and label; ordered by cutoff and key."""
    content_hash: str
    """Of the rows; their order does not matter."""
    versions: Mapping[str, int]
    """The tables that it was built from: `layer/name` → version."""
    learn: Stretch
    """What a candidate is searched and fitted on."""
    evaluate: Stretch
    """What the gates look at: later, and untouched by the search."""


class SoundTrainingSet(TrainingSet):
    """A training set that met the contract which follows from its spec."""

    page: str
    """The Data Docs of it."""
    warnings: tuple[str, ...]
    """What the owner is told of it."""
    pages: ClassVar = {"page": Link.DATA_DOCS}


class Candidate(Handover):
    """A family's best model, fitted on all learning rows and logged to MLflow."""

    family: str
    """The family's name, as in the spec."""
    run: TrackedRun
    """Where the fitted model lies, and what is known of it."""
    search_score: float
    """The search metric on the time folds, the best of all trials."""
    trials: int
    """How many trials the search has had."""
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN}


class ScoredCandidate(Candidate):
    """A candidate with its scores on the evaluation rows."""

    scores: Scores
    """metric → value; None where it is not defined."""


class Comparison(Part):
    """How much better the best candidate is than the champion by the search metric, on the same rows."""

    gain: float | None
    """Positive: the candidate is better. None: not defined."""
    low: float | None
    """The lower end of the 95 % interval."""
    high: float | None
    """Its upper end."""
    rows: int
    """How many rows were compared."""
    groups: int
    """How many groups of rows that are alike they fall into, such as those of one entity."""


class ScoredChampion(Part):
    """The champion, held against the same rows as the candidates."""

    version: int
    """Its number."""
    as_of: datetime | None
    """What it was trained as of; None: it does not say."""
    is_candidate: bool
    """This training is the one that made it."""
    scores: Scores | None = None
    """metric → value; None: it could not be scored."""
    problem: str = ""
    """Why it could not."""
    comparison: Comparison | None = None
    """Against the best candidate; None where one of the two has a score that is not defined."""


class Evaluated(Handover):
    """Candidates, champion and trivial baseline, scored on the same later rows."""

    key: str
    """The training's key."""
    metric: MetricName
    """What candidates are compared by: the spec's search metric."""
    rows: int
    """How many rows they were scored on."""
    rows_of_class: Mapping[str, int] | None
    """class → how many of them are of it; None: the label has no classes."""
    baseline: Scores
    """Of the trivial model, which knows the learning rows' labels and no feature."""
    champion: ScoredChampion | None
    """None: there is none yet."""
    best: ScoredCandidate
    """The best by the time folds: choosing by these rows would flatter it on those that its gates look at."""
    candidates: tuple[ScoredCandidate, ...]
    """All of them, in the spec's order."""
    pages: ClassVar = {"best.run.page": Link.MLFLOW_RUN}


@dataclass(frozen=True)
class Gate:
    """One check of a candidate."""

    name: str
    """What is checked."""
    observed: float | None
    """What was seen; None: not a number, or it could not be had."""
    bound: float | None
    """What is asked for; None: not a number."""
    verdict: Verdict
    """Whether it holds."""
    reason: str
    """Why, in one line."""


class Judged(Handover):
    """What the gates say of the best candidate."""

    passed: bool
    """Every gate passed: it may be promoted."""
    reason: str
    """Why not, in one line."""
    gates: tuple[Gate, ...]
    """Every gate, with what it looked at and its bound."""
    key: str
    """The training's key."""
    family: str
    """The candidate's family."""
    run: TrackedRun
    """The candidate's run."""
    metric: MetricName
    """The search metric."""
    scores: Scores
    """The candidate's, on the evaluation rows."""
    compared_with: int | None
    """The version that was the champion; None: there was none."""
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN}

    @property
    def score(self) -> float | None:
        """The candidate's score by the search metric."""
        return self.scores.get(self.metric)


class Registered(Handover):
    """A candidate that passed its gates and is a version now; the traffic stays where it is."""

    version: int
    """Its number."""
    run: TrackedRun
    """The candidate's run."""
    key: str
    """The training's key."""
    as_of: datetime
    """What it was trained as of."""
    family: str
    """Its family."""
    metric: MetricName
    """The search metric."""
    score: float | None
    """Its score by the search metric, on the evaluation rows."""
    compared_with: int | None
    """The version that its gates compared it with; None: there was no champion."""
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN}


class Probed(Registered):
    """A version that a fresh server process answers with, as it did when it was trained."""

    probed: int
    """How many rows were compared."""


class Deployed(Handover):
    """The version that serves now."""

    version: int
    """Its number."""
    replaced: int | None
    """The champion before it, which rollback returns to; None: there was none."""
    run: TrackedRun
    """Its candidate's run."""
    metric: MetricName
    """The search metric."""
    score: float | None
    """Its score by the search metric, on the evaluation rows."""
    server: str
    """The model server's page."""
    carried: ClassVar = ("version", "replaced", "metric", "score")
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN, "server": Link.MODEL_SERVER}
