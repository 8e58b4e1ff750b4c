"""The churn demo: a simulated business to which something happens. Where its world changes it is told until the
retrained model serves and is shown to be better, and a worse one was caught; where nothing is lost, or data goes wrong,
the champion stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Literal

from evergreen.spec.schema import ModelSpec
from evergreen_demo import rolling, steady, timeline
from evergreen_demo.driver import Span, telling
from evergreen_simulator import landing, scenarios, traffic
from evergreen_simulator.delivery import World
from evergreen_simulator.replay import Replay

Scenario = Literal["drift", "harmless", "outage"]


@dataclass(frozen=True)
class Story:
    """What happens in the simulated world, and when."""

    seed: int
    customers: int = 1000
    first: date = date(2026, 1, 8)
    history_end: date = date(2026, 2, 19)  # last day that is backfilled before the first training
    drift: date = date(2026, 2, 20)  # the world changes: covariates and concept together, or as the scenario says
    end: date = date(2026, 3, 29)  # last day of live traffic, if the story is not over before
    scenario: Scenario = "drift"

    @property
    def span(self) -> Span:
        return Span(self.first, self.history_end, self.end)


def story_of(seed: int, scenario: Scenario) -> Story:
    """The story of a scenario; where nothing is to be done, four weeks show it, after two calm days."""
    story = Story(seed, scenario=scenario)
    return story if scenario == "drift" else replace(story, drift=date(2026, 2, 22), end=date(2026, 3, 20))


@dataclass(frozen=True)
class Business:
    """The simulated business as a demo's world."""

    world: World

    def write(self, first: date, last: date, zone: str) -> Iterator[date]:
        return landing.write_days(self.world, first, last, zone)

    def ask(self, day: date, server_url: str) -> Replay:
        return traffic.replay_day(self.world, day, server_url)


def business(story: Story) -> Business:
    """The world of a story."""
    told = {
        "drift": scenarios.story,
        "harmless": scenarios.harmless,
        "outage": scenarios.outage,
    }[story.scenario]
    return Business(World(story.seed, story.customers, told(story.drift)))


def run(story: Story) -> None:
    """Tell a story from an empty home.

    Raises:
        DemoRefused: the home holds something else than a demo.
        StoryFailed: the loop did not close, or retrained where nothing was to be gained.
    """
    with telling(
        landing.MODEL, business(story), story.span, asdict(story), kind=rolling.Rolling, prepare=rolling.declare
    ) as demo:
        demo.play()
        with demo.clock.phase("reading the timeline back"):
            outcome = _read(demo.spec, story)
        print("\n" + "\n".join(outcome.lines()) + "\n")
    if isinstance(outcome, timeline.Timeline):
        rolling.check(outcome)
    else:
        outcome.check()


def _read(spec: ModelSpec, story: Story) -> timeline.Timeline | steady.Steady:
    """What happened."""
    if story.scenario == "drift":
        return timeline.read(spec, story.drift)
    return steady.read(spec, story.drift, incident=story.scenario == "outage")
