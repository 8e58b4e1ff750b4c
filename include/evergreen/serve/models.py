"""All models of the server, and the looking: what should serve by the ledger, what does, and what MLflow shows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping

from evergreen.errors import EvergreenError
from evergreen.features.online_rows import Rows
from evergreen.history import ledger
from evergreen.history.story import Standing
from evergreen.registry import promotion, records, rules, store
from evergreen.registry.artifacts import HURRIED, PATIENT
from evergreen.serve.kept import Kept
from evergreen.serve.slot import Slot
from evergreen.serve.steps import Steps

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # until Postgres and MLflow are asked again, while a model's first version cannot be looked for
LOOK_SECONDS = 10.0  # between two looks at what the ledger and MLflow say of what serves


class Models:
    """Every model of the server, by name."""

    def __init__(self, names: Iterable[str], kept: Kept | None = None) -> None:
        self._kept = kept
        self._rows: Rows | None = None
        self.slots = {name: Slot(name, kept) for name in names}
        self._stopped = threading.Event()
        self._heard = threading.Event()  # the ledger was read once
        self._swaps = Steps("swaps", threads=2)
        self._loads = Steps("loads", threads=4)

    def read_by(self, rows: Rows) -> None:
        """Let every version that is loaded from now on read the online store by that."""
        self._rows = rows
        for slot in self.all():
            slot.rows = rows

    def tables(self, *, all_of_them: bool = False) -> set[str]:
        """Feast's names of the views that the versions which serve read; or also those which may serve next."""
        return {table for slot in self.all() for table in (slot.all_tables if all_of_them else slot.tables)}

    def start(self) -> None:
        """Put every model's first version in its place, then look at what should serve and what does, until `stop`."""
        while not self._stopped.is_set():
            if not self._heard.wait(RETRY_SECONDS):
                continue
            try:
                self._settle()
                self._look()
            except Exception:  # whatever it is, the looking goes on
                log.exception("looking at what should serve")
            waiting = any(not slot.settled for slot in self.all())
            self._stopped.wait(RETRY_SECONDS if waiting else LOOK_SECONDS)

    def stop(self) -> None:
        """End `start`."""
        self._stopped.set()

    def stand(self, standings: Mapping[str, Standing]) -> None:
        """Follow what the ledger says of some models: whatever takes long is done by other threads."""
        for model, standing in standings.items():
            if model in self.slots:
                slot = self.slots[model]
                slot.standing = standing
                self._follow(slot)
        self._heard.set()

    def try_again(self, model: str) -> None:
        """Try at once what could not be loaded of a model."""
        if model in self.slots:
            self.slots[model].try_again()
            self._follow(self.slots[model])

    def go_on(self) -> None:
        """Load what could not be loaded before, and may be now."""
        for slot in self.all():
            if slot.waits:
                self._prepare(slot)

    @property
    def busy(self) -> bool:
        """Something is being loaded or swapped."""
        return self._swaps.busy or self._loads.busy

    def _follow(self, slot: Slot) -> None:
        if slot.settled:  # else `start` looks for its first version
            self._swaps.take(slot.model, slot.follow)
        self._prepare(slot)

    def _prepare(self, slot: Slot) -> None:
        def prepare() -> None:
            slot.prepare()
            if slot.settled:
                self._swaps.take(slot.model, slot.follow)  # what was waited for is there

        self._loads.take(slot.model, prepare)

    def tell_silence(self, error: EvergreenError) -> None:
        """Say of every model that nobody knows what should serve."""
        for slot in self.all():
            slot.tell_silence(error)

    def _settle(self) -> None:
        # First what can serve at once: a registry that is slow with one model must
        # not hold up another, whose copy is here.
        for patience in (HURRIED, PATIENT):
            silence: EvergreenError | None = None
            for slot in self.all():
                if patience == PATIENT or not slot.settled:
                    silence = slot.follow(patience, silence)

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
            self.tell_silence(error)
            return
        for slot in self.all():
            slot.tell_silence(None)
            model, standing, number = slot.model, standings.get(slot.model, Standing()), serving.get(slot.model)
            differences = rules.disagreements(model, standing, registered.get(model), recorded.get(model, ()))
            if differences or standing.pending or number not in (None, standing.champion):
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
        """Record the rollbacks that a killed process did not, whose versions serve, whether MLflow is there or not;
        whether there was one. A promotion that was killed is nobody's but its own retry's."""
        recorded = False
        for slot in self.all():
            pending = standings.get(slot.model, Standing()).pending
            if pending is None or pending.purpose != "rollback" or pending.version != slot.number:
                continue
            with store.locked_at_once(slot.model) as alone:  # else its process lives, and records it itself
                pending = ledger.standing(slot.model).pending if alone else None
                if pending is not None and pending.purpose == "rollback" and pending.version == slot.number:
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

    def add(self, names: Iterable[str]) -> set[str]:
        """Places for models that are new since the server's start; which those are."""
        new = set(names) - set(self.slots)
        for model in new:
            self.slots[model] = Slot(model, self._kept, self._rows, settled=True)
        return new

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
        """Every place, as of now: another model may come meanwhile."""
        return list(self.slots.values())
