"""Copies of what served last, on the server's own disk: it starts from them while MLflow does not answer.

A copy counts as much as MLflow's file: what is read is checked against the digest in Postgres, without which nothing
could be predicted either (features and log are there). So a copy that was changed is refused, and one needs no secret
of its own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from evergreen.errors import EvergreenError, ServiceUnavailable
from evergreen.files import whole, whole_folder
from evergreen.registry import artifacts
from evergreen.registry.records import Candidate

GENERATIONS = 3  # of each model: the version that serves, the one before it, and one that is to be promoted
# MLflow is not asked at all.
COPIES_ALONE = ServiceUnavailable(
    "reading a version's copy",
    found="no copy on this disk",
    expected="a copy of it",
    next_step="nothing: MLflow has it",
)
_HALF_WRITTEN = 3600.0  # seconds after which nobody writes a copy any more: another server of this home may


class Kept:
    """The copies below a folder, which only their owner can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, candidate: Candidate, files: Mapping[str, bytes]) -> None:
        """Keep a candidate's files, whole or not at all, and forget the oldest.

        Raises:
            OSError: they cannot be written.
        """
        place = self._place(candidate)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with whole_folder(place) as partial:
            for name, content in files.items():
                with whole(partial / name, mode=0o600, durable=True) as file:
                    file.write_bytes(content)
        self._forget(place)

    def _forget(self, place: Path) -> None:
        """What is older than the generations that are kept, and what a killed server left half written."""
        ages: dict[Path, float] = {}
        for path in set(place.parent.iterdir()) - {place}:
            with suppress(FileNotFoundError):  # another server of this home has moved or forgotten it
                ages[path] = path.stat().st_mtime
        whole = sorted((path for path in ages if not path.name.startswith(".")), key=ages.__getitem__)
        left = [path for path in ages if path.name.startswith(".") and ages[path] < time.time() - _HALF_WRITTEN]
        for old in [*whole[: -(GENERATIONS - 1)], *left]:
            shutil.rmtree(old, ignore_errors=True)

    def read(self, candidate: Candidate, name: str) -> bytes:
        """A kept file, which is what was recorded.

        Raises:
            FileNotFoundError: there is none.
            ArtifactUntrusted: it was changed.
        """
        path = self._place(candidate) / name
        with path.open("rb") as file:
            content = file.read(candidate.files[name].size + 1)
        return artifacts.check(candidate, name, content, str(path))

    def _place(self, candidate: Candidate) -> Path:
        return self._folder / candidate.model / candidate.run_id


class Files:
    """Where the files of one loading come from: MLflow, or the kept copies as soon as it does not answer. They are
    remembered, to be kept in turn.

    Args:
        refused: why MLflow is not asked at all.
        patience: with MLflow.
    """

    def __init__(
        self, kept: Kept | None, refused: EvergreenError | None = None, patience: artifacts.Patience = artifacts.PATIENT
    ) -> None:
        self._kept = kept
        self._patience = patience
        self.refused = refused
        self.checked: dict[str, bytes] = {}

    def __call__(self, candidate: Candidate, name: str) -> bytes:
        """A checked file; raises as `artifacts.read` does."""
        if name not in self.checked:
            self.checked[name] = self._read(candidate, name)
        return self.checked[name]

    def _read(self, candidate: Candidate, name: str) -> bytes:
        if self.refused is None:
            try:
                return artifacts.read(candidate, name, self._patience)
            except ServiceUnavailable as error:
                self.refused = error
        if self._kept is None:
            raise self.refused
        try:
            return self._kept.read(candidate, name)
        except FileNotFoundError:
            raise self.refused from None
