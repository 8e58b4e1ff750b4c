"""What every stage is told about the run it works for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from evergreen.interval import Interval
from evergreen.settings import connection_uri

if TYPE_CHECKING:
    from evergreen.handovers.rollout import Act
    from evergreen.spec.dataset import DatasetSpec, Folder
    from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Approval:
    """What was answered when somebody was to allow a version."""

    approved: bool
    by: str | None  # their name; None: nobody answered
    reason: str
    how: Literal["airflow", "command"]  # by the login of Airflow, or by who gave the command that names them
    given_by: str | None = None  # the system's user who gave the command


@dataclass(frozen=True)
class _Run:
    """One run of one loop over one interval, of a dataset (`DatasetRun`) or a model (`Run`).

    Every stage is a plain function `stage(run, …) -> Handover`; `run` is the same for all stages of a DAG run.
    """

    spec: Folder
    interval: Interval
    run_id: str = "local"
    reason: str = "scheduled"  # why it runs: scheduled, backfill, manual, loss, calendar
    decision_id: str | None = None  # the monitor's decision that triggered it
    changed_at: datetime | None = None  # since when the world is different, by that decision
    connections: Callable[[str], str] = field(
        default=connection_uri, compare=False, repr=False
    )  # id of a connection → its URI; LookupError: there is none
    version: int | None = None  # of a rollback: the version that should serve no longer
    act: Act = "observe"  # of a rollout: what is to be done with it
    rollout: str | None = None  # by its id; None: the one that is open
    step: int | None = None  # of the rollout: that is to be left
    dry_run: bool = False  # of a correction: it only says what it would change
    approval: Approval | None = None  # of a training, once a person was asked; None: nobody was yet
    triggered_by: str | None = None  # who started it by hand, as Airflow recorded it; None: nobody, or not known

    @property
    def as_of(self) -> datetime:
        """The moment this run may know about; never the wall clock."""
        return self.interval.as_of

    @property
    def actor(self) -> str:
        """How the ledger names who did it: the person who started the run by hand, and the run."""
        return f"run {self.run_id}" if self.triggered_by is None else f"{self.triggered_by}, run {self.run_id}"

    @property
    def by_hand(self) -> bool:
        """Whether a person started it, and no decision of the monitor's."""
        return self.triggered_by is not None and self.decision_id is None

    @property
    def subject(self) -> str:
        """How messages name the run: dataset or model, and interval."""
        return f"{self.spec.name} {self.interval}"


@dataclass(frozen=True)
class DatasetRun(_Run):
    """A run of a dataset's loop."""

    spec: DatasetSpec


@dataclass(frozen=True)
class Run(_Run):
    """A run of one of a model's loops."""

    spec: ModelSpec


AnyRun = DatasetRun | Run
