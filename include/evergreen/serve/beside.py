"""The version beside a model's champion, while its rollout is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from evergreen.rollout.wanted import Second, chosen
from evergreen.serve.answering import Asked
from evergreen.serve.loaded import Loaded


@dataclass(frozen=True)
class Beside:
    """A version that is loaded, and is asked beside the champion."""

    second: Second
    loaded: Loaded
    champion: Loaded  # beside which; beside any other version it is not asked

    @property
    def version(self) -> int:
        """Its number."""
        return self.second.version

    @property
    def shadow(self) -> bool:
        """Whether it answers nobody."""
        return self.second.role == "shadow"

    def places(self, entities: Sequence[Mapping[str, Any]]) -> list[int]:
        """The places of the entities that it answers."""
        rollout, share, about = self.second.rollout, self.second.share, self.champion.spec.entity
        return [at for at, entity in enumerate(entities) if chosen(rollout, about.key_in(entity), share)]

    def dealt(self, asked: Asked) -> Asked:
        """A request to the champion, of which the log says in which rollout it came."""
        return replace(asked, rollout=self.second.rollout, share=self.second.share)

    def asked(self, asked: Asked, content: bytes | None = None) -> Asked:
        """A whole request to the champion, as one to this version.

        Args:
            content: the request's body, to be read in the words of this version where its spec wants others; None:
                nothing is asked.

        Raises:
            ValidationError: the request does not say what this version needs.
        """
        entities = asked.entities
        if content is not None and not self.alike:
            body: Any = self.loaded.request_type.model_validate_json(content)
            entities = [vars(entity) for entity in body.requested]
        return replace(self.dealt(asked), loaded=self.loaded, role=self.second.role, entities=entities)

    @cached_property
    def alike(self) -> bool:
        """Whether both versions take the same requests."""
        return self.loaded.takes(self.champion)
