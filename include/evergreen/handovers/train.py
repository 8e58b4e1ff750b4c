"""What travels through the training loop, in the order in which it is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from evergreen.handovers.difference import Difference
from evergreen.handovers.fairness import Fair
from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import Handover, Part, Staged, TrackedRun
from evergreen.handovers.selection import Importance, Selected
from evergreen.links import Link
from evergreen.spec.measures import MetricName

Scores = Mapping[str, float | None]  # metric → value; None where it is not defined
Way = Literal["full", "since", "weighted"]


class Stretch(Part):
    """The rows of a training set whose cutoffs lie in a stretch of time, both ends included."""

    rows: int
    """How many there are."""
    still_open: int = 0
    """Predictions of the stretch that are left out because their outcome was not known in time; counted where each
    outcome has a moment of its own (`label.known`)."""
    start: datetime
    """The first cutoff that the stretch may have."""
    end: datetime
    """The last cutoff that it may have."""


class TrainingSet(Handover):
    """Mature labels joined point in time with features, pinned by versions and content."""

    key: str
    """Identifies the training: a digest of model, as_of, content, spec, code and seed."""
    staged: Staged
    """The entities' keys, event_timestamp (the cutoff), features and label; ordered by cutoff and key."""
    content_hash: str
    """Digest of the rows; their order does not matter."""
    versions: Mapping[str, int]
    """The tables that it was built from: `layer/name` → version."""
    learn: Stretch
    """The rows that candidates are searched and fitted on."""
    evaluate: Stretch
    """The later rows that the gates look at; the search never sees them."""
    differs: Difference | None = None
    """From what a training as of the same moment had before; None: there was none, or its rows were the same."""


class SoundTrainingSet(TrainingSet):
    """A training set that met the contract which follows from its spec."""

    page: str
    """The Data Docs of the training set."""
    warnings: tuple[str, ...]
    """Warnings for the owner, one text each."""
    pages: ClassVar = {"page": Link.DATA_DOCS}


class LearningWindow(Part):
    """Which of the learning rows a candidate learns from, and how much each counts."""

    way: Way
    """All of them alike, those since a change of the world, or all of them weighted by age."""
    since: datetime | None = None
    """The first cutoff that is learned from; None: that of the learning rows."""
    half_life: timedelta | None = None
    """A row that is so much older than the newest counts half as much; None: all count alike."""

    def __str__(self) -> str:
        if self.since is not None:
            return f"the rows since {self.since.isoformat()}"
        if self.half_life is not None:
            return f"all rows, weighted by age with a half-life of {self.half_life / timedelta(days=1):.3g} days"
        return "all rows"


class Backtest(Part):
    """Which rows a candidate learns from after a change of the world, and how that was chosen."""

    window: LearningWindow
    """The way that was taken."""
    scores: Mapping[Way, float]
    """Way → search metric on time folds after the change, with the family's defaults; none: nothing could be scored."""
    reason: str
    """Why it was taken, in one line."""


class Candidate(Handover):
    """A family's best model, fitted on all learning rows and logged to MLflow."""

    family: str
    """The family's name, as in the spec."""
    run: TrackedRun
    """The MLflow run that has the fitted model and its files."""
    search_score: float
    """The search metric on the time folds, of the trial that was taken."""
    trials: int
    """Number of trials of the search."""
    backtest: Backtest | None = None
    """Which of the learning rows it learned from; None: all, for no change of the world was told."""
    threshold: float | None = None
    """Its operating threshold, chosen on the time folds by `label.business_value`; None: the spec says it."""
    calibrated_on: int | None = None
    """How many rows of the time folds the map of its probabilities was fitted on; None: it has none."""
    selection: Selected | None = None
    """Which features it takes; None: all."""
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN}


class ScoredCandidate(Candidate):
    """A candidate with its scores on the evaluation rows."""

    scores: Scores
    """metric → value; None where it is not defined."""
    uncalibrated: Scores | None = None
    """The same of the probabilities before their map, without what looks at decisions; None: it has no map."""


class Comparison(Part):
    """How much better the best candidate is than another model by the search metric, on the same rows."""

    gain: float | None
    """Positive: the candidate is better. None: not defined."""
    low: float | None
    """The lower end of its interval, which holds with the confidence of `gates.better_than_champion`."""
    high: float | None
    """Its upper end."""
    tells: float | None = None
    """A gain of this size would be told from none on such rows in four of five trainings."""
    rows: int
    """How many rows were compared."""
    groups: int
    """Number of groups that the rows fall into: rows of one group are alike, such as those of one entity."""


class Since(Part):
    """The rows of an evaluation that count for the comparison with the champion: those that a refitted champion has not
    learned from, and after a change of the world those from after it."""

    after: datetime
    """The moment that they come after."""
    which_is: str = "the champion's last"
    """What that moment is."""
    rows: int
    """How many rows there are."""
    rows_of_class: Mapping[str, int] | None
    """class → how many of these rows it has; None: the label has no classes."""
    candidate: Scores | None
    """The best candidate's scores on them; None: there are none."""


class ScoredChampion(Part):
    """The champion, scored on the same rows as the candidates."""

    version: int
    """Its number."""
    as_of: datetime | None
    """`as_of` of its training; None: nothing says it."""
    is_candidate: bool
    """Whether this training made it."""
    scores: Scores | None = None
    """metric → value; None: it could not be scored."""
    problem: str = ""
    """Why it could not be scored."""
    comparison: Comparison | None = None
    """Comparison with the best candidate; None: one of the two has no defined score."""
    over_baseline: float | None = None
    """What the champion gains over the baseline on the same rows, by the search metric; None: not defined."""
    since: Since | None = None
    """The only rows on which it was scored; None: it was scored on all."""


