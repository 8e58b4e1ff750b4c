"""YAML as a spec is written in: nothing is guessed, nothing is lost, and every key knows its line.

Plain YAML 1.1 would drop the first of two equal keys, read `no` as false and `10:30` as 630, and allow Python objects.
Here a repeated key is an error, and what is not plainly a number, true, false or null is text; dates stay text for the
schema.

A file is measured before anything is built from it: libyaml ends the process at great depth,
and an alias may stand for a billion nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from evergreen.spec.files import Budget, Unreadable, text
from evergreen.spec.mistakes import Mistake

MOST_DEPTH = 20  # lists and mappings within one another; model.yaml itself needs 5
MOST_NODES = 20_000  # keys, values, lists and mappings, with every alias written out
_LONGEST_KEY = 100
_LONGEST_NUMBER = 40  # characters
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
    missing: bool = False  # there is no such file

    def line(self, key: str) -> int | None:
        """The line of a key, or of the nearest key above it that is in the file."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return self.lines.get(key)


def read(path: Path, file: str, folder: Path, budget: Budget | None = None) -> Document:
    """The document of a file of a model's folder; `file` is how mistakes name it. Never raises for what the file holds.

    Raises:
        TooMuch: the folder's budget does not suffice.
    """
    try:
        written = text(path, folder, budget)
        if (excess := _excess(written, budget or Budget())) is not None:
            return Document(file, mistakes=[Mistake(file, "", *excess)])
        loader = _Loader(written)
        try:
            root = loader.get_single_node()
            if root is None:
                return _unreadable(file, "an empty file", None)
            document = Document(file)
            content = _content(root, (), document, ())
            if content is None and not document.mistakes:
                return _unreadable(file, "nothing but null", root.start_mark.line + 1)
            return Document(file, content, document.mistakes, document.lines)
        finally:
            loader.dispose()
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError) as error:
        mark = getattr(error, "problem_mark", None)
        return _unreadable(file, str(getattr(error, "problem", error)), mark.line + 1 if mark else None)
    except Unreadable as error:
        return _unreadable(file, error.found, None, missing=error.missing)


def _unreadable(file: str, found: str, line: int | None, *, missing: bool = False) -> Document:
    mistake = Mistake(file, "", found, "YAML in UTF-8", "correct the file", line)
    return Document(file, mistakes=[mistake], missing=missing)


@dataclass
class _Node:
    """A value of a document, as far as its size counts."""

    anchor: str | None
    nodes: int = 1  # itself and all below it, aliases written out
    depth: int = 1


def _excess(written: str, budget: Budget) -> tuple[str, str, str, int] | None:
    """What is too much about a document, as a mistake's found, allowed, fix and
    line, from the parser's events alone."""

    anchors: dict[str, _Node] = {}
    above = [_Node(None)]
    begun = 0  # nodes; those of a list count for the one around it only where it ends
    try:
        for event in yaml.parse(written, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                above.append(_Node(event.anchor))
                node = above[-1]
            elif isinstance(event, yaml.CollectionEndEvent):
                node = above.pop()
            elif isinstance(event, yaml.AliasEvent):
                node = anchors.get(str(event.anchor), _Node(None))
            elif isinstance(event, yaml.ScalarEvent):
                node = _Node(event.anchor)
            else:
                continue
            begun += not isinstance(event, yaml.CollectionEndEvent)
            line = event.start_mark.line + 1 if event.start_mark else 1
            if len(above) - 1 + node.depth > MOST_DEPTH + 1:
                return (
                    "lists and mappings that are nested deeper",
                    f"a depth of at most {MOST_DEPTH}",
                    "write it flat",
                    line,
                )
            if node is above[-1]:
                continue  # counted where it ends
            above[-1].nodes += node.nodes
            above[-1].depth = max(above[-1].depth, node.depth + 1)
            if max(begun, above[-1].nodes) > MOST_NODES:
                counted = "aliases and values" if anchors else "values"
                return (
                    f"too many {counted}",
                    f"at most {MOST_NODES:,} values, every alias written out",
                    "write less, or make several models",
                    line,
                )
            if node.anchor is not None and not isinstance(event, yaml.AliasEvent):
                anchors[node.anchor] = node
    finally:
        budget.spend(nodes=max(begun, above[0].nodes))
    return None


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
            name, name_line = _name(key_node), key_node.start_mark.line + 1
            at = (*path, name)
            if len(name) > _LONGEST_KEY:
                wrong(key, name_line, f"a key of {len(name):,} characters", "keys that are names", "shorten it")
            elif not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TEXT or _scalar(key_node) != name:
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


def _name(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "with values below it"


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    plain = str(node.value)
    if node.style:  # quoted, or a block; plain text has None or an empty one, by the parser
        return plain
    if plain in _WORDS:
        return _WORDS[plain]
    if len(plain) > _LONGEST_NUMBER:  # what a pattern makes of a million digits takes hours
        return plain
    if _WHOLE.fullmatch(plain):
        return int(plain)
    return float(plain) if _NUMBER.fullmatch(plain) else plain
