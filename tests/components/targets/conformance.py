"""What every serving target does, whatever it is: the suite that each of them passes.

A subclass has the fixtures `target` (a `Target` of a model that serves nothing yet) and `packaged` (a version of it, by
its number), and says which roles the target has.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evergreen.errors import StepRefused
from evergreen.targets.protocol import Packaged, Target
from evergreen.targets.rules import Placed

Versions = Callable[[int], Packaged]
ALONE = Placed("champion", 100)


class Conformance:
    """The suite."""

    shadows = True
    first = 0  # per cent that a challenger has once it is put
    deals = True  # whether it deals out requests; else clients choose whom they ask
    shrinks = True  # whether a challenger's share may become less while it stays

    def routed(self, target: Target, share: int) -> None:
        """Deal out so much to version 2, where the target can."""
        if self.deals:
            target.route({1: 100 - share, 2: share})
            return
        with pytest.raises(StepRefused):
            target.route({1: 100 - share, 2: share})

    def challenged(self, share: int) -> dict[int, Placed]:
        """Version 1, with version 2 as its challenger."""
        share = share if self.deals else 0
        return {1: Placed("champion", 100 - share), 2: Placed("challenger", share)}

    def test_a_first_champion_answers_everybody(self, target: Target, packaged: Versions) -> None:
        assert target.serving() == {}
        target.put(packaged(1), "champion")
        assert target.serving() == {1: ALONE}

    def test_a_challenger_gets_what_it_is_dealt_and_is_promoted(self, target: Target, packaged: Versions) -> None:
        target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        assert target.serving() == self.challenged(self.first)
        for share in (5, 50):
            self.routed(target, share)
            assert target.serving() == self.challenged(share)
        target.put(packaged(2), "champion")
        assert target.serving() == {2: ALONE}

    def test_a_challenger_is_withdrawn_by_its_champion(self, target: Target, packaged: Versions) -> None:
        target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        self.routed(target, 50)
        if self.shrinks:
            target.route({1: 100})
            assert target.serving() == self.challenged(0)
        else:
            with pytest.raises(StepRefused):
                target.route({1: 100})
            assert target.serving() == self.challenged(50)
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
        assert target.serving() == self.challenged(self.first)

    def test_a_step_that_is_taken_again_changes_nothing(self, target: Target, packaged: Versions) -> None:
        for _ in range(2):
            target.put(packaged(1), "champion")
        target.put(packaged(2), "challenger")
        for _ in range(2):
            self.routed(target, 50)
            target.put(packaged(2), "challenger")
        assert target.serving() == self.challenged(50)

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
        self.routed(target, 50)
        target.put(packaged(3), "challenger")
        assert target.serving() == {1: Placed("champion", 100 - self.first), 3: Placed("challenger", self.first)}
