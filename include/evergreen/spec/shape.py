"""From a document to its pydantic model: the mistakes of its shape, and as much
of it as can be read in spite of them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import is_dataclass
from functools import cache
from itertools import islice
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from evergreen.spec.dataset import MOST_ENTRIES
from evergreen.spec.document import Document
from evergreen.spec.keyed import NAME
from evergreen.spec.mistakes import MOST_FOUND, Mistake, meant, nearest, one_of
from evergreen.spec.partial import Declared
from evergreen.spec.words import needed

Shape = TypeVar("Shape", bound=Declared)
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's words for a key that nothing knows


def shaped(kind: type[Shape], document: Document) -> tuple[Shape, list[Mistake]]:
    """The document as `kind`, and its mistakes of shape.

    With mistakes, the model is partial: what is missing or misshapen is not set, and reading it raises `NotStated`.
    """
    text = json.dumps(document.content)
    try:
        # By way of JSON, which has no tuples and dates of its own: so lists and ISO text
        # are taken for them, and types stay strict.
        return kind.model_validate_json(text), []
    except ValidationError as error:
        problems = error.errors(include_url=False)[:MOST_FOUND]
        misspelt = {
            (*place, meant(key, _known(kind, document, problem)))
            for problem in problems
            if problem["type"] in _UNKNOWN
            for *place, key in [problem["loc"]]
        }
        told = [problem for problem in problems if problem["type"] != "missing" or problem["loc"] not in misspelt]
        return _partial(kind, document.content), [_mistake(kind, document, problem) for problem in told]


def _misspelt(given: dict[Any, Any], names: Collection[str]) -> set[str]:
    """Those of the names that are not there, and that another key probably means."""
    near = {meant(key, names) for key in islice(given, MOST_ENTRIES) if key not in names}
    return {name for name in names if name in near and name not in given}


def _partial(kind: type[Shape], given: Any) -> Shape:
    values: dict[str, Any] = {}
    given = kind.written_out(given)
    keys = [declared.alias or name for name, declared in kind.model_fields.items()]
    misspelt = _misspelt(given, keys) if isinstance(given, dict) else set()
    unreadable: list[str] = []
    for name, declared in kind.model_fields.items():
        inner, origin = _models_in(declared.annotation), get_origin(declared.annotation)
        value = given.get(declared.alias or name) if isinstance(given, dict) else None
        if isinstance(declared.annotation, type) and issubclass(declared.annotation, Declared):
            values[name] = _partial(declared.annotation, value)
        elif (declared.alias or name) in misspelt:
            unreadable.append(name)
        elif inner and isinstance(value, dict) and origin not in (dict, tuple):  # a part that may be left out
            values[name] = _partial(inner[0], value)
        elif inner and isinstance(value, dict) and value and origin is dict:
            values[name] = {key: _partial(inner[0], entry) for key, entry in islice(value.items(), MOST_ENTRIES)}
        elif value is not None:
            try:
                values[name] = _adapter(kind, name).validate_json(json.dumps(value))
            except ValidationError:
                unreadable.append(name)
    partial = kind.model_construct(**values)  # fills in defaults, also those of what is misshapen
    for name in unreadable:
        partial.__dict__.pop(name, None)
    return partial


def _models_in(annotation: Any) -> list[type[Declared]]:
    """The models among the arguments of an annotation, as in `dict[Name, Source]` and `Request | None`."""
    return [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, Declared)]


@cache
def _adapter(kind: type[BaseModel], name: str) -> TypeAdapter[Any]:
    declared = kind.model_fields[name]
    annotated: Any = declared.annotation
    for constraint in declared.metadata:
        annotated = Annotated[annotated, constraint]
    # A dataclass has a configuration of its own.
    config = None if is_dataclass(declared.annotation) else ConfigDict(strict=True, allow_inf_nan=False)
    return TypeAdapter(annotated, config=config)


def _mistake(kind: type[BaseModel], document: Document, problem: Any) -> Mistake:
    """A mistake of shape, from pydantic's error."""
    schema, context = _json_schema(kind), problem.get("ctx", {})
    walked = _walked(schema, document, problem)
    path = [part for part, _ in walked]
    key, node = ".".join(path), walked[-1][1] if walked else schema

    def mistake(found: str, allowed: str, fix: str) -> Mistake:
        return Mistake(document.file, key, found, allowed, fix, document.line(key))

    match problem["type"]:
        case unknown if unknown in _UNKNOWN:
            known = _known(kind, document, problem)
            return mistake(f"the unknown key {path[-1]}", one_of(known), nearest(path[-1], known, f"remove {path[-1]}"))
        case "missing":
            declared = node if "description" in node else _resolved(schema, node)
            return mistake("nothing", str(declared.get("description") or declared.get("type")), f"add {path[-1]}")
        case "union_tag_invalid":
            members = _members(schema, _resolved(schema, node))
            tag = next(name for part in members.values() for name, of in part["properties"].items() if "const" in of)
            key, given = f"{key}.{tag}", problem["input"][tag]
            return mistake(_shown(given), one_of(members), nearest(given, members, "write one of them"))
        case "literal_error":
            known = [name.strip("'") for name in context["expected"].replace(" or ", ", ").split(", ")]
            return mistake(
                _shown(problem["input"]), one_of(known), nearest(problem["input"], known, "write one of them")
            )
        case "string_type" if isinstance(problem["input"], bool | int | float):
            return mistake(_shown(problem["input"]), "text", f'quote it: "{_shown(problem["input"])}"')
        case "string_pattern_mismatch" if context["pattern"] == NAME:
            return mistake(
                _shown(problem["input"]),
                "a name in lower case: a letter, then letters, digits and _, at most 40",
                "rename it",
            )
        case "tuple_type" | "list_type":
            return mistake(
                _shown(problem["input"]), "a list", f"write [{_shown(problem['input']).strip(chr(34))}], for one"
            )
        case "dict_type" | "model_type" | "dataclass_type":
            some = ", ".join(islice(_resolved(schema, node).get("properties", {}), 3))
            fix = f"write them, such as {some}" if some else "write them below it, or {} for none"
            return mistake(_shown(problem["input"]), "keys with values below it", fix)
    return mistake(
        _shown(problem["input"]), needed(problem) or "a value as docs/model-spec.md describes it", "correct the value"
    )


