"""What a candidate must beat: the trivial answer, or the baseline that a spec states."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evergreen.errors import EvidenceMissing, PermanentError
from evergreen.model.rows import Rows
from evergreen.quoting import shown
from evergreen.spec import expression
from evergreen.spec.runner import QueryRefused
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

AVERAGE = "what the rows that were learned from have on average"


@dataclass(frozen=True)
class Baseline:
    """Its predictions, and what it is, in words."""

    predictions: npt.NDArray[np.float64]
    about: str


def of(spec: ModelSpec, learn: Rows, later: Rows) -> Baseline:
    """The baseline's predictions of the later rows; a row of which the stated one is null has the trivial answer.

    Raises:
        EvidenceMissing: the stated one is null in every row.
        PermanentError: it cannot be computed, or is no prediction.
    """
    trivial, text = spec.problem.baseline(learn.labels, len(later.labels), learn.weights), spec.gates.baseline
    if text is None:
        return Baseline(trivial, AVERAGE)
    doing = f"computing the baseline {shown(text)} of {spec.model}"
    try:
        values = expression.baseline(spec, text, expression.table(spec, later.frame))
        there = values.is_valid().to_numpy()
        stated = spec.problem.stated(values.drop_null().to_pylist())
    except (QueryRefused, ValueError) as error:
        raise PermanentError(
            doing,
            found=str(error),
            expected=f"of each row {spec.problem.answered}, or null",
            next_step="correct gates.baseline in model.yaml, then clear `evaluate`",
        ) from error
    if not there.any():
        raise EvidenceMissing(
            doing,
            found=f"null in all {len(there)} evaluation rows",
            expected="a value in some of them",
            next_step="correct gates.baseline in model.yaml, or look why what it names is missing",
        )
    trivial[there] = stated
    missing = int((~there).sum())
    return Baseline(trivial, text + (f" ({missing} of {len(there)} rows: {AVERAGE})" if missing else ""))
