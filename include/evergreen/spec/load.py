"""A model's folder becomes a `ModelSpec`, or the list of all its mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from evergreen.errors import SpecError
from evergreen.spec import rules
from evergreen.spec.contract import load_contract
from evergreen.spec.mistakes import Mistake, nearest, one_of
from evergreen.spec.schema import ModelSpec

FILE = "model.yaml"


def load_all(models: Path) -> tuple[list[ModelSpec], list[SpecError]]:
    """The valid specs of a folder of models, by name, and an error for each invalid one."""
    specs, errors = [], []
    for folder in sorted(path.parent for path in models.glob(f"*/{FILE}")):
        try:
            specs.append(load_spec(folder))
        except SpecError as error:
            errors.append(error)
    return specs, errors


def load_spec(folder: Path, *, deep: bool = False) -> ModelSpec:
    """The spec of one folder. `deep` also prepares every query and looks up every expectation, which takes seconds.

    Raises:
        SpecError: with every mistake of the folder.
    """
    spec, found = _read(folder)
    if spec is not None:
        found += [*rules.mistakes(spec), *_files(spec)]
        if deep and not found:
            from evergreen.spec import deep as deeply

            found += deeply.mistakes(spec)
    if spec is None or found:
        raise SpecError(
            f"reading the model folder {folder.name}",
            found=f"{len(found)} mistake{'s' if len(found) != 1 else ''}\n"
            + "\n".join(f"  {n}. {m}" for n, m in enumerate(found, 1)),
            expected="a valid model spec (docs/model-spec.md)",
            next_step=f"mend them, then run `evergreen check {folder.name}`",
        )
    return spec


def _read(folder: Path) -> tuple[ModelSpec | None, list[Mistake]]:
    """The spec as far as its shape goes."""
    try:
        stated = yaml.load((folder / FILE).read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return None, [
            Mistake(
                FILE, "", " ".join(str(error).split()), "a YAML file in UTF-8 without repeated keys", "correct the file"
            )
        ]
    if not isinstance(stated, dict):
        return None, [
            Mistake(FILE, "", type(stated).__name__, "keys and values", "start from the example in docs/model-spec.md")
        ]
    try:
        # By way of JSON: strict types, where lists are tuples and ISO text is a date.
        spec = ModelSpec.model_validate_json(json.dumps(stated, default=str)).at(folder)
    except ValidationError as error:
        return None, [_shape_mistake(problem, FILE, ModelSpec.model_json_schema()) for problem in error.errors()]
    if spec.model != folder.name:
        return spec, [
            Mistake(FILE, "model", spec.model, f"the folder's name, {folder.name}", f"write model: {folder.name}")
        ]
    return spec, []


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the first value would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _shape_mistake(problem: Any, file: str, schema: dict[str, Any]) -> Mistake:
    """A mistake of shape, from pydantic's error."""
    path = [str(part) for part in problem["loc"] if part != "[key]"]
    key, kind, context = ".".join(path), problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys(schema, path[:-1])
        return Mistake(
            file,
            key,
            f"unknown key {path[-1]}",
            one_of(known),
            nearest(path[-1], known).replace("or declare it", "or leave it out"),
        )
    if kind == "missing":
        return Mistake(file, key, "nothing", _described(schema, path), f"add {path[-1]}")
    found = json.dumps(problem["input"], default=str)[:80]
    if kind in ("literal_error", "enum"):
        allowed = str(context.get("expected", problem["msg"])).replace("'", "")
        return Mistake(
            file,
            key,
            found,
            allowed,
            nearest(problem["input"], allowed.replace(" or ", ", ").split(", ")).replace(", or declare it", ""),
        )
    message = problem["msg"].removeprefix("Value error, ")
    return Mistake(file, key, found, message[0].lower() + message[1:], "correct the value")


def _keys(schema: dict[str, Any], path: list[str]) -> list[str]:
    return list(_node(schema, path).get("properties", {}))


def _described(schema: dict[str, Any], path: list[str]) -> str:
    node = _node(schema, path[:-1]).get("properties", {}).get(path[-1], {})
    return str(node.get("description") or node.get("type") or "this key")


def _node(schema: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """The part of a JSON Schema that a path of keys leads to."""
    node = schema
    for part in [*path, None]:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if part is not None:
            free = [*(node.get("patternProperties") or {}).values(), node.get("additionalProperties")][0]
            node = node.get("properties", {}).get(part) or (free if isinstance(free, dict) else {})
    return node


def _files(spec: ModelSpec) -> Iterator[Mistake]:
    """Files that the spec needs and that are missing, and contracts that cannot be read."""
    queries = {f"features.{view}.sql": spec.view_sql(view) for view in spec.features} | {"label.sql": spec.label_sql()}
    for key, path in queries.items():
        if not path.is_file():
            yield Mistake(
                FILE,
                key,
                f"no file {path.relative_to(spec.folder)}",
                "a file with one SELECT",
                f"add {path.relative_to(spec.folder)}",
            )
    tables = {name: set(source.columns) for name, source in spec.sources.items()}
    tables |= {
        name: {*view.features, spec.entity.key, "event_timestamp", "known_at"} for name, view in spec.features.items()
    }
    for table, columns in tables.items():
        yield from _contract_mistakes(spec, table, columns)


def _contract_mistakes(spec: ModelSpec, table: str, columns: set[str]) -> Iterator[Mistake]:
    path = spec.contract_file(table)
    file = str(path.relative_to(spec.folder))
    if not path.is_file():
        yield Mistake(
            file, "", "no such file", f"the contract of {table}", f"add {file}, with at least one expectation"
        )
        return
    try:
        contract = load_contract(path)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        yield Mistake(file, "", " ".join(str(error).split()), "a YAML file in UTF-8", "correct the file")
        return
    except ValidationError as error:
        for problem in error.errors():
            yield _shape_mistake(problem, file, _contract_schema())
        return
    for number, expectation in enumerate(contract.expectations):
        column = expectation.arguments.get("column")
        if column is not None and column not in columns:
            yield Mistake(
                file, f"expectations.{number}.column", str(column), one_of(sorted(columns)), nearest(column, columns)
            )


@cache
def _contract_schema() -> dict[str, Any]:
    from evergreen.spec.contract import Contract

    return Contract.model_json_schema()