def _walked(schema: dict[str, Any], document: Document, problem: Any) -> list[tuple[str, dict[str, Any]]]:
    """Where a mistake stands in the document: key after key, each with its part of the schema.

    As much of it as the document has: what is written in short has no keys below it. Of a union pydantic also names
    the member that it took, which is no key.
    """
    walked: list[tuple[str, dict[str, Any]]] = []
    node, content = schema, document.content
    for part in (str(part) for part in problem["loc"] if part != "[key]"):
        node = _resolved(schema, node)
        if walked and part in (members := _members(schema, node)):
            node = members[part]
            walked[-1] = (walked[-1][0], node)
            continue
        if isinstance(content, str | int | float):
            break
        if isinstance(content, list):
            if not part.isdecimal() or int(part) >= len(content):
                break
            content = content[int(part)]
        else:
            content = content.get(part) if isinstance(content, dict) else None
        free = [*(node.get("patternProperties") or {}).values(), node.get("additionalProperties"), node.get("items")]
        node = node.get("properties", {}).get(part) or next((each for each in free if isinstance(each, dict)), {})
        walked.append((part, node))
    return walked


def _members(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of a union, by the constant that tells each of them."""
    members = [_resolved(schema, each) for each in node.get("oneOf", ()) if "$ref" in each]
    return {part["const"]: member for member in members for part in member["properties"].values() if "const" in part}


def _known(kind: type[BaseModel], document: Document, problem: Any) -> list[str]:
    """The keys that may stand in the place of an unknown one."""
    schema = _json_schema(kind)
    above = [schema, *(node for _, node in _walked(schema, document, problem))][-2]
    return list(_resolved(schema, above).get("properties", {}))


def _shown(value: object) -> str:
    text = ""
    for part in json.JSONEncoder(default=str).iterencode(value):  # only as much of it as is shown
        text += part[:100]
        if len(text) > 80:
            return text[:77] + "..."
    return text


@cache
def _json_schema(kind: type[BaseModel]) -> dict[str, Any]:
    return kind.model_json_schema()


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
