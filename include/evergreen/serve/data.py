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
        standings = dict(self.standings)
        for model in self._models():
            try:
                if model not in self._specs:
                    self._specs[model] = load_spec(settings().models / model, settings().data)
                standings[model] = _standing(self._specs[model])
            except EvergreenError as error:  # its folder is wrong, or Postgres is away: others tell of it
                log.debug("%s", error)
            except Exception:  # whatever it is, the looking goes on
                log.exception("looking at the data of %s", model)
        self.standings = MappingProxyType(standings)


def _standing(spec: ModelSpec) -> Standing:
    now = datetime.now(UTC)
    worked = {(name, "ingest"): facts.ingested(dataset, now) for name, dataset in spec.datasets.items()}
    worked[spec.name, "monitor"] = facts.monitored(spec, now)
    intervals = {loop: {state: len(each) for state, each in stand.intervals.items()} for loop, stand in worked.items()}
    return Standing(intervals, facts.views(spec))
