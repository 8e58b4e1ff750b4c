"""What the server serves: one version per model, replaced in one assignment, so that no
request ever waits or fails for a swap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel

from evergreen.errors import EvergreenError, ModelUnloadable, ServiceUnavailable
from evergreen.history import ledger
from evergreen.history.story import Standing
from evergreen.model.rows import inputs
from evergreen.registry import loading, promotion, records, rules, store
from evergreen.registry.artifacts import HURRIED, PATIENT, Patience
from evergreen.registry.rules import Version
from evergreen.serve.kept import Files, Kept
from evergreen.serve.messages import request_type
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

Role = Literal["champion", "last known good", "unpromoted", "retired"]

RETRY_SECONDS = 2.0  # until Postgres and MLflow are asked again, while a model's first version cannot be looked for
LOOK_SECONDS = 10.0  # between two looks at what the ledger and MLflow say of what serves
RELOAD_SECONDS = 30.0  # until a champion that cannot be served is tried again


@dataclass(frozen=True)
class Loaded:
    """A version in memory that has answered once."""

    spec: ModelSpec  # the one that it was trained with: the model's folder may have moved on
    version: Version
    predictor: loading.Predictor
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def predict(self, features: Sequence[dict[str, Any]]) -> npt.NDArray[np.float64]:
        """A prediction for each row of features, as `spec.problem` describes them."""
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
    kept: Kept | None = None  # copies of what it serves; None: nothing is kept
    current: Loaded | None = None
    role: Role | None = None  # of the version that serves, by the ledger
    settled: bool = False  # the version to start with was looked for
    failures: int = 0  # to load a version
    deploying: threading.Lock = field(default_factory=threading.Lock)
    _problems: dict[str, str] = field(default_factory=dict)  # by what they are about
    _tried: float = -RELOAD_SECONDS  # when the champion was last looked for

    @property
    def problem(self) -> str | None:
        """Everything that is wrong with what serves; None when nothing is."""
        return "; ".join(self._problems.values()) or None

    @property
    def number(self) -> int | None:
        """The version that serves."""
        return None if self.current is None else self.current.version.number

    @property
    def missing(self) -> bool:
        """It should serve and does not: its first version was not looked for yet, or nothing could be loaded."""
        unloaded = any(about.startswith("load ") for about in self._problems)
        return not self.settled or (self.current is None and unloaded)

    @property
    def fallback(self) -> bool:
        """The last known good version serves, since the champion cannot."""
        return self.role == "last known good"

    def put(self, number: int) -> None:
        """Load a version completely, let it answer once, then serve it. What served before
        serves on until then, or after a failure.

        Raises:
            EvidenceMissing, ArtifactUntrusted, ModelUnloadable, ServiceUnavailable: the
            version cannot be had; nothing changed.
        """
        with self.deploying:
            self._serve(number, Files(self.kept))
            self.role = "champion"  # whoever deploys it promotes it next; `look` says when nobody did
            self.settled = True
            self._loaded()

    def start(
        self, standing: Standing, patience: Patience = PATIENT, silence: EvergreenError | None = None
    ) -> EvergreenError | None:
        """Serve the champion, else the last known good version, where there is none or only the latter yet; the last
        champion that was retired, while there is no other.

        Args:
            silence: of MLflow, when another model found it silent: it is not asked again.

        Returns:
            The silence of MLflow, if this model found it or was told of it.
        """
        with self.deploying:
            right = self.current is not None and not self.fallback
            if self.settled and (right or standing.champion is None or self._tried_lately()):
                return silence
            silence, waits = self._start(standing, patience, silence)
            if patience == PATIENT or silence is None:
                self._tried = time.monotonic()
            self.settled = self.settled or waits is None
            self._tell("start", None if waits is None else f"the registry does not answer: {waits.found}")
            return silence

    def look(self, disagreements: Sequence[str], standing: Standing, compared: int | None) -> None:
        """Say what the ledger and MLflow have of the version that serves. Nobody deploys at this moment.

        Args:
            compared: the version that served when they were asked; of one that was deployed since they say nothing.
        """
        with self.deploying:
            number, by_hand = self.number, None
            if number != compared:
                return
            if number is not None and number == standing.champion:
                if self.fallback:  # it was rolled back to, elsewhere
                    self._loaded()
                self.role = "champion"
                self._loaded(besides=(standing.champion, standing.last_known_good))
            elif number is not None and number == standing.retired_champion:
                self.role = "retired"
                by_hand = (
                    f"version {number} serves, which was retired: there is no champion until a training promotes one"
                )
            elif number is not None and not self.fallback:
                self.role = "unpromoted"
                champion = "no version is" if standing.champion is None else f"version {standing.champion} is"
                by_hand = (
                    f"version {number} serves, and by the ledger {champion} the champion: was it deployed by hand?"
                    f" `evergreen rollback {self.model}`, or clear `deploy` of the champion's training"
                )
            self._tell("server", by_hand)
            self._tell("intent", _unfinished(standing))
            self._tell("registry", "; ".join(disagreements) or None)

    def tell_silence(self, error: EvergreenError | None) -> None:
        """Say that Postgres or MLflow does not, and so nobody can say what should serve; None: both do again."""
        self._tell("silence", None if error is None else f"no answer while {error.doing}: {error.found}")

    def _tried_lately(self) -> bool:
        return time.monotonic() - self._tried < RELOAD_SECONDS

    def _start(
        self, standing: Standing, patience: Patience, silence: EvergreenError | None
    ) -> tuple[EvergreenError | None, EvergreenError | None]:
        """MLflow's silence, and what it waits for with nothing to serve."""
        roles: tuple[tuple[Role, int | None], ...] = (
            ("champion", standing.champion),
            ("last known good", standing.last_known_good),
            ("retired", standing.retired_champion),
        )
        failed: dict[int, EvergreenError] = {}
        # The champion's own copy comes after another version's file: an old version that is
        # told of is noticed, and a file to be mended.
        for _ in ("MLflow", "disk"):
            for role, number in roles:
                if number is None or (role == "last known good" and number == standing.champion):
                    continue
                files = Files(self.kept, failed.get(number) or silence, patience)
                try:
                    self._serve(number, files, again=number in failed)
                except Exception as error:  # whatever it is, it must hold no other model up
                    if not isinstance(error, EvergreenError):
                        log.exception("%s: the %s, version %d, cannot be served", self.model, role, number)
                    failed.setdefault(number, _ours(self.model, number, error))
                    continue
                finally:
                    if isinstance(files.refused, ServiceUnavailable):
                        silence = files.refused
                self.role = role
                if silence is not None:
                    self.tell_silence(silence)
                elif role == "champion" and files.refused is None:
                    self._loaded()
                return silence, None
        return silence, next((missed for missed in failed.values() if isinstance(missed, ServiceUnavailable)), None)

    def _serve(self, number: int, files: Files, *, again: bool = False) -> None:
        if self.current is None or self.current.version.number != number:
            try:
                loaded = load(self.model, number, files)
            except Exception as error:
                waits = isinstance(error, ServiceUnavailable) and not self.settled  # for what it loads from
                if not again and not waits:
                    self.failures += 1
                    self._tell(f"load {number}", f"version {number} could not be loaded: {_in_full(error)}")
                    log.error("%s: version %d could not be loaded: %s", self.model, number, error)
                raise
            self._keep(loaded, files)
            self.current = loaded
        log.info("%s: version %d serves", self.model, number)

    def _keep(self, loaded: Loaded, files: Files) -> None:
        if self.kept is None or files.refused is not None:
            return
        try:
            self.kept.keep(records.candidate(loaded.version.run_id), files.found)
        except OSError as error:  # it serves without, but not after a restart without MLflow
            log.warning("%s: version %d could not be kept on disk: %s", self.model, loaded.version.number, error)
            self._tell("copy", f"version {loaded.version.number} could not be kept on the server's disk: {error}")
        else:
            self._tell("copy", None)

    def _loaded(self, besides: Iterable[int | None] = ()) -> None:
        """What could not be loaded before is over, but for these versions."""
        lasting = {f"load {number}" for number in besides}
        for about in self._problems:
            if about.startswith("load ") and about not in lasting:
                self._tell(about, None)

    def _tell(self, about: str, what: str | None) -> None:
        # Replaced, not changed: requests read it meanwhile.
        others = {name: text for name, text in self._problems.items() if name != about}
        self._problems = others if what is None else {**others, about: what}


