"""The events of a model's life, one frozen type per kind. Pure.

The field `event` tells the kinds apart. A field may be added with a default; none is renamed or taken away, since what
stands in a ledger is never written anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, JsonValue, TypeAdapter

from evergreen.history.happened import Happened, Recorded
from evergreen.history.rollouts import RolloutEvent

# The ledger's own words: those of gates and of the monitor may change, what is recorded does not.
Purpose = Literal["promotion", "rollback", "rollout"]  # rollout: beside the champion
GateVerdict = Literal["pass", "fail", "no evidence"]
AskingTier = Literal["medium", "high"]
Action = Literal["none", "alert", "wait for labels", "retrain"]


class DataDiffers(Recorded):
    """By which partitions of its cutoffs a training's data differs from what the same moment had before."""

    key: str  # of the earlier training
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Trained(Happened):
    """A candidate was fitted, and all its files are in MLflow."""

    event: Literal["trained"] = "trained"
    run_id: str  # of MLflow
    key: str  # of the training
    family: str
    metric: str
    score: FiniteFloat  # of the search, on time folds
    trials: int
    decision_id: str | None = None  # the monitor's, when one asked for the training
    differs: DataDiffers | None = None  # from an earlier training as of the same moment; None: there is no such
    learned_from: str | None = None  # which of the learning rows after a change, and why; None: no change was told
    selected: str | None = None  # which features it takes, in words; None: the spec asks for no selection


class Validated(Happened):
    """A training set met its contract."""

    event: Literal["validated"] = "validated"
    key: str  # of the training
    warnings: tuple[str, ...]  # of the contract, a text each


class Judged(Happened):
    """One gate was decided about a candidate.

    The gates of one judgement are recorded together; `reason` is the gate's.
    """

    event: Literal["judged"] = "judged"
    run_id: str
    key: str
    family: str
    judgement: int  # counts the judgements of the candidate, from 1
    gate: str
    observed: FiniteFloat | None
    bound: FiniteFloat | None
    verdict: GateVerdict
    compared_with: int | None  # the champion then
    # What an earlier release did not write.
    low: FiniteFloat | None = None  # the interval of what was observed
    high: FiniteFloat | None = None
    rows: int | None = None  # of the comparison with the champion
    enough: int | None = None  # so many rows would tell a gain of the margin


class NotBetter(Happened):
    """A training ended well with a candidate that may not be promoted: its gates have
    the evidence, and it is not good enough."""

    event: Literal["not better"] = "not better"
    run_id: str
    key: str
    family: str
    compared_with: int | None
    decision_id: str | None = None


class Approval(Happened):
    """A person said whether a candidate that passed its gates may be promoted, or nobody did in time.

    `actor` is the person's name, of nobody the run's; `reason` is theirs.
    """

    event: Literal["approval"] = "approval"
    run_id: str  # of MLflow: the candidate's
    key: str
    family: str
    judgement: int  # the judgement of its gates that they were shown
    tier: AskingTier
    why: str  # a person was asked
    approved: bool
    by: str | None  # None: nobody answered
    how: Literal["airflow", "command"]  # by their login, or by a command that named them
    given_by: str | None  # the system's user who gave that command
    compared_with: int | None


class Refitted(Happened):
    """The recipe of a candidate that passed its gates was fitted anew on all mature rows, and compared with it."""

    event: Literal["refitted"] = "refitted"
    run_id: str  # of MLflow: the refit's
    gated: str  # of MLflow: the fit's that the gates judged
    key: str  # of the refit
    family: str
    rows: int  # that it learned from
    learned_to: datetime  # the last cutoff that it may have learned from
    chosen: bool  # whether it is what is registered; else the gated fit is
    observed: Mapping[str, FiniteFloat | None]  # by what was compared
    bounds: Mapping[str, FiniteFloat | None]  # the same


