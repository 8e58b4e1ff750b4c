"""The Open Inference Protocol, version 2, in JSON: a tensor for each field of the entities, and for each part of the
answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evergreen.quoting import shown
from evergreen.serve.loaded import Loaded
from evergreen.serve.protocols.translation import Json, columns, wrong
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

PLATFORM = "evergreen"
_TYPES = {"int": "INT64", "float": "FP64", "bool": "BOOL"}  # everything else is text
_OF_REQUEST = frozenset({"id", "inputs", "outputs", "parameters"})


@dataclass(frozen=True)
class Asked:
    """A request."""

    entities: Sequence[Mapping[str, Any]]
    problem: Problem
    outputs: Sequence[str]  # that are wanted, in this order
    id: str | None
    as_of: Any = None

    def answer(self, ours: Json) -> Json:
        """Our items as tensors. A prediction that there is none of is null, which JSON clients read as NaN; a text that
        there is none of is empty."""
        items = ours["predictions"]
        named = [{"name": name} | _output(name, items, self.problem) for name in self.outputs]
        about = {name: ours[name] for name in ("request_id", "as_of", "role") if name in ours}
        answer = {"model_name": ours["model"], "model_version": str(ours["version"])}
        if self.id is not None:
            answer["id"] = self.id
        return answer | {"parameters": about, "outputs": named}


def asked(body: Json, spec: ModelSpec) -> Asked:
    """What a body asks of a model; of `parameters` the key `as_of` counts, clients send others by themselves."""
    if unknown := body.keys() - _OF_REQUEST:
        raise wrong((min(unknown),), f"expected some of {', '.join(sorted(_OF_REQUEST))}")
    tensors, parameters = body.get("inputs"), body.get("parameters") or {}
    if not isinstance(tensors, list) or not tensors:
        raise wrong(("inputs",), "expected a list of tensors")
    if not isinstance(parameters, dict):
        raise wrong(("parameters",), "expected an object")
    identity = body.get("id")
    if identity is not None and not isinstance(identity, str):
        raise wrong(("id",), "expected a text")
    named: dict[str, list[Any]] = {}
    for at, tensor in enumerate(tensors):
        name, values = _values(tensor, at)
        if name in named:
            raise wrong(("inputs", at, "name"), f"{shown(name)} stands twice")
        named[name] = values
    entities = columns(named, "inputs", spec)
    return Asked(entities, spec.problem, _wanted(body.get("outputs"), spec.problem), identity, parameters.get("as_of"))


def _values(tensor: Any, at: int) -> tuple[str, list[Any]]:
    """Name and values of a tensor with one value an entity."""
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise wrong(("inputs", at), "expected a tensor: name, shape, datatype, data")
    values, shape = tensor.get("data"), tensor.get("shape")
    if not isinstance(values, list):
        raise wrong(("inputs", at, "data"), "expected a list; values in binary form are not taken (binary_data=False)")
    if all(isinstance(each, list) and len(each) == 1 for each in values):
        values = [each[0] for each in values]
    if shape not in ([len(values)], [len(values), 1]):
        raise wrong(("inputs", at, "shape"), f"expected [{len(values)}] or [{len(values)}, 1], as `data` has values")
    return tensor["name"], values


def _wanted(stated: Any, problem: Problem) -> list[str]:
    there = [each["name"] for each in outputs(problem)]
    if not stated:
        return there
    if not isinstance(stated, list):
        raise wrong(("outputs",), "expected a list")
    for at, each in enumerate(stated):
        if not isinstance(each, dict) or each.get("name") not in there:
            raise wrong(("outputs", at), f"expected a name among {', '.join(there)}")
    return [each["name"] for each in stated]


def outputs(problem: Problem) -> list[Json]:
    """The tensors of an answer."""
    width = [len(problem.values or ())] if problem.by_class else []
    found = [_about("prediction", "FP64", -1, *width)]
    if problem.by_class:
        found[0]["parameters"] = {"classes": [str(value) for value in problem.values or ()]}
    if problem.values is not None:
        found.append(_about("class", "BYTES", -1))
    return found + [_about(name, "BYTES", -1) for name in ("features_at", "stale", "error")]


def _output(name: str, items: Sequence[Json], problem: Problem) -> Json:
    found = [item.get(name) for item in items]
    if name != "prediction":
        texts = [",".join(each) if isinstance(each, list) else "" if each is None else str(each) for each in found]
        return {"datatype": "BYTES", "shape": [len(items)], "data": texts}
    if not problem.by_class:
        return {"datatype": "FP64", "shape": [len(items)], "data": found}
    classes = [str(value) for value in problem.values or ()]
    flat = [None if each is None else each[name] for each in found for name in classes]
    return {"datatype": "FP64", "shape": [len(items), len(classes)], "data": flat, "parameters": {"classes": classes}}


def refused(status: int, why: str) -> Json:
    """The answer of a request that is refused."""
    return {"error": why}


def server(version: str) -> Json:
    """What `GET /v2` says."""
    return {"name": PLATFORM, "version": version, "extensions": []}


def described(loaded: Loaded) -> Json:
    """What `GET /v2/models/<model>` says of what serves."""
    spec = loaded.spec
    kinds = {**spec.keys, **spec.asking.inputs, **spec.entity.columns}
    inputs = [_about(name, _TYPES.get(kinds[name], "BYTES"), -1) for name in spec.asking.sent]
    return {
        "name": spec.model,
        "versions": [str(loaded.version.number)],
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": outputs(spec.problem),
    }


def _about(name: str, datatype: str, *shape: int) -> Json:
    return {"name": name, "datatype": datatype, "shape": list(shape)}
