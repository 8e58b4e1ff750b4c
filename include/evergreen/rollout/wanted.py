"""Which versions of a model serve, in what roles, and which of them answers an entity: the same on every replica. Pure.

Whoever serves a model follows this, and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b

from evergreen.history.rollouts import Beside
from evergreen.history.story import Standing
from evergreen.spec.keyed import Key

_ALL = 2**64
_text = json.JSONEncoder(separators=(",", ":")).encode  # made once: a request waits for it


@dataclass(frozen=True)
class Second:
    """The version that is served beside the champion."""

    version: int
    role: Beside
    share: int  # per cent of the entities that it answers; of a shadow 0
    rollout: str  # its id, by which entities are dealt out


@dataclass(frozen=True)
class Wanted:
    """What is to be served of a model."""

    champion: int | None  # what stands for it where a person took it out of the line; None: there never was one
    beside: Second | None = None  # only beside a champion

    def answering(self, key: Key) -> int | None:
        """The version that answers an entity."""
        if self.beside is not None and chosen(self.beside.rollout, key, self.beside.share):
            return self.beside.version
        return self.champion


def wanted(now: Standing) -> Wanted:
    """What is to be served where a model stands: a rollback that was intended is carried out."""
    now = now.to_serve
    if now.champion is None:
        return Wanted(now.last_known_good if now.last_known_good is not None else now.retired_champion)
    if now.rollout is None:
        return Wanted(now.champion)
    step = now.rollout.step
    return Wanted(now.champion, Second(now.rollout.version, step.role, step.share, now.rollout.id))


def chosen(rollout: str, key: Key, share: int) -> bool:
    """Whether an entity is among so many per cent. Who is, still is when the share grows; another rollout deals anew.

    By the texts alone: neither the process, nor the machine, nor the order of requests says anything.
    """
    return _place(rollout, key) * 100 < share * _ALL


def _place(rollout: str, key: Key) -> int:
    """From 0 to 2**64, evenly. An integer and the text of its digits are two entities."""
    return int.from_bytes(blake2b(_text([rollout, key]).encode(), digest_size=8).digest())
