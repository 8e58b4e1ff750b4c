"""A champion in a real registry, live predictions in the real log, and labels in the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evergreen.handovers.monitor import Collected, Decided, Drift, Performance, Quality, Reported
from evergreen.handovers.train import SoundTrainingSet
from evergreen.lake import catalogue, partitions, schema
from evergreen.lake.schema import LABELS
from evergreen.loops import inline
from evergreen.model.rows import inputs
from evergreen.monitor import stages
from evergreen.registry import artifacts, loading, records
from evergreen.run import Run
from evergreen.serve.predictions import Prediction, PredictionLog
from evergreen.settings import Settings, settings
from evergreen.spec.schema import ModelSpec
from tests.components.evaluate.conftest import Contest
from tests.components.train.conftest import CUSTOMERS, DAYS, at, rows_of, run_as_of, spec_in, training_set
from tests.components.train.history import FEATURES

__all__ = ["training_set"]
# Sections of a spec that few customers can meet.
WATCHED: Mapping[str, Any] = {
    "split": {"window": "18d", "evaluation": "1d", "minimum_rows": 100, "folds": 2},
    "gates": {"minimum_rows": 50, "minimum_positives": 10, "floor": {"roc_auc": 0.5}},
}
CHANGE = Callable[[pd.DataFrame], pd.DataFrame]
HORIZON = timedelta(days=2)
TIMESTAMP = pa.timestamp("us", "UTC")
LABEL_COLUMNS = pa.schema(
    [("customer_id", pa.string()), ("left", pa.int64()), ("event_timestamp", TIMESTAMP), ("known_at", TIMESTAMP)]
)


def drifted(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(minutes=frame["minutes"] + 20)


def without_minutes(frame: pd.DataFrame) -> pd.DataFrame:
    """A sensor that stopped: and what it also changes, so that drift alone would be believed."""
    return drifted(frame).assign(minutes=np.nan, sessions=frame["sessions"] + 20)


@dataclass(frozen=True)
class Watched:
    """What the monitor made of one window."""

    collected: Collected
    quality: Quality
    drift: Drift
    performance: Performance
    decided: Decided
    reported: Reported | None = None


@dataclass
class Live:
    """A model that serves: what it answered on a day, and what the monitor makes of it."""

    contest: Contest
    log: PredictionLog
    customers: int = CUSTOMERS

    @property
    def spec(self) -> ModelSpec:
        return self.contest.spec

    def requests(self, day: int, change: CHANGE = lambda frame: frame) -> pd.DataFrame:
        """The rows of all customers at the start of a day, with their later outcome."""
        return change(rows_of(range(day - 1, day), self.customers, seed=day))

    def serve(
        self,
        day: int,
        change: CHANGE = lambda frame: frame,
        *,
        version: int = 1,
        only: int | None = None,
        hour: int = 9,
    ) -> None:
        """Answer for every customer (or the first few) on a day, as the server does; waits until it is committed."""
        frame = self.requests(day, change).head(only or 10**6)
        taken = loading.spec(self.spec.model, records.version(self.spec.model, version)).feature_types
        answers = loading.load(self.spec.model, version).predict(inputs(taken, frame))
        features = frame[list(taken)].astype(object).where(frame[list(taken)].notna(), None)
        rows = [
            Prediction(
                self.spec.model,
                version,
                f"{self.spec.model}-{day}-{version}-{hour}",
                position,
                frame["customer_id"].iloc[position],
                at(day - 1) + timedelta(hours=hour),
                at(day - 1),
                features.iloc[position].to_dict(),
                float(answers[position]),
            )
            for position in range(len(frame))
        ]
        self.log.append(rows).result(timeout=30)

    def label(self, day: int, change: CHANGE = lambda frame: frame) -> None:
        """Publish the outcomes of the predictions of a day, known a horizon later."""
        frame = self.requests(day, change)[["customer_id", "event_timestamp", "left"]]
        table = pa.Table.from_pandas(
            frame.assign(known_at=frame["event_timestamp"] + HORIZON), LABEL_COLUMNS, preserve_index=False
        )
        partition = (at(day - 1) - timedelta(days=1)).date().isoformat()
        known = at(day - 1) + HORIZON
        catalogue.record(partitions.replace(LABELS.of(self.spec.model, "left").at(partition), table, known_at=known))

    def features(self, day: int, change: CHANGE = lambda frame: frame) -> None:
        """Publish the features that the predictions of a day are made from."""
        frame = self.requests(day, change)
        frame = frame.assign(sessions=frame["sessions"].astype("int64"), known_at=frame["event_timestamp"])
        table = pa.Table.from_pandas(frame[FEATURES.names], FEATURES, preserve_index=False)
        partition = (at(day - 1) - timedelta(days=1)).date().isoformat()
        of = schema.FEATURES.of(self.spec.model, "activity").at(partition)
        catalogue.record(partitions.replace(of, table, known_at=at(day - 1)))

    def run(self, day: int) -> Run:
        return run_as_of(self.spec, day)

    def watch(self, day: int, *, drawn: bool = True) -> Watched:
        """Run the monitoring loop over a day's window, up to its decision.

        Args:
            drawn: and the pages, which take some seconds, and decide nothing.
        """
        results: dict[str, Any] = inline.run(self.run(day), "monitor", last="decide")
        *found, decided = (results[name] for name in ("collect", "quality", "drift", "performance", "decide"))
        reported = stages.report(self.run(day), *found, results["compare"], decided) if drawn else None
        return Watched(*found, decided, reported)


def lost_in_mlflow(patch: pytest.MonkeyPatch, live: Live, version: int) -> None:
    """Whoever asks MLflow for a file of a version gets nothing from now on."""
    real, gone = artifacts.download, records.version(live.spec.model, version).run_id

    def download(run_id: str, *rest: Any, **more: Any) -> bytes:
        return b"" if run_id == gone else real(run_id, *rest, **more)

    patch.setattr(artifacts, "download", download)


def first_champion(contest: Contest) -> None:
    """As of the end of day 19."""
    run = run_as_of(contest.spec)
    data = contest.data(run, rows_of(range(DAYS)))
    candidate = contest.candidate(run, data, "logistic_regression")
    contest.judge(run, data, [candidate])
    contest.champion(run, data, candidate)


@pytest.fixture
def live(
    home: Settings,
    mlflow_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training_set: Callable[..., SoundTrainingSet],
) -> Iterator[Live]:
    """A champion as of the end of day 19; traffic starts on day 20."""
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    spec = spec_in(
        tmp_path / "model",
        model=f"w_{home.database_prefix}tiny".replace("__", "_"),
        **WATCHED,
        monitoring={
            "minimum_rows": 20,
            "feature_drift": 0.5,
            "prediction_drift": 0.6,
            "cooldown": "5d",
        },
    )
    contest = Contest(spec, training_set)
    first_champion(contest)
    log = PredictionLog()
    yield Live(contest, log)
    log.close()
