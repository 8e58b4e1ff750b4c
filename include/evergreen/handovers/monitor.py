"""What travels through the monitoring loop, in the order in which it is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from evergreen.handovers.fairness import Fair
from evergreen.handovers.handover import Handover, Part
from evergreen.links import Link
from evergreen.spec.measures import MetricName

Action = Literal["none", "alert", "wait for labels", "retrain"]
Cause = Literal["loss", "calendar"]  # of a retraining: one that it avoids, or that the champion is too old


class Collected(Handover):
    """The interval's answered predictions, which are in the lake now."""

    partition: str
    """The interval's day."""
    rows: int
    """How many predictions there are."""
    version: int | None
    """The version that made most of them; None: there are none."""
    champion: int | None
    """The version that should have answered; None: there was none yet."""
    ages: Mapping[str, float]
    """view → hours from the end of the newest features that were online before the interval to the interval's end;
    without views that had none."""
    warnings: tuple[str, ...]
    """Where little space is left, and which features are older than their view allows; for the owner."""
    table_version: int | None = None
    """The version of the table of predictions that has them: what comes after reads this one. None: the newest."""


class Finding(Part):
    """Something that is wrong in a window."""

    cause: str
    """Which thing, by a name that stays while it lasts: `nulls of age`, `volume`, `drift of fare`, `performance`."""
    kind: Literal["incident", "loss", "drift", "outcome", "brake"]
    """incident: the data cannot be trusted; loss: the model is worse; drift: the data is different, which is told and
    never a cause of retraining; outcome: what came of a retraining; brake: why none is made until a person acts."""
    observed: float
    """What was measured."""
    bound: float
    """What is normal."""
    said: str
    """One sentence for a person."""
    next_step: str = ""
    """What a person does about it; empty: it is said elsewhere what is done."""


class Rival(Part):
    """What could answer in the champion's place, by what can be told while labels are open."""

    name: str
    """`version 3`, or `the baseline`."""
    version: int | None
    """None: it is no version."""
    estimated: float
    """The likely value of the search metric, had it answered."""
    gain: float
    """How much better that is than the champion's likely value."""
    bound: float | None
    """What such gains are wrong by, and chance; None: too few labels have matured to say that."""
    error: float | None
    """By how much its gain on the matured rows was less than its estimate; None: none matured."""

    @property
    def better(self) -> bool:
        """Whether it is clearly better."""
        return self.bound is not None and self.gain > self.bound


class Skewed(Part):
    """How a feature was served beside what the offline store has of the same entity at the same moment."""

    rows: int
    """Answers that were compared."""
    different: int
    """Of these, with another value."""
    since: int = 0
    """With the value that the store had when they were answered, and has no longer."""
    nothing: int = 0
    """Of whose entity the store has nothing."""
    largest: float | None = None
    """The largest difference; None: there is none, or the feature is no number."""


class Quality(Handover):
    """What of the interval's data cannot be trusted."""

    missing: Mapping[str, float]
    """feature → growth of its share of nulls over the reference's."""
    beyond: Mapping[str, float] = {}
    """number → share of its values that are out of the reference's range."""
    new: Mapping[str, float] = {}
    """category → share of its values that the reference has not."""
    bounds: Mapping[str, float] = {}
    """feature → greatest growth of its share of nulls that is normal."""
    skew: Mapping[str, Skewed] = {}
    """feature or input → how it was served beside the offline store, on a sample of the answers."""
    findings: tuple[Finding, ...] = ()
    """Why the interval's data cannot be trusted."""


class Fairness(Part):
    """How alike the groups of the protected attributes are decided on (`gates.fairness`)."""

    answered: tuple[Fair, ...] = ()
    """The interval's answers; of open labels, so without equalised odds."""
    matured: tuple[Fair, ...] = ()
    """Those whose labels matured within the interval."""


class Drift(Handover):
    """How far the window is from the rows that the version was evaluated on."""

    distances: Mapping[str, float]
    """feature → distance from the reference."""
    prediction: float | None
    """Distance of the predictions, of several classes the greatest; None: nothing to compare."""
    classes: Mapping[str, float]
    """class → distance of its probabilities; empty where the label has not several classes."""
    bounds: Mapping[str, float] = {}
    """feature → greatest distance that is normal."""
    prediction_bound: float | None = None
    """The same of the predictions."""
    together: float | None = None
    """How well window and reference are told apart by all features: the cross-validated area under the ROC curve of a
    domain classifier, on a sample; None: too few rows."""
    together_bound: float | None = None
    """The greatest that is normal."""
    confidence: Mapping[str, float] = {}
    """How sure the answers are: `entropy`, their mean, in bits; `near`, the share of those within 0.1 of the
    threshold, of several classes of another class; `distance` from the reference, and its `bound`. Empty where the
    label has no classes."""
    findings: tuple[Finding, ...] = ()
    """What has drifted."""


class Worth(Part):
    """What answers were worth to the owner, by the cost matrix (`label.business_value`)."""

    currency: str
    """What the numbers are in."""
    value: float
    """Of 1,000 predictions, by the classes that were answered and the labels that matured."""
    low: float | None
    """At least so much: the lower end of its 95 % interval, by what is alike (entities or days)."""
    high: float | None
    """At most so much."""
    rows: int
    """Matured rows that it was measured on."""
    usual: float | None = None
    """The same of the version's held-out rows; None: an earlier release did not keep their labels."""
    lost: float | None = None
    """How much less it is than that; below 0: it is more."""
    lost_low: float | None = None
    """At least so much is lost: the lower end of the 95 % interval of the difference."""
    lost_high: float | None = None
    """At most so much."""


