"""What a rollout in steps needs: time enough."""

from __future__ import annotations

from evergreen.spec.durations import duration_text
from evergreen.spec.rollout import CanaryRollout, DirectRollout
from evergreen.spec.rules.wording import Mistakes, mistake
from evergreen.spec.schema import ModelSpec


def _long_enough(spec: ModelSpec) -> Mistakes:
    rollout = spec.rollout
    if isinstance(rollout, DirectRollout):
        return
    steps = rollout.shadow + len(rollout.shares) if isinstance(rollout, CanaryRollout) else 1
    least = steps * rollout.hold
    if rollout.at_most <= least:
        allowed = f"more than {duration_text(least)}: {steps} step(s) of {duration_text(rollout.hold)} at least"
        yield mistake("rollout.at_most", duration_text(rollout.at_most), allowed, "write more, or a shorter hold")


OF_SPEC = (_long_enough,)
