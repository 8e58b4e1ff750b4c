"""How long what is kept is kept: nothing is deleted that a folder does not say."""

from __future__ import annotations

from pydantic import Field

from evergreen.spec.durations import Duration
from evergreen.spec.partial import Declared

Kept = Duration | None


class _Everybody(Declared):
    versions: Kept = Field(
        default=None,
        description=(
            "old versions of its tables that no registered version needs, unless it is retired: after two days at least"
        ),
    )
    reports: Kept = Field(default=None, description="its pages, from when they were written")


class DataRetention(_Everybody):
    """How long the tables of a dataset are kept, counted back from the newest interval; null: for ever. What
    look-backs, windows and the newest interval need is kept none the less."""

    raw: Kept = Field(default=None, description="intervals of the sources' rows")
    quarantine: Kept = Field(default=None, description="intervals of the rows that contracts rejected")
    features: Kept = Field(default=None, description="intervals of the views' features")


class ModelRetention(_Everybody):
    """How long the tables of a model are kept, counted back from the newest interval; null: for ever. What its windows
    and the newest interval need is kept none the less."""

    labels: Kept = Field(default=None, description="intervals of the label's rows")
    predictions: Kept = Field(default=None, description="intervals of the lake's copy of what was predicted")
    candidates: Kept = Field(
        default=None,
        description=(
            "runs in MLflow that became no version, with their files, counted back from the newest training; the "
            "newest one of each family stays"
        ),
    )
    log: Kept = Field(
        default=None, description="days of the prediction log in Postgres, once the monitor has copied them to the lake"
    )


class Retention(ModelRetention, DataRetention):
    """How long what a model that is alone with its data has is kept, counted back from the newest interval; null: for
    ever. What look-backs, windows and the newest interval need is kept none the less."""
