"""The churn demo's model, and what is done with it beside the days: a person allows its versions, the version of the
drift retraining goes through shadow and canary by itself, and at the end a version that is worse on purpose is caught
and rolled back."""

from __future__ import annotations

import os
import shutil
from typing import Any

import yaml

from evergreen.history import ledger
from evergreen.history import story as projections
from evergreen.history.rollouts import Rollout, RolloutAdvanced, RolloutEnded
from evergreen.interval import Interval
from evergreen.registry import records, registering, store
from evergreen.registry.tags import Tag
from evergreen.run import Run
from evergreen.serve import opening
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.schema import ModelSpec
from evergreen_demo import timeline
from evergreen_demo.approving import Approver
from evergreen_demo.driver import Demo

MODEL = "churn"
APPROVER = "anna"
# A customer base of 1,000 is asked about once per day: half of it gives more answers than this in one day.
CANARY = {"strategy": "canary", "shares": [50], "minimum_answers": 200}
# A retraining waits for the labels of days from after the change, to learn from and to evaluate on: of the days that
# the story takes, these are the ones that nothing happens on.
SHORTER = {"evaluation": "3d", "minimum_rows": 2500}
_WHY = "the last act: the first version again, which passed its gates before the world changed"


def declare(here: Settings) -> None:
    """The model's folder, with a rollout in steps, of the tier high and evaluated on a day less: the one that the stack
    is started with.

    What ships is `direct` and `low`: a rollout needs days of traffic, and an approval a login beside `admin`, which
    who tries the model by hand has not made yet.
    """
    folder = here.home / "include" / "models" / MODEL
    shutil.copytree(PROJECT / "include" / "models" / MODEL, folder)
    shutil.copytree(PROJECT / "include" / "data" / MODEL, here.home / "include" / "data" / MODEL)
    file = folder / "model.yaml"
    shipped = yaml.safe_load(file.read_text())
    told = {
        "rollout": CANARY,
        "risk": shipped["risk"] | {"tier": "high", "approvers": [APPROVER]},
        "split": shipped["split"] | SHORTER,
    }
    file.write_text(yaml.safe_dump(shipped | told, sort_keys=False))
    os.environ["EVERGREEN_MODELS"] = str(folder.parent)
    os.environ["EVERGREEN_AIRFLOW_USERS"] = ",".join(dict.fromkeys([*here.airflow_users, APPROVER]))
    settings.cache_clear()


class Rolling(Demo):
    """Beside the monitor, each day the loop of the rollout that is open; and then the last act, once."""

    worse: int | None = None  # the version of the last act, once it is opened

    @property
    def over(self) -> bool:
        """After the last act."""
        return self.worse is not None and ledger.standing(MODEL).rollout is None

    def trained(self, run: dict[str, Any]) -> None:
        approver = Approver(self.here, APPROVER)

        def look() -> None:
            if (reason := approver.look(run)) is not None:
                self.clock.say(f"{APPROVER} allows it: {reason}")

        self.runs.wait(run, meanwhile=look)

    def watch(self, interval: Interval) -> None:
        super().watch(interval)
        now = ledger.standing(MODEL)
        if now.rollout is not None:
            self._look(now.rollout, interval)
            now = ledger.standing(MODEL)
        if now.rollout is None and now.champion not in (None, 1) and self.worse is None:
            self.worse = open_worse(self.spec, interval)
            self.clock.say(f"{interval.partition} version {self.worse} is opened, worse on purpose")

    def _look(self, rollout: Rollout, interval: Interval) -> None:
        """The run of a day that moves the rollout, or lets it stay."""
        loop, day = f"{MODEL}__rollout", interval.partition
        self.runs.wait(self.runs.trigger(loop, f"live__{day}", conf={"partition": day}))
        after = ledger.standing(MODEL).rollout
        if after is None or after.number != rollout.number:
            does = "ended" if after is None else f"step {after.number + 1} of {len(after.opened.steps)}"
            self.clock.say(f"{day} rollout of version {rollout.version}: {does}")


def open_worse(spec: ModelSpec, interval: Interval) -> int:
    """Register the first version's candidate once more, and open its rollout; its number. That its gates compared it
    with the champion of now is untrue: they would refuse it."""
    model, first = spec.model, records.version(spec.model, 1)
    run = Run(spec, interval, run_id=f"last_act__{interval.partition}", reason=_WHY)
    with store.locked(model):
        champion = store.champion(model)
        tags: dict[str, str] = {Tag.FAMILY: first.family, Tag.REASON: _WHY}
        version = store.register(model, run_id=first.run_id, key=f"{first.key}-again", as_of=run.as_of, tags=tags)
        registering.record(run, version)
        opening.opened(run, version, champion, None if champion is None else champion.number)
    return version.number


def check(told: timeline.Timeline) -> None:
    """Whether the loop closed, step by step, each version allowed, and the worse one was caught.

    Raises:
        StoryFailed: with what is not as it should be.
    """
    told.check()
    wrong = [
        f"version {number} was not allowed by {APPROVER}"
        for number in (told.old.number, told.new.number)
        if _approver(told.story, number) != APPROVER
    ]
    moves = [entry.event for entry in told.story.entries]
    ends = {event.version: event for event in moves if isinstance(event, RolloutEnded)}
    shares = [event.share for event in moves if isinstance(event, RolloutAdvanced) and event.version == told.new.number]
    worse = [event for event in ends.values() if event.outcome == "rolled back"]
    if told.new.number not in ends or shares != CANARY["shares"]:
        wrong.append(f"version {told.new.number} went through the shares {shares}, not {CANARY['shares']}")
    if len(worse) != 1 or worse[0].version <= told.new.number or worse[0].observed is None:
        wrong.append(
            f"rolled back by what was compared: {[each.version for each in worse] or 'none'}, not the worse one"
        )
    if wrong:
        raise timeline.failed(MODEL, "\n    ".join(["", *wrong]))


def _approver(told: timeline.Story, number: int) -> str | None:
    """Who allowed a version."""
    run_id = projections.judged_run(told.entries, number)
    approval = None if run_id is None else projections.approval(told.entries, run_id)
    return approval.by if approval is not None and approval.approved else None