def load(model: str, number: int, read: loading.Read) -> Loaded:
    """A version that has answered once: a row in which nothing is known, which every version must take."""
    version = records.version(model, number)
    loaded = Loaded(loading.spec(model, version, read), version, loading.load(model, number, read))
    try:
        answer = loaded.predict([dict.fromkeys(loaded.spec.feature_types)])
    except Exception as error:  # whatever a model raises that does not fit the spec
        raise _unfit(loaded, f"{type(error).__name__}: {error}") from error
    if not loaded.spec.problem.is_answer(answer, rows=1):
        raise _unfit(loaded, f"the answer {answer!r}")
    return loaded


def _unfinished(standing: Standing) -> str | None:
    """What somebody began, recorded, and did not end."""
    intent = standing.pending
    if intent is None:
        return None
    way_out = (
        "run it again"
        if intent.purpose == "rollback"
        else "clear `deploy` of that run to go on, or roll back, which ends it"
    )
    return f"{intent.actor} began a {intent.purpose} to version {intent.version}, and did not end it: {way_out}"


def _in_full(error: Exception) -> str:
    """An error in a line, with what is to be done."""
    if not isinstance(error, EvergreenError):
        return f"{type(error).__name__}: {error}"
    return f"{error.doing}: found {error.found}; expected {error.expected}. {error.next_step}"


