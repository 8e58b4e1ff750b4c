"""One model's place in the server: which version answers there, in what role, which one is beside it, and what is wrong
with them. Each is replaced in one assignment, so that no request ever waits or fails for a swap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evergreen.errors import EvergreenError, ServiceUnavailable
from evergreen.features.online_rows import Rows
from evergreen.history.story import Standing
from evergreen.registry import records
from evergreen.registry.artifacts import HURRIED, PATIENT, Patience
from evergreen.rollout.wanted import Wanted, wanted
from evergreen.serve.beside import Beside
from evergreen.serve.kept import COPIES_ALONE, Files, Kept
from evergreen.serve.loaded import Loaded, load
from evergreen.serve.replicas import Loading, State
from evergreen.serve.saying import in_full, ours, unfinished

log = logging.getLogger(__name__)

Role = Literal["champion", "last known good", "retired"]

RELOAD_SECONDS = 30.0  # until a champion that cannot be served is tried again


@dataclass(frozen=True)
class _Prepared:
    """What came of loading the version of an intent, or of a rollout."""

    of: str  # id of the one or the other
    version: int
    state: State
    reason: str | None = None


@dataclass
class Slot:
    """One model's place in the server."""

    model: str
    kept: Kept | None = None  # copies of what it serves; None: nothing is kept
    rows: Rows | None = None  # reads the online store for every version; None: each by itself
    current: Loaded | None = None
    role: Role | None = None  # of the version that serves, by the ledger
    beside: Beside | None = None  # the version of an open rollout, once it is loaded
    standing: Standing | None = None  # where the ledger says that the model stands; None: it was not read yet
    settled: bool = False  # the version to start with was looked for
    looked: bool = False  # what serves was compared with the ledger and MLflow, since the server's start
    failures: int = 0  # to load a version
    _swapping: threading.Lock = field(default_factory=threading.Lock)
    _preparing: threading.Lock = field(default_factory=threading.Lock)
    _beside: dict[int, Loaded] = field(default_factory=dict)  # what may serve next
    _prepared: tuple[_Prepared, ...] = ()
    _withdrawn: str | None = None  # the rollout whose version a guard of this server took out
    _no_copy: int | None = None  # the last known good version, where the disk has no copy of it
    _problems: dict[str, str] = field(default_factory=dict)  # by what they are about
    _disagreements: tuple[str, ...] = ()
    _tried: float = -RELOAD_SECONDS  # when the version that should serve was last looked for
    _tried_for: int | None = None  # which one that was

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
    def tables(self) -> set[str]:
        """Feast's names of the views that the version reads which serves."""
        return set() if self.current is None else set(self.current.online.tables)

    @property
    def all_tables(self) -> set[str]:
        """The same of those too that may serve next, or stand beside it."""
        return self.tables | {table for loaded in [*self._beside.values()] for table in loaded.online.tables}

    @property
    def missing(self) -> bool:
        """It should serve and does not: its first version was not looked for yet, or nothing could be loaded."""
        unloaded = any(about.startswith("load ") for about in self._problems)
        return not self.settled or (self.current is None and unloaded)

    @property
    def fallback(self) -> bool:
        """The last known good version serves, since the champion cannot."""
        return self.role == "last known good"

    @property
    def waits(self) -> bool:
        """A version that is to be prepared could not be loaded, and may be in a while."""
        return any(prepared.state == "waits" for prepared in self._prepared)

    def said(self, replica: str) -> Iterator[Loading]:
        """What a replica says of each version that it has, or could not load."""
        number, role, beside = self.number, self.role, self.beside
        of = {each.version: each.of for each in self._prepared}
        told = set[int]()
        if number is not None:
            told.add(number)
            yield Loading(replica, self.model, number, role, "serves", None, of.get(number))
        if beside is not None and beside.version not in told:
            told.add(beside.version)
            second, its = beside.second, of.get(beside.version)
            yield Loading(replica, self.model, beside.version, second.role, "serves", None, its, share=second.share)
        for each in self._prepared:
            if each.version not in told:
                told.add(each.version)
                yield Loading(replica, self.model, each.version, None, each.state, each.reason, each.of)
        for about, what in self._problems.items():
            failed = int(about.removeprefix("load ")) if about.startswith("load ") else None
            if failed is not None and failed not in told:
                yield Loading(replica, self.model, failed, None, "failed", what, None)

    def put(self, number: int) -> None:
        """Load a version completely, let it answer once, then serve it, whatever the ledger says: to probe it.

        Raises:
            EvidenceMissing, ArtifactUntrusted, ModelUnloadable, ServiceUnavailable: the
            version cannot be had; nothing changed.
        """
        with self._swapping:
            self._serve(number, Files(self.kept))
            self.role, self.settled = "champion", True
            self._loaded()

    def try_again(self) -> None:
        """What could not be loaded is tried at once, and not in a while."""
        self._tried = -RELOAD_SECONDS
        self._prepared = tuple(each for each in self._prepared if each.state != "failed")

    def withdraw(self, rollout: str) -> None:
        """Ask the version of a rollout nothing more, whatever the ledger says."""
        self._withdrawn = rollout
        beside = self.beside
        if beside is not None and beside.second.rollout == rollout:
            self.beside = None

    def prepare(self) -> None:
        """Load the version of an intent beside the one that serves, and that of an open rollout; from its copy on disk
        also the last known good one, so that a rollback waits for nothing. It may take minutes, and holds no swap up.
        """
        with self._preparing:
            standing = self.standing
            if standing is None:
                return
            intent, second = standing.pending, wanted(standing).beside
            done = {each.of: each for each in self._prepared if each.state != "waits"}
            prepared = []
            if second is not None:
                prepared.append(done.get(second.rollout) or self._load_for(second.rollout, second.version, "rollout"))
            if intent is not None:
                prepared.append(done.get(intent.id) or self._load_for(intent.id, intent.version, intent.purpose))
            self._prepared = tuple(prepared)
            self._have_good(standing.last_known_good)

    def follow(self, patience: Patience = PATIENT, silence: EvergreenError | None = None) -> EvergreenError | None:
        """Serve what the ledger wants: the champion, else the last known good version, where the former cannot be
        loaded; the last champion that was retired, while there is no other.

        Args:
            silence: of MLflow, when another model found it silent: it is not asked again.

        Returns:
            The silence of MLflow, if this model found it or was told of it.
        """
        with self._swapping:
            if self.standing is None:
                return silence
            now, whole = self.standing.to_serve, wanted(self.standing)
            target = whole.champion
            self._leave(now, target)
            if target is None or self.number == target:
                self.settled = True
                self._take_role(now)
            elif not self.settled or target in self._beside or self._may_try(target):
                silence, waits = self._start(now, patience, silence)
                if patience == PATIENT or silence is None:
                    self._tried, self._tried_for = time.monotonic(), target
                self.settled = self.settled or waits is None
                self._tell("start", None if waits is None else f"the registry does not answer: {waits.found}")
            pending, second = self.standing.pending, whole.beside
            useful = {now.last_known_good, pending and pending.version, second and second.version} - {self.number}
            self._beside = {number: loaded for number, loaded in self._beside.items() if number in useful}
            self._stand_beside(whole)
            return silence

    def _stand_beside(self, whole: Wanted) -> None:
        """Let the version of an open rollout be asked beside the champion that it is compared with."""
        second, beside = whole.beside, None
        if second is not None and second.rollout != self._withdrawn and self.number == whole.champion:
            loaded, champion = self._beside.get(second.version), self.current
            beside = Beside(second, loaded, champion) if loaded is not None and champion is not None else None
        before = None if self.beside is None else self.beside.second
        self.beside = beside
        if beside is not None and beside.second.rollout == self._withdrawn:
            self.beside = None  # a guard was faster
        if (after := None if beside is None else beside.second) != before:
            what = "no other" if after is None else f"version {after.version} ({after.role}, {after.share} %)"
            log.info("%s: beside version %s stands %s", self.model, self.number, what)

    def _may_try(self, target: int) -> bool:
        """Whether a version is looked for now that should serve and is not in memory."""
        pending = self.standing.pending if self.standing is not None else None
        if pending is not None and pending.purpose == "rollback" and pending.version == target:
            return False  # `prepare` does
        lately = time.monotonic() - self._tried < RELOAD_SECONDS
        return not (lately and self._tried_for == target)

    def _leave(self, now: Standing, target: int | None) -> None:
        """A version that was rolled back from answers no more, also where the one in its place has yet to be loaded:
        other replicas have it."""
        number, good = self.number, (target, now.last_known_good, now.retired_champion)
        if number is None or number in good or number not in now.rolled_back | now.retired or target in self._beside:
            return
        log.warning("%s: version %d answers no more: it was rolled back from or retired", self.model, number)
        self.current = self.role = None

    def _take_role(self, now: Standing) -> None:
        if self.current is None:
            return
        if self.number == now.champion:
            if self.role != "champion":
                self._loaded()
            self.role = "champion"
            self._loaded(besides=(now.champion, now.last_known_good))
        elif self.number == now.last_known_good:
            self.role = "last known good"
        else:
            self.role = "retired"

    def _load_for(self, of: str, number: int, purpose: str) -> _Prepared:
        if number == self.number or number in self._beside:
            return _Prepared(of, number, "loaded")
        # Whoever rolls back waits for it, and the copy on disk is the same.
        files = Files(self.kept, patience=HURRIED if purpose == "rollback" else PATIENT)
        try:
            loaded = load(self.model, number, files, self.rows)
        except ServiceUnavailable as error:
            log.warning("%s: version %d waits: %s", self.model, number, error.found)
            return _Prepared(of, number, "waits", f"{error.doing}: {error.found}")
        except Exception as error:  # noqa: BLE001  whatever it is, whoever deploys hears of it
            self.failures += 1
            log.error("%s: version %d could not be loaded: %s", self.model, number, error)
            return _Prepared(of, number, "failed", in_full(error))
        with self._swapping:
            self._keep(loaded, files)
            self._beside = {**self._beside, number: loaded}
        log.info("%s: version %d is loaded, for a %s", self.model, number, purpose)
        return _Prepared(of, number, "loaded")

    def _have_good(self, number: int | None) -> None:
        if number in (None, self.number, self._no_copy, *self._beside) or self.kept is None:
            return
        assert number is not None
        try:
            loaded = load(self.model, number, Files(self.kept, COPIES_ALONE), self.rows)
            with self._swapping:
                self._beside = {**self._beside, number: loaded}
        except Exception as error:  # noqa: BLE001  whatever it is: a rollback loads it from MLflow, and says what is wrong
            self._no_copy = number
            log.info("%s: version %d, the last known good one, is not in memory: %s", self.model, number, error)

    def look(self, disagreements: Sequence[str], standing: Standing, compared: int | None) -> None:
        """Say what the ledger and MLflow have of the version that serves. Nobody deploys at this moment.

        Args:
            compared: the version that served when they were asked; of one that came since they say nothing.
        """
        with self._swapping:
            number = self.number
            if number != compared:
                return
            retired = number is not None and number == standing.retired_champion
            self._tell(
                "server",
                f"version {number} serves, which was retired: there is no champion until a training promotes one"
                if retired
                else None,
            )
            self._tell("intent", unfinished(standing))
            self._disagreements = tuple(disagreements)
            self.looked = True

    def tell_silence(self, error: EvergreenError | None) -> None:
        """Say that Postgres or MLflow does not, and so nobody can say what should serve; None: both do again."""
        self._tell("silence", None if error is None else f"no answer while {error.doing}: {error.found}")

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
                    failed.setdefault(number, ours(self.model, number, error))
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
            before = self.current
            if number in self._beside:
                self.current = self._beside[number]
            else:
                self.current = self._load(number, files, again=again)
            if before is not None:
                self._beside = {**self._beside, before.version.number: before}  # `follow` forgets what is not wanted
            log.info("%s: version %d serves", self.model, number)

    def _load(self, number: int, files: Files, *, again: bool) -> Loaded:
        try:
            loaded = load(self.model, number, files, self.rows)
        except Exception as error:
            waits = isinstance(error, ServiceUnavailable) and not self.settled  # for what it loads from
            if not again and not waits:
                self.failures += 1
                self._tell(f"load {number}", f"version {number} could not be loaded: {in_full(error)}")
                log.error("%s: version %d could not be loaded: %s", self.model, number, error)
            raise
        self._keep(loaded, files)
        return loaded

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
