"""Which inputs a model leans on, which of them a candidate takes, and why."""

from __future__ import annotations

from evergreen.handovers.handover import Part


class Importance(Part):
    """What is lost by the search metric when the values of an input are in another order."""

    input: str
    """Its name."""
    loss: float | None
    """None: it is not defined."""
    low: float | None
    """The lower end of its interval."""
    high: float | None
    """The upper end."""


class Weighed(Importance):
    """An input that could be taken, by its importance on the time folds beside those that were taken when it was last
    looked at."""

    taken: bool
    """Whether the candidate takes it."""
    reason: str
    """Why it is taken, or is not."""


class Selected(Part):
    """What a selection came to, with the family's default parameters."""

    inputs: tuple[Weighed, ...]
    """All of them, in the spec's order."""
    before: float | None
    """The search metric on the time folds, with all inputs; None: it is not defined."""
    after: float | None
    """The same with those that are taken."""
    reason: str
    """In words."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """The features that are not taken."""
        return tuple(each.input for each in self.inputs if not each.taken)
