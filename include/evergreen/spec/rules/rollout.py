"""What a rollout in steps needs: a server that can take them, and time enough."""

from __future__ import annotations

from evergreen.spec.durations import duration_text
from evergreen.spec.rollout import CanaryRollout, DirectRollout
from evergreen.spec.rules.wording import Mistakes, mistake
from evergreen.spec.schema import ModelSpec


def _taken_by_the_server(spec: ModelSpec) -> Mistakes:
    # To be deleted with the first server that answers by two versions: until then a rollout in steps would be open for
    # ever, or be one at once, which is what its owner does not want.
    if not isinstance(spec.rollout, DirectRollout):
        found = f"{spec.rollout.strategy}, and the model server of this release answers by one version of a model"
        yield mistake("rollout.strategy", found, "direct", "write strategy: direct")


def _long_enough(spec: ModelSpec) -> Mistakes:
    rollout = spec.rollout
    if isinstance(rollout, DirectRollout):
        return
    steps = rollout.shadow + len(rollout.shares) if isinstance(rollout, CanaryRollout) else 1
    least = steps * rollout.hold
    if rollout.at_most <= least:
        allowed = f"more than {duration_text(least)}: {steps} step(s) of {duration_text(rollout.hold)} at least"
        yield mistake("rollout.at_most", duration_text(rollout.at_most), allowed, "write more, or a shorter hold")


OF_SPEC = (_taken_by_the_server, _long_enough)