class Registered(Happened):
    """A candidate that passed its gates became a version."""

    event: Literal["registered"] = "registered"
    version: int
    run_id: str
    key: str
    family: str
    gated: str | None = None  # of a refit: the MLflow run of the fit that the gates judged; None: it is that fit


class Documented(Happened):
    """A version got its card. What its files were then is held by the chain from here on."""

    event: Literal["documented"] = "documented"
    version: int
    run_id: str
    gated: str  # the MLflow run of the fit that the gates judged
    sha256: Mapping[str, Mapping[str, str]]  # MLflow run → file → digest


class Signed(Happened):
    """A version was signed: when it was registered, or when a named person adopted it."""

    event: Literal["signed"] = "signed"
    version: int
    run_id: str
    key: str  # of the training
    sha256: Mapping[str, str]  # by file; what is written later, or by an erasure, is not signed
    entry: str  # number and hash of the ledger's entry that registered or adopted it
    by: Literal["registration", "adoption"]
    signed_by: str  # id of the key
    public_key: str  # its public half, in PEM: whoever trusts it knows it from elsewhere
    signature: str  # base64


class Reproduced(Happened):
    """A version was made once more from what is pinned, and compared with what was recorded; a person wanted that on
    record. `reason` says what is different and what moved."""

    event: Literal["reproduced"] = "reproduced"
    version: int
    run_id: str
    outcome: Literal["identical", "different", "not repeated"]
    searched: bool  # its search was run again too
    sha256: Mapping[str, str]  # what came out: by the fit and what of it was compared
    moved: tuple[str, ...]  # inputs that are others than they were


class Adopted(Happened):
    """A version of an earlier release, or of a person, was looked at and its digests were written down."""

    event: Literal["adopted"] = "adopted"
    version: int
    run_id: str
    sha256: Mapping[str, str]  # by file


class Deploying(Happened):
    """The intent, recorded before the act: the server is about to be given a version.

    What ends it names its id, or is what it is for.
    """

    event: Literal["deploying"] = "deploying"
    version: int
    purpose: Purpose
    replaces: int | None  # the champion then; of a rollback, the version that is left
    run_id: str
    key: str
    decision_id: str | None = None
    until: datetime | None = None  # of a rollback by the monitor, as `RolledBack` has it


class Deployed(Happened):
    """The server confirmed that it answers with the version."""

    event: Literal["deployed"] = "deployed"
    version: int
    intent: str  # id of the `deploying`


class NotDeployed(Happened):
    """An intent ended without its act: the server refused the version, or did not have it when
    somebody looked; `reason` says which."""

    event: Literal["not deployed"] = "not deployed"
    version: int
    intent: str


class Promoted(Happened):
    """A version became the champion."""

    event: Literal["promoted"] = "promoted"
    version: int
    replaced: int | None  # what rollback returns to from now on; None: what it returned to before
    trained: datetime | None = None  # by a rollout, which knows more than its training did: as of when that was
    run_id: str | None = None
    key: str | None = None
    decision_id: str | None = None


class RolledBack(Happened):
    """A version was left for a good one, which serves again. What was left is not promoted again."""

    event: Literal["rolled back"] = "rolled back"
    version: int  # that serves again
    left: int
    # Of one by the monitor, while labels were open; of others none.
    decision_id: str | None = None
    until: datetime | None = None  # when the labels are known that judge it: no training that knows less undoes it


class Retired(Happened):
    """A person took a version out of the line: nothing is compared with it, rolled
    back to it, or promoted by its rerun."""

    event: Literal["retired"] = "retired"
    version: int


class Restored(Happened):
    """A person let MLflow show again what the ledger says."""

    event: Literal["restored"] = "restored"
    changes: tuple[str, ...]


class MadeFrom(Recorded):
    """What a decision was made from, of one table: of a version the partitions that lie between two, both included,
    and were available at the decision's `end`."""

    version: int
    first: str
    last: str
    partitions: int  # how many of them the version has
    content_hash: str  # digest of the content hashes of their rows