class Scored(Part):
    """How a version did that answered before, on rows whose labels matured within the interval."""

    version: int
    """Its number."""
    value: float | None
    """Of the search metric; None: it is not defined on these rows."""
    low: float | None
    """The value is at least so much: the lower end of its 95 % interval."""
    high: float | None
    """It is at most so much."""
    reference: float | None
    """The value when the version was evaluated."""
    loss: float | None
    """The mean proper loss of the rows."""
    rows: int
    """How many there are."""
    worth: Worth | None = None
    """What its answers were worth; None: there is no cost matrix."""


class Performance(Handover):
    """The version's score on the predictions whose labels matured within the interval."""

    metric: MetricName
    """The search metric."""
    value: float | None
    """Its value on the matured rows; None: nothing to score."""
    reference: float | None
    """Its value when the version was evaluated; None: nothing to score."""
    drop: float | None
    """How much worse it is than the reference; negative: better."""
    significant: bool
    """The drop is beyond chance (95 %)."""
    rows: int
    """How many matured rows there are."""
    low: float | None = None
    """The value is at least so much: the lower end of its 95 % interval, by what is alike (entities or days)."""
    high: float | None = None
    """It is at most so much."""
    loss: float | None = None
    """The mean proper loss of the matured rows: log loss of classes, in nats, squared or absolute error of numbers. It
    is defined where the metric is not, as on rows of one class."""
    loss_reference: float | None = None
    """The same of the version's held-out rows; None: an earlier release did not keep their labels."""
    worth: Worth | None = None
    """What its answers were worth; None: there is no cost matrix, or nothing matured."""
    lacking: str | None = None
    """What the matured rows lack for the metric; None: nothing."""
    estimated: float | None = None
    """The likely value on the interval's answers, whose labels are open; None: there is no estimate."""
    estimated_low: float | None = None
    """The lower end of what chance makes of it (95 %)."""
    estimated_high: float | None = None
    """The upper end."""
    estimated_rows: int = 0
    """How many answers it is of."""
    estimate_error: float | None = None
    """By how much the value on the matured rows is better than its estimate without their labels; below 0: the estimate
    was too good."""
    others: tuple[Scored, ...] = ()
    """The same of versions that answered before, whose labels matured within the interval too."""
    still_open: int = 0
    """Its predictions whose outcome is not known yet; counted where each outcome has a moment of its own
    (`label.known`)."""
    rivals: tuple[Rival, ...] = ()
    """The last known good version and the baseline, while labels are open; empty where there is no estimate."""
    labels_version: int | None = None
    """The version of the label's table that was read; None: there is no label yet."""
    fairness: Fairness = Fairness()
    """How alike groups are decided on; empty where no attribute is declared."""
    findings: tuple[Finding, ...] = ()
    """In what the version is worse."""


class Compared(Handover):
    """What the champion and fresh fits of its recipe lose on windows whose labels have matured: a row of each in the
    lake."""

    windows: tuple[str, ...]
    """The intervals that were compared now, the oldest first."""
    left: int
    """How many are left for the next run."""
    table_version: int | None
    """The version of the table that has them; None: there is none yet."""


class Decided(Handover):
    """What is to be done about the window."""

    action: Action
    """What was decided."""
    decision_id: str
    """The decision's id, by which the ledger knows it."""
    reasons: tuple[str, ...]
    """Why, from what was seen to what follows."""
    triggers: bool
    """A decision to retrain starts a training, unless a newer window was decided already."""
    findings: tuple[Finding, ...] = ()
    """What came of the last retraining, and why none is made until a person acts."""
    over: tuple[str, ...] = ()
    """Causes of the second kind that do not stand."""
    falls_back: int | None = None
    """The version that serves instead while labels are open; None: none."""
    changed_at: datetime | None
    """Since when the world is different; None: it is not believed to be."""
    cause: Cause | None = None
    """Why it retrains; None: it does not, or a release before decided so."""
    page: str
    """The page of the window, which the task `report` draws."""
    carried: ClassVar = ("action", "decision_id", "triggers")
    pages: ClassVar = {"page": Link.WINDOW}


class Alerted(Handover):
    """What the owner is told of."""

    owner: str
    """The address that is told."""
    decision_id: str
    """The decision that it follows."""
    warnings: tuple[str, ...]
    """What is wrong."""
    told_as: str | None = None
    """The ledger's id of it, by which it is sent once. None: what serves is wrong, and nothing else."""


class Reported(Handover):
    """The pages that show the window; the decision did not wait for them."""

    page: str
    """What the decision was made from."""
    drift: str | None
    """Evidently's report of the drift; None: nothing to compare."""
    performance: str | None
    """Evidently's report of the performance; None: no label matured, or those that did allow none."""
    pages: ClassVar = {"page": Link.WINDOW, "drift": Link.DRIFT_REPORT, "performance": Link.PERFORMANCE_REPORT}


class Conf(Part):
    """What a training that the monitor starts is told, as the form of a run by hand would."""

    as_of: datetime
    """The moment that it may know about."""
    reason: str
    """Why it runs."""
    decision_id: str
    """The decision that wants it."""
    changed_at: datetime | None
    """It learns only from rows after this moment; None: from all of `split.window`."""


class Retraining(Handover):
    """The training that a decision wants."""

    run_id: str
    """The id of its run: of the decision, so that a decision starts at most one."""
    conf: Conf
    """What the run is told."""
