"""How datasets and models stand, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evergreen.errors import TransientError
from evergreen.history import ledger, timeline
from evergreen.history.rollouts import Rollout
from evergreen.monitor import standing
from evergreen.monitor.standing import Watched
from evergreen.quoting import visible
from evergreen.serve import client
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.durations import duration_text
from evergreen.spec.schema import ModelSpec
from evergreen.status import facts, rules

_BEYOND = {
    "answer": "the server's answers name it",
    "nulls": "the server predicts without them",
    "refuse": "the server refuses",
}


@dataclass(frozen=True)
class Serving:
    """What serves."""

    champion: int | None  # by the ledger; None: none
    version: int | None  # what the running server answers with; None: nothing
    unreachable: str | None  # why the server was not asked; None: it was
    problem: str | None  # what it says is wrong
    rollout: Rollout | None = None  # that is open beside the champion

    def line(self) -> str:
        """In words."""
        champion = "no champion yet" if self.champion is None else f"the champion is version {self.champion}"
        if self.unreachable is not None:
            return f"{champion}; the model server does not answer: {self.unreachable}"
        if self.version is None:
            said = f"nothing serves; {champion}"
        elif self.version == self.champion:
            said = f"version {self.version} serves, the champion"
        else:
            said = f"version {self.version} serves; {champion}"
        return said if self.problem is None else f"{said}. {self.problem}"


@dataclass(frozen=True)
class Report:
    """How a dataset, a model, or a model that is alone with its data stands at a moment."""

    name: str
    now: datetime
    serving: Serving | None  # None: of a dataset alone
    uses: tuple[str, ...]  # the datasets of a model that declares none itself
    loops: Mapping[facts.EveryInterval, facts.Worked]
    quarantined: Mapping[str, int]
    views: Mapping[str, facts.View]
    watched: Watched | None = None  # by its monitor; None: a dataset, or no window was decided yet

    def lines(self) -> Iterator[str]:
        """For people."""
        about = "a dataset" if self.serving is None else visible(self.serving.line())
        yield f"{self.name}: {about}"
        if self.serving is not None and self.serving.rollout is not None:
            yield f"  rollout      {timeline.stands(self.serving.rollout)}"
        if self.uses:
            yield f"  data         {', '.join(self.uses)}"
        for loop, worked in self.loops.items():
            yield from self._loop(loop, worked)
        if self.quarantined:
            days = ", ".join(f"{partition} ({rows})" for partition, rows in list(self.quarantined.items())[-10:])
            newest = "; the newest 10" if len(self.quarantined) > 10 else ""
            yield f"  quarantined  {sum(self.quarantined.values())} rows{newest}: {days}"
        for name, view in self.views.items():
            yield f"  features     {name}: {self._view(view)}"
        if self.watched is not None:
            yield from self.watched.lines()

    def _loop(self, loop: str, worked: facts.Worked) -> Iterator[str]:
        total = sum(map(len, worked.intervals.values()))
        done = worked.intervals["done"]
        verb = "published" if loop == "ingest" else "monitored"
        until = f", the newest {done[-1].partition}" if done else ""
        yield f"  {loop:<11}  {len(done)} of {total} intervals {verb}{until}"
        for state in ("waiting", "late", "missing"):
            if intervals := worked.intervals[state]:
                yield f"  {'':<11}  {state}: {rules.text(intervals)} ({len(intervals)})"
        for first, last in rules.stretches(worked.intervals["missing"]):
            yield f"  {'':<11}  to run them: {rules.backfill(self.name, loop, first, last)}"

    def _view(self, view: facts.View) -> str:
        age = view.age(self.now)
        if age is None:
            return "none yet"
        said = f"{rules.age_text(age)} old"
        if view.freshness is None:
            return said
        bound = duration_text(view.freshness.bound)
        if not rules.is_stale(view.freshness, age):
            return f"{said} (at most {bound})"
        return f"{said}, beyond its bound of {bound}: {_BEYOND[view.freshness.beyond]}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        serving = self.serving and {
            "champion": self.serving.champion,
            "version": self.serving.version,
            "problem": self.serving.problem or self.serving.unreachable,
            "rollout": self.serving.rollout and _rollout_as_json(self.serving.rollout),
        }
        return {
            "now": self.now.isoformat(),
            "serving": serving,
            "data": list(self.uses),
            "loops": {
                loop: {state: [each.partition for each in stand] for state, stand in worked.intervals.items()}
                for loop, worked in self.loops.items()
            },
            "quarantined": dict(self.quarantined),
            "features": {name: self._view_as_json(view) for name, view in self.views.items()},
            "monitor": self.watched and self.watched.as_json(),
        }

    def _view_as_json(self, view: facts.View) -> dict[str, Any]:
        age, freshness = view.age(self.now), view.freshness
        return {
            "newest": view.newest and view.newest.partition,
            "age_seconds": None if age is None else int(age.total_seconds()),
            "bound_seconds": None if freshness is None else int(freshness.bound.total_seconds()),
            "stale": rules.is_stale(freshness, age),
        }


def of(dataset: DatasetSpec | None, model: ModelSpec | None, now: datetime) -> Report:
    """How a dataset or a model stands now; both, of a model that is alone with its data."""
    spec = model or dataset
    assert spec is not None
    loops: dict[facts.EveryInterval, facts.Worked] = {}
    if dataset is not None:
        loops["ingest"] = facts.ingested(dataset, now)
    if model is not None:
        loops["monitor"] = facts.monitored(model, now)
    return Report(
        spec.name,
        now,
        None if model is None else _serving(model.name),
        () if model is None else tuple(model.data),
        loops,
        {} if dataset is None else facts.quarantined(dataset),
        facts.views(spec),
        None if model is None else standing.of(model, now),
    )


def _serving(model: str) -> Serving:
    now = ledger.standing(model)
    try:
        return Serving(now.champion, client.serving(model), None, client.problem(model), now.rollout)
    except TransientError as error:
        return Serving(now.champion, None, error.found, None, now.rollout)


def _rollout_as_json(rollout: Rollout) -> dict[str, Any]:
    return {
        "id": rollout.id,
        "version": rollout.version,
        "step": rollout.number,
        "steps": len(rollout.opened.steps),
        "role": rollout.step.role,
        "share": rollout.step.share,
        "since": rollout.since.isoformat(),
        "paused": rollout.paused,
    }
