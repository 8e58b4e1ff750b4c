"""What happened, read back from the ledger and the lake; never from the driver's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import httpx
import pandas as pd

from evergreen.errors import PermanentError
from evergreen.history import ledger, timeline
from evergreen.history import story as projections
from evergreen.history.events import NotBetter, Promoted
from evergreen.history.story import Entry
from evergreen.lake import tables
from evergreen.lake.schema import LABELS, PREDICTIONS
from evergreen.model import rows as training_rows
from evergreen.model.metrics import Comparison, metric
from evergreen.monitor.live import with_labels
from evergreen.registry import loading, store
from evergreen.registry.rules import Version
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec

_CLOSED = "drift noticed, one retraining, and a better version that serves"


class StoryFailed(PermanentError):
    """The loop did not close as it should have."""


@dataclass(frozen=True)
class Timeline:
    """The story of one model."""

    model: str
    metric: str
    drift: date
    story: Story
    old: Version
    new: Version
    serving: int | None  # the version that the server answers with
    scores: dict[str, float]  # the metric of "old" and "new" on the same matured rows
    comparison: Comparison

    def lines(self) -> Iterator[str]:
        """The story for a reader, in the order of time."""
        yield f"Timeline of {self.model}"
        for _, line in sorted(self._events(), key=lambda event: event[0]):
            yield f"  {line}"
        gain, low, high, rows, entities, *_ = self.comparison
        yield ""
        yield (
            f"On {rows} matured rows of {entities} entities, predicted after {self.new.as_of:%Y-%m-%d}, both on the "
            "same rows:"
        )
        yield f"  version {self.old.number} (before): {self.metric} {self.scores['old']:.4f}"
        yield f"  version {self.new.number} (after):  {self.metric} {self.scores['new']:.4f}"
        yield f"  gain {gain:.4f}, 95 % interval {low:.4f} to {high:.4f}"

    def check(self) -> None:
        """Whether the loop closed.

        Raises:
            StoryFailed: with everything that is not as it should be.
        """
        decisions = projections.decisions(self.story.entries)
        retrains = [d for d in decisions if d.action == "retrain" and d.triggers]
        early = [d for d in decisions if d.action in ("retrain", "wait for labels") and d.end.date() <= self.drift]
        ends = {
            entry.event.decision_id for entry in self.story.entries if isinstance(entry.event, Promoted | NotBetter)
        }
        wrong = [
            *(f"decision {d.decision_id} of {d.start:%Y-%m-%d} acted before the world changed" for d in early),
            *(
                f"decision {d.decision_id} triggered no training that came to its end"
                for d in retrains
                if d.decision_id not in ends
            ),
        ]
        if len(retrains) != 1:
            wrong.append(f"{len(retrains)} retrainings were decided, not one")
        elif self.new.as_of != retrains[0].end:
            wrong.append(f"the champion is as of {self.new.as_of}, the retraining as of {retrains[0].end}")
        if self.serving != self.new.number:
            wrong.append(f"the server answers with version {self.serving}, the champion is {self.new.number}")
        if not self.comparison.low > 0:
            wrong.append(
                f"the new version is not better: interval {self.comparison.low:.4f} to {self.comparison.high:.4f}"
            )
        if wrong:
            raise failed(self.model, "\n    ".join(["", *wrong]))

    def _events(self) -> Iterator[tuple[str, str]]:
        """(sort key, line) of everything that happened."""
        yield f"{self.drift} {0:09}", f"{self.drift}  the world changes"
        yield from self.story.events()


@dataclass(frozen=True)
class Story:
    """What the loops of one model did, as the ledger tells it."""

    entries: list[Entry]

    def events(self) -> Iterator[tuple[str, str]]:
        """(sort key, line) of everything that happened: by the moment that each knew about, then as it was recorded."""
        for entry, line in timeline.lines(self.entries):
            if entry.event.as_of is not None:
                day = f"{entry.event.as_of:%Y-%m-%d}"
                yield f"{day} {entry.number:09}", f"{day}  {line} [{entry.event.actor}]"


def read(spec: ModelSpec, drift: date) -> Timeline:
    """Read a model's story back.

    Raises:
        StoryFailed: there are no two versions to compare, or no matured rows.
    """
    new, old = store.champion(spec.model), store.last_known_good(spec.model)
    if new is None or old is None or new.number == old.number:
        raise failed(spec.model, f"no second version was deployed; decisions: {_actions(spec.model)}")
    rows = _matured_after(spec, new)
    if rows.empty:
        raise failed(spec.model, f"no matured predictions after {new.as_of}")
    inputs, labels = training_rows.inputs(spec.feature_types, rows), rows["label"].to_numpy("int64")
    predictions = {
        name: loading.load(spec.model, version.number).predict(inputs) for name, version in (("new", new), ("old", old))
    }
    judged = metric(spec.problem, spec.search.metric)
    serving = httpx.get(f"{settings().server_url}/models/{spec.model}", timeout=10).json().get("version")
    return Timeline(
        model=spec.model,
        metric=judged.name,
        drift=drift,
        story=story(spec),
        old=old,
        new=new,
        serving=serving,
        scores={name: judged.value(labels, predicted) for name, predicted in predictions.items()},
        comparison=judged.compare(
            labels, predictions["new"], predictions["old"], rows[spec.entity.key].to_numpy(object)
        ),
    )


def story(spec: ModelSpec) -> Story:
    """What the model's loops did."""
    return Story(ledger.entries(spec.model))


def failed(model: str, problem: str, expected: str = _CLOSED) -> StoryFailed:
    """An error that says where to look."""
    return StoryFailed(
        f"closing the loop of {model}",
        found=problem,
        expected=expected,
        next_step="start what the demo left (`make up`) and look at the monitor's and the training's runs in Airflow",
    )


def _matured_after(spec: ModelSpec, champion: Version) -> pd.DataFrame:
    """Logged predictions from after the champion's as_of whose labels are known, with
    `label`; the first of each entity and cutoff."""
    made, known = tables.read(PREDICTIONS.of(spec.model)), tables.read(LABELS.of(spec.model, spec.label.name))
    if made is None or known is None:
        return pd.DataFrame()
    frame = made.to_pandas()
    return with_labels(spec, frame[frame["as_of"] > champion.as_of], known.to_pandas())


def _actions(model: str) -> str:
    decisions = projections.decisions(ledger.entries(model, "decided"))
    return ", ".join(f"{decision.start:%Y-%m-%d} {decision.action}" for decision in decisions) or "none"
