"""What is generated from the schema: the JSON Schema for editors, and docs/model-spec.md."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from evergreen.markdown import table
from evergreen.spec.arguments import METHODS
from evergreen.spec.columns import ADDED, RESERVED, RESERVED_KEYS
from evergreen.spec.contract import Expectation
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.document import MOST_DEPTH, MOST_NODES
from evergreen.spec.families import usable
from evergreen.spec.files import MOST_BYTES, MOST_FOLDER_BYTES, MOST_FOLDER_NODES
from evergreen.spec.mistakes import MOST_SHOWN, one_of
from evergreen.spec.rules.queries import TABLE_FUNCTIONS
from evergreen.spec.schema import ModelSpec, UsingModel


def json_schema() -> str:
    """The JSON Schema of `model.yaml`: of a model of datasets, or of one that is alone with its data."""
    parts = _parts(ModelSpec, UsingModel)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Evergreen model spec",
        "if": {"required": ["data"]},
        "then": {"$ref": "#/$defs/UsingModel"},
        "else": {"$ref": "#/$defs/ModelSpec"},
    }
    return json.dumps(schema | {"$defs": parts}, indent=2) + "\n"


def dataset_schema() -> str:
    """The JSON Schema of `data.yaml`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | DatasetSpec.model_json_schema()
    return json.dumps(schema | {"title": "Evergreen dataset"}, indent=2) + "\n"


def _parts(*kinds: type[BaseModel]) -> dict[str, Any]:
    """The schemas of some declarations and of all their parts, by name."""
    _, schema = models_json_schema([(kind, "validation") for kind in kinds])
    parts: dict[str, Any] = schema["$defs"]
    return parts


def reference() -> str:
    """The reference of every key, in Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    whole = (ModelSpec, UsingModel, DatasetSpec)
    parts, contract = _parts(*whole), Expectation.model_json_schema()
    model, using, dataset = (parts.pop(kind.__name__) for kind in whole)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown of our own schema
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("reference.md").render(
        model=_table(model, parts),
        using=_table(using, parts),
        dataset=_table(dataset, parts),
        sections=[
            {"name": name, "about": part.get("description", ""), "table": _table(part)} for name, part in parts.items()
        ],
        families=list(usable()),
        contract=_table(contract),
        table_functions=one_of(f"`{name}`" for name in sorted(TABLE_FUNCTIONS)),
        methods=one_of(f"`{name}`" for name in METHODS),
        reserved=one_of(f"`{name}`" for name in RESERVED),
        answered=one_of(f"`{name}`" for name in RESERVED_KEYS if name not in RESERVED),
        added=one_of(f"`{name}`" for name in ADDED),
        most_bytes=MOST_BYTES,
        most_depth=MOST_DEPTH,
        most_nodes=MOST_NODES,
        most_folder_bytes=MOST_FOLDER_BYTES,
        most_folder_nodes=MOST_FOLDER_NODES,
        most_shown=MOST_SHOWN,
    )


def _table(node: dict[str, Any], parts: Mapping[str, dict[str, Any]] | None = None) -> str:
    """A table of an object's keys; a key that is described by another part says what that part says."""
    return "\n".join(table(("key", "type", "default", "meaning"), _rows(node, parts)))


def _rows(node: dict[str, Any], parts: Mapping[str, dict[str, Any]] | None) -> Iterator[Sequence[str]]:
    required = set(node.get("required", []))
    for name, part in node.get("properties", {}).items():
        default = "required" if name in required else f"`{json.dumps(part.get('default'))}`"
        section = (parts or {}).get(part.get("$ref", "").rpartition("/")[2], {})
        meaning = html.escape(part.get("description") or section.get("description", ""), quote=False)
        meaning = meaning.partition("\n\n")[0].replace("\n", " ")  # one line: a blank one would end the table
        yield f"`{name}`", _type(part), default, meaning


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in part or "const" in part:
        return " or ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    if several := part.get("anyOf") or part.get("oneOf"):
        return " or ".join(_type(each) for each in several)
    if part.get("type") == "array":
        return f"list of {_type(part.get('items', {}))}"
    if part.get("type") == "object" and (values := _values(part)):
        return f"name → {_type(values)}"
    if "examples" in part:
        return "duration: " + ", ".join(f"`{value}`" for value in part["examples"])
    if part.get("properties"):
        return "[name → parameters](#families)"
    return str(part.get("format") or part.get("type", "any"))


def _values(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of the values of an object with free keys."""
    patterns = part.get("patternProperties") or {}
    schema = next(iter(patterns.values()), part.get("additionalProperties"))
    return schema if isinstance(schema, dict) else {}