def _ours(model: str, number: int, error: Exception) -> EvergreenError:
    if isinstance(error, EvergreenError):
        return error
    return ModelUnloadable(
        f"loading version {number} of {model}",
        found=f"{type(error).__name__}: {error}",
        expected="a version that loads",
        next_step="see the server's log",
    )


def _unfit(loaded: Loaded, found: str) -> ModelUnloadable:
    return ModelUnloadable(
        f"letting version {loaded.version.number} of {loaded.spec.model} answer once",
        found=found,
        expected=f"{loaded.spec.problem.answered} from the features {', '.join(loaded.spec.feature_types)}",
        next_step="see the version in MLflow, then train again",
    )


class Models:
    """Every model of the server, by name."""

    def __init__(self, names: Iterable[str], kept: Kept | None = None) -> None:
        self._kept = kept
        self.slots = {name: Slot(name, kept) for name in names}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Put every model's first version in its place, then look at what should serve and what does, until `stop`."""
        while not self._stopped.is_set():
            try:
                self._start()
                self._look()
            except Exception:  # whatever it is, the looking goes on
                log.exception("looking at what should serve")
            waiting = any(not slot.settled for slot in self.all())
            self._stopped.wait(RETRY_SECONDS if waiting else LOOK_SECONDS)

    def stop(self) -> None:
        """End `start`."""
        self._stopped.set()

    def _start(self) -> None:
        try:
            standings = ledger.standings()
        except EvergreenError as error:
            for slot in self.all():
                slot.tell_silence(error)
            return
        # First what can serve at once: a registry that is slow with one model must
        # not hold up another, whose copy is here.
        for patience in (HURRIED, PATIENT):
            silence: EvergreenError | None = None
            for slot in self.all():
                if patience == PATIENT or not slot.settled:
                    silence = slot.start(standings.get(slot.model, Standing()).to_serve, patience, silence)

    def _look(self) -> None:
        """All models are compared at once, which is cheap; one that something is
        wrong with, again while nobody deploys it."""
        serving = {slot.model: slot.number for slot in self.all()}
        try:
            standings = ledger.standings()
            if self._finish(standings):
                standings = ledger.standings()
            recorded, registered = records.numbers(), store.registered()
        except EvergreenError as error:
            log.warning("%s", error)
            for slot in self.all():
                slot.tell_silence(error)
            return
        for slot in self.all():
            slot.tell_silence(None)
            model, standing, number = slot.model, standings.get(slot.model, Standing()), serving.get(slot.model)
            found = rules.disagreements(model, standing, registered.get(model), recorded.get(model, ()))
            if found or standing.pending or number not in (None, standing.champion):
                try:
                    with store.locked_at_once(model) as alone:
                        if alone:  # else somebody registers or deploys, which may take minutes: the next look will see
                            number = slot.number
                            slot.look(store.disagreements(model), ledger.standing(model), number)
                except EvergreenError as error:
                    slot.tell_silence(error)
            else:
                slot.look([], standing, number)

    def _finish(self, standings: Mapping[str, Standing]) -> bool:
        """Record what a killed process did not, of versions that it meant to serve and that
        serve, whether MLflow is there or not; whether there was such a version."""
        recorded = False
        for slot in self.all():
            pending = standings.get(slot.model, Standing()).pending
            if pending is None or pending.version != slot.number:
                continue
            with store.locked_at_once(slot.model) as alone:  # else its process lives, and records it itself
                pending = ledger.standing(slot.model).pending if alone else None
                if pending is not None and pending.version == slot.number:
                    promotion.complete(pending)
                    recorded = True
                    log.warning(
                        "%s: recorded the %s of version %d that %s began",
                        slot.model,
                        pending.purpose,
                        pending.version,
                        pending.actor,
                    )
        return recorded

    def add(self, model: str) -> Slot:
        """The place of a model, also of one that is new since the server's start: it has no version to start with."""
        return self.slots.setdefault(model, Slot(model, self._kept, settled=True))

    def missing(self) -> list[str]:
        """Models that should serve and do not: not looked for yet, or with nothing that could be loaded."""
        return [slot.model for slot in self.all() if slot.missing]

    def problems(self) -> dict[str, str]:
        """What is wrong, by model."""
        return {slot.model: slot.problem for slot in self.all() if slot.problem}

    def ready(self) -> bool:
        """Every model's first version was looked for, and one that cannot be served leaves others that are."""
        slots = self.all()
        return all(slot.settled for slot in slots) and (
            not self.missing() or any(slot.current is not None for slot in slots)
        )

    def all(self) -> list[Slot]:
        """Every place, as of now: a deployment may add one meanwhile."""
        return list(self.slots.values())
