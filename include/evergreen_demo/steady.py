"""A story in which the champion stays: what the monitor said of it, read back from the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import httpx

from evergreen.history import story as projections
from evergreen.registry import store
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from evergreen_demo.timeline import Story, failed, story

_EXPECTED = "the first version serves to the end, and nothing was retrained"


@dataclass(frozen=True)
class Steady:
    """The story of one model to which something happens that no retraining mends."""

    model: str
    since: date  # the first day on which the world, or what arrives of it, is different
    incident: bool  # whether data went wrong, of which the owner must hear
    story: Story
    champion: int | None
    serving: int | None  # the version that the server answers with

    def lines(self) -> Iterator[str]:
        """The story for a reader, in the order of time."""
        yield f"Timeline of {self.model}"
        told = [(f"{self.since} {0:09}", f"{self.since}  something changes"), *self.story.events()]
        yield from (f"  {line}" for _, line in sorted(told, key=lambda event: event[0]))

    def check(self) -> None:
        """Whether the monitor kept its head.

        Raises:
            StoryFailed: with everything that is not as it should be.
        """
        decisions = projections.decisions(self.story.entries)
        acted = [each for each in decisions if each.action in ("retrain", "wait for labels")]
        wrong = [f"decision {each.decision_id} of {each.start:%Y-%m-%d}: {each.action}" for each in acted]
        incidents = [each for each in decisions if each.incident]
        if self.incident and not incidents:
            wrong.append("no data incident was seen")
        wrong += [
            f"decision {each.decision_id} of {each.start:%Y-%m-%d} took the data for wrong: {each.reason}"
            for each in incidents
            if not self.incident or each.start.date() < self.since
        ]
        if not decisions:
            wrong.append("nothing was decided")
        if self.champion != 1 or self.serving != 1:
            wrong.append(f"the champion is version {self.champion}, the server answers with version {self.serving}")
        if wrong:
            raise failed(self.model, "\n    ".join(["", *wrong]), _EXPECTED)


def read(spec: ModelSpec, since: date, *, incident: bool) -> Steady:
    """Read a model's story back."""
    champion = store.champion(spec.model)
    serving = httpx.get(f"{settings().server_url}/models/{spec.model}", timeout=10).json().get("version")
    return Steady(spec.model, since, incident, story(spec), None if champion is None else champion.number, serving)
