"""A contract's shape: `contracts/<table>.yaml` lists Great Expectations' expectations for one source or feature view."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["critical", "warning"]


class Expectation(BaseModel):
    """One expectation: `type` in snake case, `severity`, and the expectation's own arguments."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = Field(pattern=r"^expect_[a-z0-9_]+$")
    severity: Severity = "critical"

    @property
    def arguments(self) -> dict[str, Any]:
        """What is passed to the expectation beside its severity."""
        return dict(self.model_extra or {})


class Contract(BaseModel):
    """All expectations of one table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expectations: tuple[Expectation, ...] = Field(min_length=1)


def load_contract(path: Path) -> Contract:
    """The contract of a file.

    Raises:
        pydantic.ValidationError, yaml.YAMLError: `spec.load` turns them into mistakes before any run does.
    """
    return Contract.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
