"""MLflow's scoring server: a data frame split or by records, or TensorFlow Serving's two forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evergreen.serve.protocols.translation import Json, bounded, columns, one_of, rows, wrong
from evergreen.spec.schema import ModelSpec

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES = {400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST"}
_CODES |= {413: "BAD_REQUEST", 415: "BAD_REQUEST", 422: "BAD_REQUEST", 429: "REQUEST_LIMIT_EXCEEDED"}
_CODES |= {503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


@dataclass(frozen=True)
class Asked:
    """A request."""

    entities: Sequence[Mapping[str, Any]]
    as_of: Any = None

    def answer(self, ours: Json) -> Json:
        """Our items, as records of a data frame that a model has returned."""
        return {"predictions": ours["predictions"]}


def asked(body: Json, spec: ModelSpec) -> Asked:
    """What a body asks of a model; of `params` the key `as_of` counts."""
    form, params = one_of(body, FORMS), body.get("params") or {}
    if unknown := body.keys() - {form, "params"}:
        raise wrong((min(unknown),), f"expected `{form}`, and `params` if you like")
    if not isinstance(params, dict) or params.keys() - {"as_of"}:
        raise wrong(("params",), "expected an object with `as_of` alone")
    stated = body[form]
    if form == "dataframe_split":
        entities = _split(stated)
    elif form == "inputs" and not (isinstance(stated, list) and stated and isinstance(stated[0], dict)):
        entities = columns(stated, form, spec)
    else:
        entities = rows(stated, form, spec)
    return Asked(entities, params.get("as_of"))


def _split(stated: Any) -> list[Json]:
    """The rows of a data frame as pandas splits it; its index says nothing."""
    place = "dataframe_split"
    if not isinstance(stated, dict) or stated.keys() - {"index"} != {"columns", "data"}:
        raise wrong((place,), "expected `columns`, `data`, and `index` if you like")
    names, data = stated["columns"], stated["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise wrong((place, "columns"), "expected a list of names")
    if len(set(names)) < len(names):
        raise wrong((place, "columns"), "a name stands twice")
    if not isinstance(data, list):
        raise wrong((place, "data"), "expected a list of rows")
    bounded(len(data), place)
    for at, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise wrong((place, "data", at), f"expected a list of {len(names)} values, one for each column")
    return [dict(zip(names, row, strict=True)) for row in data]


def refused(status: int, why: str) -> Json:
    """The answer of a request that is refused."""
    return {"error_code": _CODES.get(status, "INTERNAL_ERROR"), "message": why}
