"""The churn demo with a rollout in steps: the drift retraining goes through shadow and canary by itself; then a
version that is worse on purpose is caught and rolled back."""

from __future__ import annotations

import os
import shutil

import yaml

from evergreen.history import events, ledger
from evergreen.history.rollouts import RolloutAdvanced, RolloutEnded
from evergreen.interval import Interval
from evergreen.registry import records, store
from evergreen.registry.tags import Tag
from evergreen.run import Run
from evergreen.serve import opening
from evergreen.settings import PROJECT, Settings, settings
from evergreen_demo import timeline
from evergreen_demo.driver import Demo

MODEL = "churn"
# A customer base of 1,000 is asked about once a day: 250 of them are a quarter's answers of a day.
CANARY = {"strategy": "canary", "shares": [25, 50], "minimum_answers": 200}
_WHY = "the last act: the first version again, which passed its gates before the world changed"


def declare(here: Settings) -> None:
    """The model's folder, with a rollout in steps: the one that the stack is started with."""
    folder = here.home / "include" / "models" / MODEL
    shutil.copytree(PROJECT / "include" / "models" / MODEL, folder)
    shutil.copytree(PROJECT / "include" / "data" / MODEL, here.home / "include" / "data" / MODEL)
    file = folder / "model.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"rollout": CANARY}, sort_keys=False))
    os.environ["EVERGREEN_MODELS"] = str(folder.parent)
    settings.cache_clear()


class Rolling(Demo):
    """Beside the monitor, each day the loop of the rollout that is open; and then the last act, once."""

    opened_worse = False

    def watch(self, interval: Interval) -> None:
        super().watch(interval)
        now = ledger.standing(MODEL)
        if now.rollout is not None:
            loop, day = f"{MODEL}__rollout", interval.partition
            self.runs.wait(self.runs.trigger(loop, f"live__{day}", conf={"partition": day}))
            after = ledger.standing(MODEL).rollout
            if after is None or after.number != now.rollout.number:
                does = "ended" if after is None else f"step {after.number + 1} of {len(after.opened.steps)}"
                self.clock.say(f"{day} rollout of version {now.rollout.version}: {does}")
        elif now.champion not in (None, 1) and not self.opened_worse:
            self.clock.say(f"{interval.partition} version {self._open_worse(interval)} is opened, worse on purpose")
            self.opened_worse = True

    def _open_worse(self, interval: Interval) -> int:
        """Register the first version's candidate once more, and open its rollout; its number. That its gates compared
        it with the champion of now is untrue: they would refuse it."""
        run = Run(self.spec, interval, run_id=f"last_act__{interval.partition}", reason=_WHY)
        first = records.version(MODEL, 1)
        with store.locked(MODEL):
            champion = store.champion(MODEL)
            key = f"{first.key}-again"
            tags: dict[str, str] = {Tag.FAMILY: first.family, Tag.REASON: _WHY}
            version = store.register(MODEL, run_id=first.run_id, key=key, as_of=run.as_of, tags=tags)
            registered = events.Registered(
                id=f"registered/{MODEL}/{version.number}",
                model=MODEL,
                as_of=run.as_of,
                actor=run.actor,
                reason=_WHY,
                version=version.number,
                run_id=version.run_id,
                key=version.key,
                family=version.family,
            )
            ledger.append(registered)
            opening.opened(run, version, champion, None if champion is None else champion.number)
        return version.number


def check(told: timeline.Timeline) -> None:
    """Whether the loop closed, step by step, and the worse version was caught.

    Raises:
        StoryFailed: with what is not as it should be.
    """
    told.check()
    moves = [entry.event for entry in told.story.entries]
    ends = {event.version: event for event in moves if isinstance(event, RolloutEnded)}
    shares = [event.share for event in moves if isinstance(event, RolloutAdvanced) and event.version == told.new.number]
    worse = [event for event in ends.values() if event.outcome == "rolled back"]
    wrong = []
    if told.new.number not in ends or shares != CANARY["shares"]:
        wrong.append(f"version {told.new.number} went through the shares {shares}, not {CANARY['shares']}")
    if len(worse) != 1 or worse[0].version <= told.new.number or worse[0].observed is None:
        wrong.append(
            f"rolled back by what was compared: {[each.version for each in worse] or 'none'}, not the worse one"
        )
    if wrong:
        raise timeline.failed(MODEL, "\n    ".join(["", *wrong]))
