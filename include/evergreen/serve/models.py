"""What the server serves: one version a model, replaced in one assignment, so that no request ever waits or fails for a swap."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel

from evergreen.errors import EvergreenError, ModelUnloadable, ServiceUnavailable
from evergreen.registry import store
from evergreen.registry.rules import Version
from evergreen.serve.messages import request_type
from evergreen.spec.schema import ModelSpec
from evergreen.train.rows import inputs

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # until the registry is asked again, while it does not answer at the server's start


@dataclass(frozen=True)
class Loaded:
    """A version in memory that has answered once."""

    spec: ModelSpec  # the one that it was trained with: the model's folder may have moved on
    version: Version
    predictor: store.Predictor
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def predict(self, features: Sequence[dict[str, Any]]) -> npt.NDArray[np.float64]:
        """P(positive), or the number, of each row of features."""
        frame = pd.DataFrame.from_records(list(features), columns=list(self.spec.feature_types))
        return self.predictor.predict(inputs(self.spec.feature_types, frame))

    @cached_property
    def categories(self) -> Mapping[str, frozenset[str]]:
        """The values of each category that the version was trained with."""
        return self.predictor.categories()

    @cached_property
    def request_type(self) -> type[BaseModel]:
        """What a request to this version looks like."""
        return request_type(self.spec)


@dataclass
class Slot:
    """One model's place in the server."""

    model: str
    current: Loaded | None = None
    settled: bool = False  # the version to start with was looked for
    fallback: bool = False  # the last known good version serves, since the champion could not be loaded
    problem: str | None = None  # the last load that failed, until one succeeds
    failures: int = 0
    deploying: threading.Lock = field(default_factory=threading.Lock)

    def put(self, number: int) -> None:
        """Load a version completely, let it answer once, then serve it. What served before serves on until then, or after a failure.

        Raises:
            EvidenceMissing, ModelUnloadable, ServiceUnavailable: the version cannot be had; nothing changed.
        """
        with self.deploying:
            self._serve(number)
            self.settled, self.fallback, self.problem = True, False, None

    def start(self) -> bool:
        """Serve the champion, else the last known good version; False when the registry does not answer."""
        try:
            with self.deploying:
                if not self.settled:  # else a deployment was faster
                    self._start()
                self.settled = True
        except ServiceUnavailable as error:
            self.problem = f"the registry does not answer: {error.found}"
            return False
        return True

    def _start(self) -> None:
        for role, wanted in (("champion", store.champion), ("last known good version", store.last_known_good)):
            try:
                found = wanted(self.model)
                if found is not None:
                    self._serve(found.number)
                    self.fallback = role != "champion"
                    self.problem = self.problem if self.fallback else None
                    return
            except ServiceUnavailable:
                raise
            except Exception as error:  # whatever it is, it must hold no other model up
                self.problem = self.problem or f"the {role} cannot be served: {error}"
                log.exception("%s: the %s cannot be served", self.model, role)

    def _serve(self, number: int) -> None:
        if self.current is None or self.current.version.number != number:
            try:
                self.current = load(self.model, number)
            except EvergreenError as error:
                self.failures += 1
                self.problem = f"version {number} could not be loaded: {error.found}"
                raise
        log.info("%s: version %d serves", self.model, number)


def load(model: str, number: int) -> Loaded:
    """A version that has answered once: a row in which nothing is known, which every version must take."""
    version = store.version(model, number)
    loaded = Loaded(store.spec(model, version), version, store.load(model, number))
    try:
        answer = loaded.predict([dict.fromkeys(loaded.spec.feature_types)])
    except Exception as error:  # whatever a model raises that does not fit the spec
        raise _unfit(loaded, f"{type(error).__name__}: {error}") from error
    good = (answer >= 0.0) & (answer <= 1.0) if loaded.spec.label.type == "binary" else np.isfinite(answer)
    if answer.shape != (1,) or not good.all():
        raise _unfit(loaded, f"the answer {answer!r}")
    return loaded


def _unfit(loaded: Loaded, found: str) -> ModelUnloadable:
    return ModelUnloadable(
        f"letting version {loaded.version.number} of {loaded.spec.model} answer once",
        found=found, expected=f"a {'probability' if loaded.spec.label.type == 'binary' else 'number'} from the features {', '.join(loaded.spec.feature_types)}",
        next_step="see the version in MLflow, then train again",
    )  # fmt: skip


class Models:
    """Every model of the server, by name."""

    def __init__(self, names: Iterable[str]) -> None:
        self.slots = {name: Slot(name) for name in names}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Put every model's first version in its place; waits for a registry that does not answer yet, until `stop`."""
        open_slots = self.all()
        while not self._stopped.is_set():
            open_slots = [slot for slot in open_slots if not slot.start()]
            if not open_slots:
                return
            self._stopped.wait(RETRY_SECONDS)

    def stop(self) -> None:
        """End `start`, where it still waits."""
        self._stopped.set()

    def add(self, model: str) -> Slot:
        """The place of a model, also of one that is new since the server's start: it has no version to start with."""
        return self.slots.setdefault(model, Slot(model, settled=True))

    def missing(self) -> list[str]:
        """Models that should serve and do not: not looked for yet, or with nothing that could be loaded."""
        return [slot.model for slot in self.all() if not slot.settled or (slot.current is None and slot.problem)]

    def ready(self) -> bool:
        """Every model's first version was looked for, and one that cannot be served leaves others that are."""
        slots = self.all()
        return all(slot.settled for slot in slots) and (
            not self.missing() or any(slot.current is not None for slot in slots)
        )

    def all(self) -> list[Slot]:
        """Every place, as of now: a deployment may add one meanwhile."""
        return list(self.slots.values())
