"""What every event of a model's life has. Pure."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Recorded(BaseModel):
    """What stands in the ledger, an event or a part of one: it is read as it was written, or not at all."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Happened(Recorded):
    """What every event has."""

    id: str  # the same occurrence has the same id: it is recorded once
    model: str
    as_of: datetime | None  # what the event's run or version knew about; never the wall clock
    actor: str  # who: a person, a run, or a part of Evergreen
    reason: str
    taken_over: bool = False  # from where a release before kept it: its table `audit`, or the lake
