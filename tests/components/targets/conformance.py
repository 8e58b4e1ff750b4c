"""What every serving target does, whatever it is: the suite that each of them passes.

A subclass has the fixtures `target` (a `Target` of a model that serves nothing yet) and `packaged` (a version of it, by
its number), and says which roles the target has.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evergreen.targets.protocol import Packaged, Target
from evergreen.targets.rules import Placed, StepRefused

Versions = Callable[[int], Packaged]
ALONE = Placed("champion", 100)


class Conformance:
    """The suite."""

    shadows = True

    def test_a_first_champion_answers_everybody(self, target: Target, packaged: Versions) -> None:
        assert target.serving() == {}
        target.put(packaged(1), "champion")
        assert target.serving() == {1: ALONE}

    def test_a_challenger_gets_what_it_is_dealt_and_is_promoted(self, target: Target, packaged: Versions) -> None:
        target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        assert target.serving() == {1: ALONE, 2: Placed("challenger", 0)}
        for share in (5, 50):
            target.route({1: 100 - share, 2: share})
            assert target.serving() == {1: Placed("champion", 100 - share), 2: Placed("challenger", share)}
        target.put(packaged(2), "champion")
        assert target.serving() == {2: ALONE}

    def test_a_challenger_is_withdrawn_by_its_champion(self, target: Target, packaged: Versions) -> None:
        target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        target.route({1: 75, 2: 25})
        target.route({1: 100})
        assert target.serving() == {1: ALONE, 2: Placed("challenger", 0)}
        target.put(packaged(1), "champion")
        assert target.serving() == {1: ALONE}

    def test_a_champion_is_rolled_back_from(self, target: Target, packaged: Versions) -> None:
        for number in (1, 2):
            target.put(packaged(number), "champion")
        assert target.serving() == {2: ALONE}
        target.put(packaged(1), "champion")
        assert target.serving() == {1: ALONE}

    def test_a_shadow_answers_nobody(self, target: Target, packaged: Versions) -> None:
        target.put(packaged(1), "champion")
        if not self.shadows:
            with pytest.raises(StepRefused):
                target.put(packaged(2), "shadow")
            assert target.serving() == {1: ALONE}
            return
        target.put(packaged(2), "shadow")
        assert target.serving() == {1: ALONE, 2: Placed("shadow", 0)}
        with pytest.raises(StepRefused):
            target.route({1: 90, 2: 10})
        target.put(packaged(2), "challenger")
        assert target.serving() == {1: ALONE, 2: Placed("challenger", 0)}

    def test_a_step_that_is_taken_again_changes_nothing(self, target: Target, packaged: Versions) -> None:
        for _ in range(2):
            target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        for _ in range(2):
            target.route({1: 90, 2: 10})
            target.put(packaged(2), "challenger")
        assert target.serving() == {1: Placed("champion", 90), 2: Placed("challenger", 10)}

    def test_a_step_that_is_none_is_refused_and_changes_nothing(self, target: Target, packaged: Versions) -> None:
        with pytest.raises(StepRefused):
            target.put(packaged(1), "challenger")
        assert target.serving() == {}
        target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        before = target.serving()
        for weights in ({1: 90}, {1: 90, 3: 10}, {1: 110, 2: -10}, {}):
            with pytest.raises(StepRefused):
                target.route(weights)
        with pytest.raises(StepRefused):
            target.put(packaged(1), "challenger")
        assert target.serving() == before

    def test_another_challenger_takes_the_place_of_the_first(self, target: Target, packaged: Versions) -> None:
        target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        target.route({1: 90, 2: 10})
        target.put(packaged(3), "challenger")
        assert target.serving() == {1: ALONE, 3: Placed("challenger", 0)}
