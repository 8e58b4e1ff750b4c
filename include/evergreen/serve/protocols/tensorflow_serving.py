"""TensorFlow Serving's REST: `instances` one by one, or `inputs` field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evergreen.serve.protocols.translation import Json, by_name, columns, one_of, rows, wrong
from evergreen.spec.schema import ModelSpec

SIGNATURE = "serving_default"  # the only one


@dataclass(frozen=True)
class Asked:
    """A request."""

    entities: Sequence[Mapping[str, Any]]
    by_row: bool
    as_of: Any = None

    def answer(self, ours: Json) -> Json:
        """Our items one by one, or what they hold by name."""
        items = ours["predictions"]
        return {"predictions": items} if self.by_row else {"outputs": by_name(items)}


def asked(body: Json, spec: ModelSpec) -> Asked:
    """What a body asks of a model."""
    if unknown := body.keys() - {"instances", "inputs", "signature_name"}:
        raise wrong((min(unknown),), "expected `instances` or `inputs`, and `signature_name` if you like")
    if (signature := body.get("signature_name", SIGNATURE)) not in (SIGNATURE, ""):
        raise wrong(("signature_name",), f"{signature!r}; the only one is {SIGNATURE}")
    if one_of(body, ("instances", "inputs")) == "instances":
        return Asked(rows(body["instances"], "instances", spec), by_row=True)
    return Asked(columns(body["inputs"], "inputs", spec), by_row=False)


def refused(status: int, why: str) -> Json:
    """The answer of a request that is refused."""
    return {"error": why}


def status(version: int) -> Json:
    """What `GET /v1/models/<model>` says of a model that serves."""
    state = {"version": str(version), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"model_version_status": [state]}
