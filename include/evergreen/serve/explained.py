"""What the inputs of a prediction contributed, in the answer itself, where the request asks for it.

The first one of a server loads pandas, and reads the version's reference from MLflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evergreen.errors import EvergreenError
from evergreen.serve.answering import Asked, Made, with_items
from evergreen.serve.loaded import Loaded
from evergreen.serve.predictions import Prediction
from evergreen.spec.columns import EXPLANATION


def explained(asked: Asked, made: Made) -> Made:
    """The same answer, each prediction with its explanation, or the reason why it has none."""
    items = [dict(item) for item in made.items]
    for row in made.rows:
        items[row.position][EXPLANATION] = _explanation(asked.loaded, row)
    return with_items(asked, made, items)


def _explanation(loaded: Loaded, row: Prediction) -> Mapping[str, Any]:
    import pandas as pd

    from evergreen.model.contributions import adds_up, explain, scale_of
    from evergreen.model.rows import inputs

    scale, score = scale_of(loaded.spec, row.decided, loaded.predictor.predict)
    if row.version != loaded.version.number:
        return {"scale": scale, "reason": f"version {row.version} answered, which is beside the champion"}
    try:
        usual = loaded.background
    except EvergreenError as error:
        return {"scale": scale, "reason": f"the version's reference cannot be read: {error.found}"}
    kinds = loaded.spec.feature_types
    its = inputs(kinds, pd.DataFrame.from_records([dict(row.features)], columns=list(kinds)))
    found = explain(its, usual, score, loaded.spec.search.seed)
    if not adds_up(found):
        return {"scale": scale, "reason": f"the parts miss the score by {found.off:.3g}"}
    parts = [{"input": part.input, "contribution": part.contribution, "error": part.error} for part in found.parts]
    return {"scale": scale, "usual": found.usual, "score": found.score, "parts": parts}
