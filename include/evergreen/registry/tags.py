"""The tags by which MLflow's runs and versions are told apart: each name stands here alone.

They are for people, and for finding a run again. Who loads a model asks Postgres
(`records`), since everybody may write tags.
"""

from __future__ import annotations

from enum import StrEnum


class Tag(StrEnum):
    """A tag of a run; those up to `AS_OF` are also a version's."""

    KEY = "evergreen.key"
    """The training key: model, moment, data, spec, code, seed."""
    FAMILY = "evergreen.family"
    REASON = "evergreen.reason"
    """What the training was started by: its schedule, a backfill, a person, drift."""
    AS_OF = "evergreen.as_of"
    """The moment that the training knew about."""
    RUN_ID = "evergreen.run_id"
    """Of the training's run in Airflow."""
    STUDY = "evergreen.study"
    """Of the search in Optuna."""
    SPEC = "evergreen.spec"
    """Hash of the spec."""
    CODE = "evergreen.code"
    """Version of the code, and its hash."""
    SEED = "evergreen.seed"
    CONTENT_HASH = "evergreen.content_hash"
    """Of the training set."""
    VERSIONS = "evergreen.versions"
    """JSON: the tables that the training set was joined from, with their versions."""
    DIFFERS = "evergreen.differs"
    """By which partitions the training set differs from the one that the same moment had before, in words."""
    DECISION = "evergreen.decision"
    """The monitor's decision that triggered the training."""
    CHANGED_AT = "evergreen.changed_at"
    """The change of the world that the training follows."""
    WINDOW = "evergreen.window"
    """Which of the learning rows the candidate learned from after that change, and why, in words."""
    SELECTION = "evergreen.selection"
    """Which features the candidate takes, in words; `recipe.json` has each with its importance."""
    MODEL_URI = "evergreen.model_uri"
    """MLflow's logged model, which holds the fitted pipeline."""
    VERDICT = "evergreen.verdict"
    """Of the gates."""
    VERDICT_REASON = "evergreen.verdict_reason"
    FIT = "evergreen.fit"
    """Where there is a refit: which of the two fits a run has (`gated`, `refit`), and which is registered."""
    GATED_RUN = "evergreen.gated_run"
    """Of a refit and of its version: the run of the fit that the gates judged."""
    TRAINING = "evergreen.training"
    """Of the run of a training, below which those of its candidates are: the training key."""
    TRIAL_OF = "evergreen.trial_of"
    """Of a trial's run: the MLflow run of the candidate that the search came to."""
    TRIAL = "evergreen.trial"
    """Of a trial's run: its number."""
    PROPOSED_BY = "evergreen.proposed_by"
    """Of a trial's run: what chose its parameters."""
    TAKEN = "evergreen.taken"
    """Of a trial's run: whether the candidate is made of it."""
    SIGNATURE = "evergreen.signature"
    """Of a version alone: the id of the key that signed it, and the signature. The ledger's is what is checked."""
    ROLLED_BACK = "evergreen.rolled_back"
    """Of a version alone: why it was rolled back from."""
    STANDS_FOR = "evergreen.version"
    """Of a version alone that was made in place of one that was deleted in MLflow: its number."""


OF_VERSION = (Tag.KEY, Tag.AS_OF, Tag.FAMILY)  # a version has them as the run that training wrote
