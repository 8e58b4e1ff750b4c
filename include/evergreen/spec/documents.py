"""What is generated from the schema: the JSON Schema for editors, and docs/model-spec.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from evergreen.spec.families import FAMILIES
from evergreen.spec.schema import ModelSpec


def json_schema() -> str:
    """The JSON Schema of `model.yaml`."""
    schema = ModelSpec.model_json_schema()
    return (
        json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Evergreen model spec"} | schema,
            indent=2,
        )
        + "\n"
    )


def reference() -> str:
    """The reference of every key, in Markdown."""
    schema = ModelSpec.model_json_schema()
    lines = [
        "# The model spec", "",
        "Generated from the schema by `evergreen reference`; a test fails when it drifts. A model is one folder below",
        "`include/models/`: `model.yaml` with the keys below, `contracts/<table>.yaml` for each source and feature view,",
        "`features/<view>.sql` for each view, and `label.sql`. `evergreen check <model>` tells every mistake at once.",
        "", "## model.yaml", "", *_table(schema), "",
    ]  # fmt: skip
    for name, part in schema["$defs"].items():
        lines += [f"## {name}", "", part.get("description", ""), "", *_table(part), ""]
    lines += ["## Families", "", "| family | parameter | default range |", "|---|---|---|"]
    for family, parameters in FAMILIES.items():
        lines += [
            f"| `{family}` | `{name}` | {r.low:g} to {r.high:g}{', by its logarithm' if r.log else ''} |"
            for name, r in parameters.items()
        ]
    return "\n".join(lines) + "\n"


def _table(node: dict[str, Any]) -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    required = set(node.get("required", []))
    for name, part in node.get("properties", {}).items():
        default = "required" if name in required else f"`{json.dumps(part.get('default'))}`"
        yield f"| `{name}` | {_type(part)} | {default} | {part.get('description', '')} |"


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in part or "const" in part:
        return " or ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    if "anyOf" in part:
        return " or ".join(_type(each) for each in part["anyOf"])
    if part.get("type") == "array":
        return f"list of {_type(part.get('items', {}))}"
    if part.get("type") == "object" and (values := _values(part)):
        return f"name → {_type(values)}"
    if "examples" in part:
        return "duration: " + ", ".join(f"`{value}`" for value in part["examples"])
    return str(part.get("format") or part.get("type", "any"))


def _values(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of the values of an object with free keys."""
    patterns = part.get("patternProperties") or {}
    found = next(iter(patterns.values()), part.get("additionalProperties"))
    return found if isinstance(found, dict) else {}
