"""The server's eye on the space that is left: told before it is gone, and predictions
refused before everything else stops."""

from __future__ import annotations

import logging
import threading
import time

from starlette.exceptions import HTTPException

from evergreen.errors import EvergreenError
from evergreen.lake import space
from evergreen.lake.space import Place
from evergreen.serve.admission import after
from evergreen.settings import settings

log = logging.getLogger(__name__)

# A row of the prediction log with its indexes and its share of the write-ahead log:
# 1,750 bytes with 16 features, 2,700 with 25.
ROW_BYTES = 3_000
_LOOK_SECONDS = 1.0  # between two looks at the disks
_ASK_SECONDS = 30.0  # between two questions for the database's size, which reads the size of every file of it
_TELL_SECONDS = 600.0  # until the same is told again
_RETRY_SECONDS = 60  # a client is told to wait


class Space:
    """What is left, looked at in the background; rows that were admitted since count as written. Thread-safe."""

    def __init__(self) -> None:
        self.disks: list[Place] = []
        self.database: Place | None = None
        self._rows = {"disks": 0, "database": 0}  # admitted since the last look at each
        self._measured_at = self._logged_at = -_TELL_SECONDS
        self._before: list[str] = []
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look_on, name="space", daemon=True)

    def start(self) -> None:
        """Look once, then in the background."""
        self._look()
        self._watch.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    @property
    def places(self) -> list[Place]:
        """What is watched, as it was last seen."""
        return [*self.disks, *([self.database] if self.database else ())]

    @property
    def warnings(self) -> list[str]:
        """A line for each place with little space left."""
        return space.warnings(self.places)

    @property
    def exhausted(self) -> bool:
        """Predictions are refused."""
        return any(place.exhausted and place.database for place in self.places)

    def admit(self, rows: int) -> None:
        """Let a request's rows be written.

        Raises:
            HTTPException: 507, the reserve would be touched.
        """
        for kind, watched in (("disks", self.disks), ("database", [self.database] if self.database else [])):
            self._rows[kind] += rows
            for place in watched:
                if place.database and place.free - self._rows[kind] * ROW_BYTES < place.reserve:
                    self._rows[kind] -= rows
                    why = f"no space for the rows of the prediction log: {place}. For the operator: {space.NEXT_STEP}"
                    raise HTTPException(507, why, headers=after(_RETRY_SECONDS))

    def _look_on(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            self._rows["disks"] = 0
            self.disks = space.disks(settings())
            if time.monotonic() - self._measured_at >= _ASK_SECONDS:
                self._measured_at = time.monotonic()
                self._rows["database"] = 0
                self.database = space.database(settings())
            self._tell(self.warnings, [f"{place.name} {place.exhausted}" for place in self.places if place.low])
        except Exception as error:  # whatever it is, the looking goes on; what was seen last still counts
            state = [type(error).__name__]
            if state != self._before and not isinstance(error, (EvergreenError, OSError)):
                log.exception("looking at the space that is left")
            self._tell([f"the space that is left cannot be seen: {error}"], state)

    def _tell(self, lines: list[str], state: list[str]) -> None:
        """Once, and again after a while; `state` is what makes it news, without
        the bytes, which differ at every look."""
        if state != self._before or (lines and time.monotonic() - self._logged_at >= _TELL_SECONDS):
            for line in lines:
                log.warning("%s", line)
            if not lines:
                log.info("there is space again")
            self._before, self._logged_at = state, time.monotonic()
