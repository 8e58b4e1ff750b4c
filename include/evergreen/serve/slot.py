"""One model's place in the server: which version answers there, in what role, and what is wrong with it. It is replaced
in one assignment, so that no request ever waits or fails for a swap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evergreen.errors import EvergreenError, ModelUnloadable, ServiceUnavailable
from evergreen.history.story import Standing
from evergreen.registry import records
from evergreen.registry.artifacts import PATIENT, Patience
from evergreen.serve.kept import Files, Kept
from evergreen.serve.loaded import Loaded, load

log = logging.getLogger(__name__)

Role = Literal["champion", "last known good", "unpromoted", "retired"]

RELOAD_SECONDS = 30.0  # until a champion that cannot be served is tried again


@dataclass
class Slot:
    """One model's place in the server."""

    model: str
    kept: Kept | None = None  # copies of what it serves; None: nothing is kept
    current: Loaded | None = None
    role: Role | None = None  # of the version that serves, by the ledger
    settled: bool = False  # the version to start with was looked for
    looked: bool = False  # what serves was compared with the ledger and MLflow, since the server's start
    failures: int = 0  # to load a version
    deploying: threading.Lock = field(default_factory=threading.Lock)
    _problems: dict[str, str] = field(default_factory=dict)  # by what they are about
    _disagreements: tuple[str, ...] = ()
    _tried: float = -RELOAD_SECONDS  # when the champion was last looked for

    @property
    def problem(self) -> str | None:
        """Everything that is wrong with what serves; None when nothing is."""
        return "; ".join(self.problems) or None

    @property
    def problems(self) -> list[str]:
        """The same, one by one; MLflow's differences from the ledger as `store.disagreements` says them."""
        return [*self._problems.values(), *self._disagreements]

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
                by_ledger = "no version is" if standing.champion is None else f"version {standing.champion} is"
                by_hand = (
                    f"version {number} serves, and by the ledger {by_ledger} the champion: was it deployed by hand?"
                    f" `evergreen rollback {self.model}`, or clear `deploy` of the champion's training"
                )
            self._tell("server", by_hand)
            self._tell("intent", _unfinished(standing))
            self._disagreements = tuple(disagreements)
            self.looked = True

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
            self.kept.keep(records.candidate(loaded.version.run_id), files.checked)
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


def _unfinished(standing: Standing) -> str | None:
    """What somebody began, recorded, and did not end."""
    intent = standing.pending
    if intent is None:
        return None
    way_out = (
        "run it again"
        if intent.purpose == "rollback"
        else (
            f"clear `deploy` of that run to go on, or give it up by"
            f" `evergreen retire {intent.model} {intent.version} --reason …`"
        )
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
