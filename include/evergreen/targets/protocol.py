"""The one protocol of every serving target. `tests/components/targets` has the suite that each of them passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evergreen.targets.rules import Role, Serving


@dataclass(frozen=True)
class Packaged:
    """A version as targets take it.

    Attributes:
        location: where its files are, as the target can read them (`s3://…`); Evergreen's replicas find them by number.
    """

    model: str
    number: int
    location: str = ""


class Target(Protocol):
    """One model's place on something that serves. A step that is taken again is harmless, one that fails leaves what
    served before."""

    def put(self, version: Packaged, role: Role) -> None:
        """Make a version answerable in a role, as `rules.put` says, and wait until it is.

        Raises:
            StepRefused: the rules do not allow it, or the target has no such role.
            DeployRefused: it could not be loaded, or an alarm put back what served before.
            ServiceUnavailable, RequestRefused: the target does not answer, or will not.
        """
        ...

    def route(self, weights: Mapping[int, int]) -> None:
        """Deal out requests, in per cent, as `rules.route` says; raises as `put` does."""
        ...

    def serving(self) -> Serving:
        """What the target itself says that it serves."""
        ...
