"""What retraining was worth: the served predictions against a model that is never
retrained and one that is refitted every day.

All three are scored on the same rows: the live predictions whose outcome is known, by the features that they were made
from. A new version takes over in the middle of the day after its training, whenever that ends, as it does in life.
Refitting is the first champion's family and parameters on the training set that the stage `train.build` makes as of
each morning, in this process, without search: what is learned from is as old as in a training, since the latest rows
are kept for the gates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.interval import DAY
from evergreen.lake import tables
from evergreen.lake.schema import LABELS, PREDICTIONS, RAW
from evergreen.loops import replayed
from evergreen.loops.replayed import NEVER, SERVED
from evergreen.model import rows
from evergreen.model.metrics import Comparison, Metric, metric
from evergreen.monitor.live import with_labels
from evergreen.registry import loading, records, tracking
from evergreen.spec.schema import ModelSpec
from evergreen_demo import timeline
from evergreen_demo.driver import Span

Floats = npt.NDArray[np.float64]
DAILY = "refitted every day"


@dataclass(frozen=True)
class Report:
    """The story of a span, and the three ways on the same rows."""

    story: timeline.Story
    ways: pd.DataFrame  # as_of, label, and a column of predictions for each way
    comparisons: dict[str, Comparison]  # the served predictions against each other way, by day
    metric: Metric
    refitted: str  # what is refitted every day
    outcomes: dict[str, int]  # of the flights of the live days
    versions: dict[int, int]  # predictions by the version that made them

    def lines(self) -> Iterator[str]:
        """For a reader."""
        yield "Timeline"
        for _, line in sorted(self.story.events(), key=lambda event: event[0]):
            yield f"  {line}"
        yield ""
        yield "Flights of the live days: " + ", ".join(f"{count:,} {name}" for name, count in self.outcomes.items())
        yield "Live predictions by version: " + ", ".join(
            f"{number}: {count:,}" for number, count in sorted(self.versions.items())
        )
        yield ""
        yield (
            f"{self.metric.name} by week, on the same live predictions with a known outcome ({self.refitted} is what "
            "is refitted)"
        )
        yield f"  {'week of':12}{'rows':>8}{'late':>8}" + "".join(f"{way:>20}" for way in (SERVED, NEVER, DAILY))
        weeks = self.ways.groupby(self.ways["as_of"].dt.tz_localize(None).dt.to_period("W").dt.start_time.dt.date)
        for week, part in [*weeks, ("all", self.ways)]:
            scores = "".join(f"{_score(self.metric, part, way):20.4f}" for way in (SERVED, NEVER, DAILY))
            yield f"  {week!s:12}{len(part):8,}{part['label'].mean():8.1%}{scores}"
        yield ""
        yield from replayed.verdicts(self.versions, self.comparisons, self.metric.name, "day")


def read(spec: ModelSpec, span: Span) -> Report:
    """Read a span back, and score the other two ways on its rows.

    Raises:
        EvidenceMissing: there is no first version.
        StoryFailed: no live prediction has an outcome.
    """
    made, known = tables.read(PREDICTIONS.of(spec.model)), tables.read(LABELS.of(spec.model, spec.label.name))
    first = records.version(spec.model, 1)
    live = pd.DataFrame() if made is None or known is None else with_labels(spec, made.to_pandas(), known.to_pandas())
    if live.empty:
        raise timeline.failed(
            spec.model, "no live prediction with a known outcome", "outcomes to compare the three ways on"
        )
    live = live.sort_values(["as_of", *spec.entity.columns], ignore_index=True)
    inputs = rows.inputs(spec.feature_types, live)
    family = records.candidate(first.run_id).family
    parameters = tracking.hyperparameters(first.run_id, family)
    ways = live[["as_of", "label"]].copy()
    ways[SERVED] = live["prediction"]
    ways[NEVER] = loading.load(spec.model, first.number).predict(inputs)
    ways[DAILY] = replayed.refitted(spec, family, parameters, live["as_of"], inputs)
    days = ways["as_of"].dt.strftime("%Y-%m-%d").to_numpy(object)
    labels, judged = ways["label"].to_numpy("int64"), metric(spec.problem, spec.search.metric)
    comparisons = {
        other: judged.compare(labels, ways[SERVED].to_numpy(), ways[other].to_numpy(), days) for other in (NEVER, DAILY)
    }
    return Report(
        timeline.story(spec),
        ways,
        comparisons,
        judged,
        family,
        _outcomes(spec, span),
        dict(Counter(live["version"].tolist())),
    )


def _outcomes(spec: ModelSpec, span: Span) -> dict[str, int]:
    """How the flights went that were scheduled on the live days; cancelled and diverted ones have no label."""
    departures, reports = (tables.read(RAW.of(spec.model, source)) for source in ("departures", "reports"))
    assert departures is not None and reports is not None
    start = datetime.combine(span.history_end + DAY, datetime.min.time(), UTC)
    keys = list(spec.sources["departures"].keys)
    flights = departures.to_pandas()
    live, statuses = flights[flights["scheduled_at"] >= start], reports.to_pandas()[[*keys, "status"]]
    counts = live.merge(statuses, on=keys, how="left")["status"].fillna("not reported yet").value_counts()
    return {name: int(counts.get(name, 0)) for name in ("landed", "cancelled", "diverted", "not reported yet")}


def _score(judged: Metric, part: pd.DataFrame, way: str) -> float:
    return judged.value(part["label"].to_numpy("int64"), part[way].to_numpy())
