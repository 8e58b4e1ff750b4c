"""What a hand-over is: a value that one task of a run leaves for the tasks after
it, as small JSON with a mark of its shape.

The mark is the type's name and a digest of its fields and their types. So a hand-over that an earlier release left is
read where its shape is still the same, and refused with a message where it is not; no release number has to be
remembered.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from evergreen.errors import HandoverRefused
from evergreen.links import Link
from evergreen.quoting import shown

MARK = "handover"  # the key of the mark, beside the fields


def finite(value: float | None) -> float | None:
    """A number as hand-overs, the ledger and JSON hold it; None for NaN and infinities."""
    return value if value is not None and math.isfinite(value) else None


class Part(BaseModel):
    """A named value within a hand-over. A text below each field says what it holds."""

    # Built when first used: a DAG file imports all types, and a task's process uses a few.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Handover(Part):
    """The result of a stage.

    `carried` names the few numbers that the asset event of its task carries; `pages` the fields that hold a page's
    address, and which button shows it. Both may reach into parts: `run.page`.
    """

    carried: ClassVar[tuple[str, ...]] = ()
    pages: ClassVar[Mapping[str, Link]] = {}

    @classmethod
    def mark(cls) -> str:
        """The type's name, and a digest of its shape."""
        return _mark(cls)

    def to_json(self) -> dict[str, Any]:
        """The hand-over as a task leaves it: its fields, and its mark."""
        return {MARK: self.mark(), **self.model_dump(mode="json")}

    @classmethod
    def from_json(cls, value: object, *, task: str, subject: str) -> Self:
        """A hand-over as `to_json` wrote it.

        Args:
            task: the task that left it.
            subject: how messages name the run.

        Raises:
            HandoverRefused: there is none, or it has another shape.
        """
        expected = cls.mark()
        if not isinstance(value, Mapping):
            none = "nothing: a task that is marked a success by hand, or whose result was removed, hands nothing over"
            raise _refused(task, subject, none if value is None else shown(value), expected)
        if value.get(MARK) != expected:
            mark = value.get(MARK)
            of = "without a mark" if mark is None else f"marked {shown(mark)}"
            raise _refused(task, subject, f"a hand-over {of}: another release wrote it", expected)
        fields = {name: field for name, field in value.items() if name != MARK}
        try:
            return cls.model_validate_json(json.dumps(fields))
        except (ValidationError, TypeError, ValueError) as error:
            raise _refused(task, subject, " ".join(str(error).split()), expected) from error

    def extra(self) -> dict[str, str | int | float | bool]:
        """What the asset event of its task carries; what is not known of it is left out."""
        values = {name.rpartition(".")[2]: attrgetter(name)(self) for name in self.carried}
        return {name: value for name, value in values.items() if value is not None}

    def links(self) -> dict[Link, str]:
        """The pages that its task shows."""
        addresses = {link: attrgetter(name)(self) for name, link in self.pages.items()}
        return {link: address for link, address in addresses.items() if address}


class Staged(Part):
    """A Parquet file that a task left for those after it; see `lake.staging`."""

    path: str
    """Where it lies: a path, or an address `s3://…`."""
    rows: int
    """How many rows it has."""
    task: str
    """The task that left it: the one to clear when it is gone."""


class TrackedRun(Part):
    """A run in MLflow."""

    id: str
    """MLflow's id of the run."""
    page: str
    """The run's page in MLflow's UI."""


def _refused(task: str, subject: str, problem: str, expected: str) -> HandoverRefused:
    return HandoverRefused(
        f"reading what the task {task} of {subject} handed over",
        found=problem,
        expected=f"{expected}, as the task writes it",
        next_step=(
            f"clear `{task}` and what comes after it: it runs again, and hands over anew (`evergreen run`: begin "
            f"with --from {task})"
        ),
    )


@cache
def _mark(kind: type[Handover]) -> str:
    schema = json.dumps(_shape(kind.model_json_schema()), sort_keys=True)
    return f"{kind.__name__}/{hashlib.sha256(schema.encode()).hexdigest()[:8]}"


def _shape(schema: Any, *, named: bool = False) -> Any:
    """A JSON schema without its prose.

    Below `properties` and `$defs` stand names, which are no prose whatever they are.
    """
    if isinstance(schema, list):
        return [_shape(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _shape(each, named=not named and name in ("properties", "$defs"))
        for name, each in schema.items()
        if named or name not in ("title", "description")
    }
