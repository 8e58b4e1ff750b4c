"""Writes `inferenceservice.json` beside it: what KServe's API takes for an InferenceService, as JSON Schema.

    python -m venv sdk && sdk/bin/pip install --no-deps kserve==0.21.0 && sdk/bin/python tests/stored/kserve/generate.py

Out of the classes of KServe's Python SDK, which KServe generates from the Go types that the CRD is generated from.
Types of Kubernetes itself (`V1Container`, …) may be anything.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = "V1beta1InferenceService"
PLAIN = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "datetime": "string"}
MODELS = Path(next(iter(importlib.util.find_spec("kserve").submodule_search_locations))) / "models"  # type: ignore[union-attr, arg-type]


def source(name: str) -> str | None:
    """The module of a class; None: it is one of Kubernetes' own."""
    file = MODELS / (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() + ".py")
    return file.read_text() if file.is_file() else None


def main() -> None:
    """Read, follow what is named, and write."""
    definitions: dict[str, Any] = {}
    waiting = [ROOT]
    while waiting:
        name = waiting.pop()
        text = source(name)
        if name in definitions:
            continue
        if text is None:
            definitions[name] = {}
            continue
        tables = {
            target.id: ast.literal_eval(node.value)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Assign)
            and isinstance(target := node.targets[0], ast.Name)
            and target.id in ("openapi_types", "attribute_map")
        }
        required = set(re.findall(r"Invalid value for `(\w+)`, must not be `None`", text))
        types, names = tables["openapi_types"], tables["attribute_map"]
        definitions[name] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {names[each]: typed(kind, waiting) for each, kind in types.items()},
            "required": sorted(names[each] for each in required),
        }
    made_of = f"kserve {version('kserve')} (PyPI, Apache-2.0), {ROOT}; by tests/stored/kserve/generate.py"
    schema = {"$comment": made_of, "$ref": f"#/definitions/{ROOT}", "definitions": dict(sorted(definitions.items()))}
    Path(__file__).with_name("inferenceservice.json").write_text(json.dumps(schema, indent=1) + "\n")


def typed(kind: str, waiting: list[str]) -> dict[str, Any]:
    """The schema of a type as the SDK names it."""
    if listed := re.fullmatch(r"list\[(.+)\]", kind):
        return {"type": "array", "items": typed(listed[1], waiting)}
    if mapped := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {"type": "object", "additionalProperties": typed(mapped[1], waiting)}
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if kind == "object":
        return {}
    waiting.append(kind)
    return {"$ref": f"#/definitions/{kind}"}


if __name__ == "__main__":
    main()
