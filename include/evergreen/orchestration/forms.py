"""The forms by which people trigger the loops: per loop its fields, each with what it means."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from evergreen.loops.wire import LoopName
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

_PARAMS: dict[LoopName, dict[str, Param]] = {
    "train": {
        "as_of": Param(
            None,
            type=["null", "string"],
            title="As of",
            description=(
                "The moment the training may know about, as 2026-01-31T00:00:00Z. Empty: the end of the interval that "
                "the logical date begins; where that is now, or empty too, of the newest complete one."
            ),
        ),
        "reason": Param(
            None, type=["null", "string"], title="Reason", description="Why; kept with the version and in the ledger."
        ),
        "decision_id": Param(
            None,
            type=["null", "string"],
            title="Decision",
            description="The monitor's decision; filled by the monitor.",
        ),
        "changed_at": Param(
            None,
            type=["null", "string"],
            title="Changed at",
            description=("Learn only from rows after this moment. Filled by the monitor; empty: all of split.window."),
        ),
    },
    "correct": {
        "reason": Param(
            None,
            type=["null", "string"],
            title="Reason",
            description="Why; needed where it is no dry run, and kept in the history of every model that is touched.",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Only list what would change, in the log of `plan` and in the run's note.",
        ),
    },
    "rollout": {
        "act": Param(
            "observe",
            type="string",
            enum=["observe", "pause", "resume", "advance", "roll_back"],
            title="Act",
            description=(
                "observe: compare, and move by what is told. pause: go no further by itself; what is worse is "
                "withdrawn all the same. resume: go on by itself. advance: to the next step, or from the last one to "
                "all requests, without waiting for evidence. roll_back: withdraw the version for good."
            ),
        ),
        "rollout": Param(
            None,
            type=["null", "string"],
            title="Rollout",
            description="Its id, as rollout/churn/2/1. Needed for every act but observe: it acts on no other one.",
        ),
        "step": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Step",
            description="Of advance: the step that is to be left, from 0. Needed, so that it leaves no other one.",
        ),
        "reason": Param(None, type=["null", "string"], title="Reason", description="Why; kept in the ledger."),
    },
    "rollback": {
        "version": Param(
            type="integer",
            minimum=1,
            title="Version",
            description="The champion that should serve no longer.",
        ),
        "reason": Param(
            type="string", minLength=1, title="Reason", description="Why; kept with the version and in the ledger."
        ),
    },
}


def of(spec: DatasetSpec | ModelSpec, name: LoopName) -> dict[str, Param]:
    """The fields of the form that triggers a run."""
    if name in ("train", "rollback"):
        return _PARAMS[name]
    options: dict[str, Any] = {"format": "date"} if spec.calendar.every in ("day", "week") else {}  # a date picker
    partition = Param(
        None,
        type=["null", "string"],
        title="Partition",
        description=(
            f"The interval to work on: {spec.calendar}. Empty: the one that the logical date begins; where that is "
            "now, or empty too, the newest complete one. Leave it empty in a backfill: its dates say the intervals."
        ),
        **options,
    )
    return {"partition": partition} | _PARAMS.get(name, {})
