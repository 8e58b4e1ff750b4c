"""`gates.packaged` of `model.yaml`: what a version may weigh, and how long an answer of it may take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evergreen.spec.partial import Declared


class Packaged(Declared):
    """Bounds of what the server would load: the candidate's graph, or its pipeline where it has none."""

    megabytes: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="the largest size of the file that answers; null: it is not looked at"
    )
    milliseconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description=(
            "the longest time that it may take to answer one row, by the median of 200, on the machine that trains; "
            "null: it is not measured"
        ),
    )