class Decided(Happened):
    """The monitor decided about a window, whatever it decided. `reason` has all of the decision's reasons."""

    event: Literal["decided"] = "decided"
    decision_id: str
    start: datetime  # of the interval, which is the window's newest day
    end: datetime
    version: int | None  # that was judged
    action: Action
    triggers: bool
    changed_at: datetime | None
    evidence: Mapping[str, JsonValue]
    drifted: bool | None = None  # different from the reference; None: a release before wrote it elsewhere
    incident: bool | None = None  # its data was wrong; None: as above
    made_from: Mapping[str, MadeFrom] | None = None  # table → what of it; None: a release before did not record it
    cause: Literal["loss", "calendar"] | None = None  # of a retraining; a release before did not say it
    falls_back: int | None = None  # the version that serves instead while labels are open; None: none


class Told(Recorded):
    """How something that is wrong stands as of a window, as its owner heard of it."""

    cause: str  # which thing, by a name that stays while it lasts
    # The data cannot be trusted; the model is worse; what came of a retraining; why none is made until a person acts.
    kind: Literal["incident", "loss", "outcome", "brake"]
    state: Literal["began", "changed", "resolved", "stands"]  # stands: nothing new, it was not told again
    since: datetime  # the start of the window that showed it first
    observed: FiniteFloat  # when it was told last
    said: str  # the same
    doing: str  # what was done about it then; of the last two kinds, what a person does next


class Alerted(Happened):
    """The owner was told of what is wrong, or of a decision to alert."""

    event: Literal["alerted"] = "alerted"
    decision_id: str
    start: datetime | None = None  # of the window; None: a release before told of decisions alone
    told: tuple[Told, ...] = ()  # every cause that was wrong, or ended with the window
    lines: tuple[str, ...] = ()  # what the owner read; `reason` has all of them


class CorrectedSource(Recorded):
    """What a correction made of an interval of a source."""

    before: int | None  # published rows before it; None: none were published
    rows: int  # published rows
    quarantined: int  # rows in quarantine
    released: int  # published rows that a person released
    same: bool  # nothing of it changed
    content_hash: str  # of both


class Corrected(Happened):
    """An interval of a dataset is about to be written again, from what its batches say now.

    Recorded before the act: a killed correction is run again. `model` is a model that uses the dataset, or the dataset.
    """

    event: Literal["corrected"] = "corrected"
    dataset: str
    partition: str
    sources: Mapping[str, CorrectedSource]
    features: Mapping[str, tuple[str, ...]]  # view → partitions that are computed again
    labels: tuple[str, ...]  # the model's label partitions that are computed again


class Erased(Happened):
    """An entity's rows are being erased from what the model learned from, predicted and reads. Neither its key nor
    anything that is made of it is recorded."""

    event: Literal["erased"] = "erased"
    erasure: str  # the same for all models that the erasure concerns
    rows: Mapping[str, int]  # training → how many rows its training set loses
    versions: Mapping[str, int]  # version → the same, of those that are registered
    # training → content hash of what is left of its training set; of one that could not be built again there is none
    left: Mapping[str, str] = {}


Event = (
    Trained
    | Validated
    | Judged
    | NotBetter
    | Approval
    | Refitted
    | Registered
    | Documented
    | Signed
    | Reproduced
    | Adopted
    | Deploying
    | Deployed
    | NotDeployed
    | Promoted
    | RolledBack
    | Retired
    | Restored
    | Decided
    | Alerted
    | Corrected
    | Erased
    | RolloutEvent
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def to_text(event: Event) -> str:
    """The event as one canonical line of JSON, in ASCII: equal events have equal texts."""
    return json.dumps(event.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_text(text: str) -> Event:
    """The event of a text; raises pydantic's `ValidationError` when it is none."""
    return _EVENT.validate_json(text)
