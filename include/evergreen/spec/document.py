"""YAML as a spec is written in: nothing is guessed, nothing is lost, and every key knows its line.

Plain YAML 1.1 would drop the first of two equal keys, read `no` as false and `10:30` as 630, and allow Python objects. Here
a repeated key is an error, and what is not plainly a number, true, false or null is text; dates stay text for the schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from evergreen.spec.mistakes import Mistake

_TEXT = "tag:yaml.org,2002:str"
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml is ten times faster
    """Finds the structure; what a scalar means is decided here, so it resolves none."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


@dataclass(frozen=True)
class Document:
    """What a file says, as JSON-like values, and what is wrong with it as YAML."""

    file: str
    content: Any = None  # None when the file cannot be read at all
    mistakes: list[Mistake] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)  # dotted key → line, counted from 1

    def line(self, key: str) -> int | None:
        """The line of a key, or of the nearest key above it that is in the file."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return self.lines.get(key)


def read(path: Path, file: str) -> Document:
    """The document of a file; `file` is how mistakes name it. Never raises for what the file holds."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        try:
            root = loader.get_single_node()
            if root is None:
                return _unreadable(file, "an empty file", None)
            document = Document(file)
            content = _content(root, (), document, ())
            return Document(file, content, document.mistakes, document.lines)
        finally:
            loader.dispose()
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError) as error:
        mark = getattr(error, "problem_mark", None)
        return _unreadable(file, str(getattr(error, "problem", error)), mark.line + 1 if mark else None)
    except UnicodeDecodeError as error:
        return _unreadable(file, f"bytes that are not UTF-8 at position {error.start}", None)
    except OSError as error:
        return _unreadable(file, error.strerror or str(error), None)


def _unreadable(file: str, found: str, line: int | None) -> Document:
    return Document(file, mistakes=[Mistake(file, "", found, "YAML in UTF-8", "correct the file", line)])


def _content(node: yaml.Node, path: tuple[str, ...], document: Document, above: tuple[int, ...]) -> Any:
    """The value of a node; its mistakes and lines are added to the document."""
    key, line = ".".join(path), node.start_mark.line + 1
    document.lines.setdefault(key, line)

    def wrong(at: str, line: int, found: str, allowed: str, fix: str) -> None:
        document.mistakes.append(Mistake(document.file, at, found, allowed, fix, line))

    if id(node) in above:
        wrong(key, line, "an alias of a key that it stands in", "a value that ends", "write the value itself")
        return None
    within = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name, name_line = str(key_node.value), key_node.start_mark.line + 1
            at = (*path, name)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TEXT or _scalar(key_node) != name:
                wrong(
                    key,
                    name_line,
                    f"a key {name[:40]}",
                    "keys that are names",
                    f'rename it, or quote it: "{name[:40]}"',
                )
            elif name in content:
                first = document.lines[".".join(at)]
                wrong(
                    ".".join(at),
                    name_line,
                    f"{name} for the second time (first in line {first})",
                    "each key once",
                    "remove one",
                )
            else:
                document.lines[".".join(at)] = name_line
                content[name] = _content(value_node, at, document, within)
        return content
    if isinstance(node, yaml.SequenceNode):
        return [_content(item, (*path, str(n)), document, within) for n, item in enumerate(node.value)]
    if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT:
        wrong(
            key,
            line,
            f"the tag {node.tag}",
            "plain text, numbers, true, false, lists and mappings",
            "leave out the tag",
        )
        return None
    return _scalar(node)


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text = str(node.value)
    if node.style:  # quoted, or a block; plain text has None or an empty one, by the parser
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
