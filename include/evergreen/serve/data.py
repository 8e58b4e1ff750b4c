"""What the server tells Prometheus of a model's data: read from the catalogue now and then, by a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from evergreen.errors import EvergreenError
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.status import facts
from evergreen.status.rules import State

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
READ_EVERY = 10  # looks between two readings of the folders


@dataclass(frozen=True)
class Standing:
    """How the loops of a model and of its datasets stand, and its features."""

    intervals: Mapping[tuple[str, str], Mapping[State, int]]  # dataset or model, loop → state → intervals
    views: Mapping[str, facts.View]
    skewed: float | None  # of the newest window's answers by the most skewed feature, a share; None: none was monitored


class Data:
    """The last look at each model's data; thread-safe. What cannot be looked at keeps its last look: ages grow on."""

    def __init__(self, models: Callable[[], Iterable[str]]) -> None:
        self._models = models
        self._stopped = threading.Event()
        self._looks = 0
        self._specs: dict[str, ModelSpec] = {}
        self.standings: Mapping[str, Standing] = MappingProxyType({})

    def start(self) -> None:
        """Look now and then, until `stop`."""
        threading.Thread(target=self._watch, name="data of the models", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Look at the data of every model."""
        if self._looks % READ_EVERY == 0:
            self._specs.clear()
        self._looks += 1
        standings, datasets = dict(self.standings), _Datasets(datetime.now(UTC))
        for model in self._models():
            try:
                if model not in self._specs:
                    self._specs[model] = load_spec(settings().models / model, settings().data)
                standings[model] = _standing(self._specs[model], datasets)
            except EvergreenError as error:  # its folder is wrong, or Postgres is away: others tell of it
                log.debug("%s", error)
            except Exception:  # whatever it is, the looking goes on
                log.exception("looking at the data of %s", model)
        self.standings = MappingProxyType(standings)


class _Datasets:
    """One look at the datasets: at each once, whoever uses it."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._looked_at: dict[str, tuple[facts.Worked, Mapping[str, facts.View]]] = {}

    def of(self, spec: DatasetSpec) -> tuple[facts.Worked, Mapping[str, facts.View]]:
        """How the intervals of a dataset stand, and how old its views are."""
        if spec.name not in self._looked_at:
            self._looked_at[spec.name] = facts.ingested(spec, self.now), facts.views(spec)
        return self._looked_at[spec.name]


def _standing(spec: ModelSpec, datasets: _Datasets) -> Standing:
    looks = {name: datasets.of(dataset) for name, dataset in spec.datasets.items()}
    worked = {(name, "ingest"): stand for name, (stand, _) in looks.items()}
    worked[spec.name, "monitor"] = facts.monitored(spec, datasets.now)
    intervals = {loop: {state: len(each) for state, each in stand.intervals.items()} for loop, stand in worked.items()}
    views = {view: looks[spec.dataset_of(view)][1][view] for view in spec.features}
    return Standing(intervals, views, facts.skewed(spec))
