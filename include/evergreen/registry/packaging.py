"""What a candidate will answer with: its graph where that is faithful and faster, else its pipeline."""

from __future__ import annotations

import logging

import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.model.families import columns_of
from evergreen.registry.contents import Packaging
from evergreen.runtime.answering import GraphPredictor
from evergreen.runtime.comparing import TOLERANCE, compare
from evergreen.runtime.exporting import NotExported, export
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)


def package(spec: ModelSpec, pipeline: Pipeline, inputs: pd.DataFrame) -> tuple[Packaging, bytes | None]:
    """Which of the two it is, why, and the graph if it is that.

    Args:
        inputs: the evaluation window's, on which both are compared.
    """
    columns = columns_of(spec.feature_types)
    try:
        content = export(pipeline, columns)
        found = compare(pipeline, GraphPredictor(content), columns, inputs)
    except NotExported as error:
        return Packaging(runtime="pipeline", reason=str(error)), None
    except Exception as error:  # trees' arrays are no public interface of scikit-learn, and ONNX has bounds of its own
        log.warning("a graph of this candidate cannot be made, its pipeline will answer", exc_info=True)
        return Packaging(runtime="pipeline", reason=f"no graph: {type(error).__name__}: {error}"), None
    speed_up = found.original / found.graph
    chosen = found.faithful and speed_up > 1.0
    reason = (
        f"up to {found.difference:.2g} from the pipeline's answers to {found.rows} rows, {speed_up:.0f} times as fast"
    )
    if not found.faithful:
        reason = f"the graph is {reason}; {TOLERANCE:g} is allowed"
    packaging = Packaging(
        runtime="graph" if chosen else "pipeline",
        reason=reason,
        rows=found.rows,
        difference=found.difference,
        tolerance=TOLERANCE,
        speed_up=speed_up,
    )
    return packaging, content if chosen else None
