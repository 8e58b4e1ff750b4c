"""What retraining was worth: the served predictions against a model that is never retrained, and one that is refitted
for every interval.

All three are scored on the same rows: the served predictions whose outcome is known, by the features that they were
made from. Refitting is the first version's family and parameters on the training set that the stage `build` makes as of
each interval's beginning, without search: what is learned from is as old as in a training, since the latest rows are
kept for the gates.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evergreen.errors import EvidenceMissing
from evergreen.handovers.train import TrainingSet
from evergreen.interval import Interval
from evergreen.lake.schema import LABELS
from evergreen.loops import inline
from evergreen.spec.columns import AS_OF, LABEL
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from evergreen.families import Parameters
    from evergreen.model.metrics import Comparison

    Floats = npt.NDArray[np.float64]

log = logging.getLogger(__name__)

SERVED, NEVER, REFITTED = "as served", "never retrained", "refitted for every interval"


@dataclass(frozen=True)
class Replayed:
    """The three ways on the same rows."""

    metric: str
    every: str  # length of an interval
    rows: int
    scores: dict[str, float]  # way → the metric
    comparisons: dict[str, Comparison]  # served against each other way, by interval
    versions: dict[int, int]  # predictions by the version that made them

    def lines(self) -> Iterator[str]:
        """For a reader."""
        served = ", ".join(f"{number}: {count:,}" for number, count in sorted(self.versions.items()))
        yield f"{self.rows:,} predictions with a known outcome, by version: {served}"
        for way, score in self.scores.items():
            yield f"  {way:28} {self.metric} {score:.4f}"
        yield from verdicts(self.versions, self.comparisons, self.metric, self.every)


def verdicts(
    versions: Mapping[int, int], comparisons: Mapping[str, Comparison], metric: str, every: str
) -> Iterator[str]:
    """What the served predictions were worth against each other way, for a reader; the arguments as `Replayed` has
    them."""
    if len(versions) == 1:
        yield "One version served throughout: as served and never retrained are the same model."
    for other, (gain, low, high, _, number, *_) in comparisons.items():
        if math.isnan(low) or math.isnan(high):
            yield f"As served against {other}: {metric} {gain:+.4f}; one {every} alone has no interval of confidence"
            continue
        verdict = "better" if low > 0 else "worse" if high < 0 else f"no difference that these {every}s can show"
        yield (
            f"As served against {other}: {metric} {gain:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} over "
            f"{number} {every}s: {verdict}"
        )


def compared(spec: ModelSpec, intervals: Sequence[Interval], first: int) -> Replayed:
    """Read the served predictions of some intervals back, and score the other two ways on their rows.

    Args:
        first: the version that served first.

    Raises:
        EvidenceMissing: no prediction has a known outcome.
    """
    from collections import Counter

    import numpy as np

    from evergreen.lake import tables
    from evergreen.model import rows
    from evergreen.model.metrics import metric
    from evergreen.monitor import live
    from evergreen.registry import loading, records, tracking

    calendar, problem = spec.calendar, spec.problem
    within = [*intervals, calendar.after(intervals[-1])]  # of the last one's end, what is asked then
    made = live.read(spec, [each.partition for each in within])
    known = tables.read(LABELS.of(spec.model, spec.label.name))
    frame = None if made is None or known is None else live.with_labels(spec, made, known.to_pandas())
    if frame is None or frame.empty:
        raise EvidenceMissing(
            f"comparing what was served of {spec.model}",
            found="no prediction with a known outcome",
            expected="outcomes of the intervals that were replayed",
            next_step="replay more intervals: an outcome is known a horizon after its prediction",
        )
    frame = frame.sort_values([AS_OF, *spec.entity.columns], ignore_index=True)
    names = np.array([calendar.interval_of(moment.to_pydatetime()).partition for moment in frame[AS_OF]], object)
    inputs = rows.inputs(spec.feature_types, frame)
    run_id = records.version(spec.model, first).run_id
    family = records.candidate(run_id).family
    ways = {
        SERVED: problem.of_columns(frame),
        NEVER: loading.load(spec.model, first).predict(inputs),
        REFITTED: refitted(spec, family, tracking.hyperparameters(run_id, family), frame[AS_OF], inputs),
    }
    there = np.all([np.isfinite(each.reshape(len(frame), -1)).all(axis=1) for each in ways.values()], axis=0)
    labels, judged = problem.labels(frame[LABEL])[there], metric(problem, spec.search.metric)
    weights = rows.weights(spec, frame[there])
    scored = {way: each[there] for way, each in ways.items()}
    return Replayed(
        judged.name,
        calendar.every,
        int(there.sum()),
        {way: judged.value(labels, each, weights) for way, each in scored.items()},
        {
            way: judged.compare(labels, scored[SERVED], scored[way], names[there], weights=weights)
            for way in (NEVER, REFITTED)
        },
        dict(Counter(frame["version"][there].tolist())),
    )


def refitted(
    spec: ModelSpec, family: str, parameters: Parameters, moments: pd.Series[pd.Timestamp], inputs: pd.DataFrame
) -> Floats:
    """Each interval's rows, predicted by the family fitted on what a training as the interval began would learn from;
    NaN where that were too few rows.

    Args:
        moments: of the predictions; `inputs` has their rows.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from threadpoolctl import threadpool_limits

    from evergreen.model import families, rows

    begun = moments.map(lambda moment: spec.calendar.newest_complete(moment.to_pydatetime()))

    def learned() -> Iterator[tuple[Interval, rows.Rows]]:
        for before in sorted(set(begun)):
            try:
                built = inline.run(inline.of(spec, before), "train", last="build")["build"]
            except EvidenceMissing as error:
                log.info("%s: not refitted: %s", before.partition, error.found)
                continue
            assert isinstance(built, TrainingSet)
            yield before, rows.read(spec, built, "learn")

    def predicted(of: tuple[Interval, rows.Rows]) -> tuple[npt.NDArray[np.bool_], Floats]:
        before, learn = of
        fitted = families.fitted(
            spec, family, parameters, learn.inputs, learn.labels, learn.weights, seed=spec.search.seed
        )
        at = (begun == before).to_numpy()
        return at, rows.predict(fitted, inputs[at])

    # Keras' seed is the process's: two networks at once would not be the same each time.
    with threadpool_limits(1), ThreadPoolExecutor(1 if family == "mlp" else 2) as pool:
        parts = list(pool.map(predicted, learned()))
    predictions: Floats = np.full((len(inputs), *(parts[0][1].shape[1:] if parts else ())), np.nan)
    for at, values in parts:
        predictions[at] = values
    return predictions
