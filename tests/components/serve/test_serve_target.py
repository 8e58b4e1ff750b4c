"""Evergreen's own replicas pass the suite of every serving target, and the ledger's rules hold for each step."""

from __future__ import annotations

import pytest

from evergreen.errors import StepRefused
from evergreen.history import ledger
from evergreen.history.events import GateVerdict
from evergreen.registry import records
from evergreen.spec.rollout import CanaryRollout
from evergreen.targets.protocol import Packaged, Target
from evergreen.targets.replicas import Replicas
from evergreen.targets.rules import Placed
from tests.components.targets.conformance import Conformance, Versions

from .conftest import ServedModel
from .rolling import judged

DAYS = {1: 3, 2: 5, 3: 7}  # of training, by version


def packed(served: ServedModel, number: int, verdict: GateVerdict = "pass") -> Packaged:
    """A version whose gates compared it with the champion of when it was registered."""
    if number not in records.numbers().get(served.name, set()):
        made = served.registered(DAYS[number])
        assert made.version == number
        judged(served, number, ledger.standing(served.name).champion, verdict)
    return Packaged(served.name, number)


class TestSuite(Conformance):
    first, shrinks = 5, False

    @pytest.fixture
    def target(self, served: ServedModel) -> Target:
        return Replicas(served.run(9), CanaryRollout(strategy="canary", shares=(5, 50)))

    @pytest.fixture
    def packaged(self, served: ServedModel) -> Versions:
        return lambda number: packed(served, number)

    def test_the_ledgers_rules_hold(self, target: Target, served: ServedModel) -> None:
        with pytest.raises(StepRefused, match="gates that it did not pass: floor"):
            target.put(packed(served, 1, "no evidence"), "champion")
        assert target.serving() == {}
        target.put(packed(served, 2), "champion")
        with pytest.raises(StepRefused, match="did not pass its gates"):
            target.put(packed(served, 3, "fail"), "challenger")
        assert target.serving() == {2: Placed("champion", 100)}