class SliceScore(Part):
    """How the best candidate does on a part of the evaluation rows."""

    name: str
    """The part: `plan = basic`, or `plan = basic and tenure_days < 30`."""
    declared: bool
    """Whether the spec names it; else it was found."""
    rows: int
    """How many rows it has."""
    value: float | None
    """The search metric; None: not defined on these rows."""
    drop: float | None
    """How much worse than on all rows; below 0: better. Of a declared slice by the search metric, of one that was found
    by the mean loss that the model did not foresee."""
    low: float | None = None
    """At least so much worse, allowing for how many slices were looked at."""
    high: float | None = None
    """At most so much worse."""


class Evaluated(Handover):
    """Candidates, champion and baseline, scored on the same later rows."""

    key: str
    """The training's key."""
    metric: MetricName
    """The spec's search metric, by which candidates are compared."""
    rows: int
    """How many rows they were scored on."""
    rows_of_class: Mapping[str, int] | None
    """class → how many of these rows it has; None: the label has no classes."""
    baseline: Scores
    """Scores of the baseline."""
    baseline_is: str
    """What it is: the spec's expression, or what the learning rows have on average."""
    champion: ScoredChampion | None
    """None: there is none yet."""
    after_change: bool = False
    """Whether the training follows a change of the world."""
    over_baseline: Comparison | None = None
    """Of the best candidate with the baseline."""
    intervals: Mapping[str, tuple[float | None, float | None]] = {}
    """metric → lower and upper end of the interval of the best candidate's score."""
    slices: tuple[SliceScore, ...] = ()
    """Of the best candidate, the worst first; empty: the spec asks for none."""
    fairness: tuple[Fair, ...] = ()
    """How alike the best candidate decides on the groups of each protected attribute."""
    importances: tuple[Importance, ...] = ()
    """Which inputs the best candidate leans on, the most important first."""
    warnings: tuple[str, ...] = ()
    """What the contract of the training set warns of."""
    further: tuple[Gate, ...] = ()
    """The gates of the best candidate that are decided by looking at rows: slices, fairness, behaviour, noise, leaks,
    size and latency."""
    best: ScoredCandidate
    """The best by the time folds: choosing by these rows would flatter it on those that its gates look at."""
    candidates: tuple[ScoredCandidate, ...]
    """All of them, in the spec's order."""
    pages: ClassVar = {"best.run.page": Link.MLFLOW_RUN}


class Judged(Handover):
    """The verdicts of the gates about the best candidate."""

    passed: bool
    """Whether every gate passed, so that the candidate may be promoted."""
    reason: str
    """Why it did not pass, in one line."""
    gates: tuple[Gate, ...]
    """Every gate, with its observed value and its bound."""
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
    warnings: tuple[str, ...] = ()
    """What warns although every gate passed: the contract of the training set, or a gate that passed by chance perhaps.
    """
    report: str = ""
    """The page of the gates."""
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN, "report": Link.GATE_REPORT}

    @property
    def score(self) -> float | None:
        """The candidate's score by the search metric."""
        return self.scores.get(self.metric)


class Approved(Judged):
    """What the gates judged, and what the person said who was asked. `passed` holds only if nobody rejected it."""

    asked: str
    """Why a person was asked; empty: nobody was."""
    approver: str | None
    """Who allowed it; None: nobody did."""


class Refit(Part):
    """The recipe of a candidate that passed its gates, fitted anew on all mature rows."""

    run: TrackedRun
    """Its MLflow run, which is nested in the candidate's."""
    rows: int
    """How many rows it learned from: those of the candidate, those that were held out, and those between them."""
    learned_to: datetime
    """The last cutoff that it may have learned from."""
    checks: tuple[Gate, ...]
    """How it compares with the candidate on the held-out rows, by bounds."""
    chosen: bool
    """Whether it is what is registered."""
    reason: str
    """Why, in one line."""


class Refitted(Approved):
    """The fit that is to be registered: the candidate that was judged, or its refit."""

    gated: TrackedRun
    """The run of the fit that the gates judged."""
    refit: Refit | None
    """None: the candidate did not pass, or the spec asks for no refit."""


class Registered(Handover):
    """A candidate that passed its gates and is now a version; it does not serve yet."""

    version: int
    """Its number."""
    run: TrackedRun
    """The candidate's run."""
    key: str
    """The training's key."""
    as_of: datetime
    """`as_of` of its training."""
    family: str
    """Its family."""
    metric: MetricName
    """The search metric."""
    score: float | None
    """Its score by the search metric, on the evaluation rows."""
    compared_with: int | None
    """The version that its gates compared it with; None: there was no champion."""
    card: str = ""
    """The page of its card; empty: it is not written yet."""
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN, "card": Link.MODEL_CARD}


class Probed(Registered):
    """A version with which a fresh server process answers as training did."""

    probed: int
    """How many rows were compared."""


class Deployed(Handover):
    """The version that serves now, or whose rollout beside the champion is open."""

    version: int
    """Its number."""
    replaced: int | None
    """The champion before it, which rollback returns to; None: there was none, or it does not serve alone yet."""
    rollout: str | None
    """The rollout that is open, by its id; None: it is the champion."""
    run: TrackedRun
    """Its candidate's run."""
    metric: MetricName
    """The search metric."""
    score: float | None
    """Its score by the search metric, on the evaluation rows."""
    server: str
    """The model server's page."""
    carried: ClassVar = ("version", "replaced", "rollout", "metric", "score")
    pages: ClassVar = {"run.page": Link.MLFLOW_RUN, "server": Link.MODEL_SERVER}
