"""From the entities that a request names to its answer and the rows of the
prediction log: what a lane's thread does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evergreen.features import online_values
from evergreen.quoting import shown
from evergreen.serve.loaded import Loaded
from evergreen.serve.predictions import Prediction


@dataclass(frozen=True)
class Made:
    """An answer, not yet logged."""

    content: bytes  # of the response
    rows: list[Prediction]
    unknown: list[str]  # what is said of each entity without features
    unseen: Mapping[str, int]  # feature → values that the version was not trained with


def answer(loaded: Loaded, entities: Sequence[Mapping[str, Any]], request_id: str, as_of: datetime) -> Made:
    """One item for each entity, in their order. Of an entity that neither the online store nor the request itself tells
    anything about there is no prediction."""
    spec, key = loaded.spec, loaded.spec.entity.key
    inputs = list(spec.asking.inputs)
    online = online_values.read(spec, entities)
    known = [at for at, values in enumerate(online) if values["features_at"] is not None or inputs]
    features = {at: online[at]["features"] | {name: entities[at][name] for name in inputs} for at in known}
    answers = spec.problem.answers(loaded.predict(list(features.values()))) if known else []
    scores = dict(zip(known, answers, strict=True))
    items: list[dict[str, Any]] = []
    rows, unknown = [], []
    for position, (entity, values) in enumerate(zip(entities, online, strict=True)):
        if position not in scores:
            error = f"unknown {key} {shown(entity[key])}: the online store has no features of it"
            unknown.append(error)
            items.append({key: entity[key], "prediction": None, "features_at": None, "error": error})
            continue
        features_at = values["features_at"]
        items.append(
            {key: entity[key], "prediction": scores[position], "features_at": features_at and features_at.isoformat()}
        )
        rows.append(
            Prediction.of(
                scores[position],
                model=spec.model,
                version=loaded.version.number,
                request_id=request_id,
                position=position,
                entity=str(entity[key]),
                as_of=as_of,
                features_at=features_at,
                features=features[position],
            )
        )
    content = {
        "request_id": request_id,
        "model": spec.model,
        "version": loaded.version.number,
        "as_of": as_of.isoformat(),
        "predictions": items,
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Made(text.encode(), rows, unknown, _unseen(loaded.categories, features.values()))


def _unseen(categories: Mapping[str, frozenset[str]], rows: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
    return Counter(
        name for row in rows for name, seen in categories.items() if row[name] is not None and row[name] not in seen
    )
