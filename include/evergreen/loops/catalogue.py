"""docs/loops.md: what follows what in each loop, and what travels between its
tasks, out of the wiring that Airflow runs."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType

from evergreen.handovers import (
    correct,
    described,
    difference,
    fairness,
    gate,
    handover,
    ingest,
    labels,
    monitor,
    rollback,
    rollout,
    selection,
    train,
)
from evergreen.handovers.handover import Handover
from evergreen.loops.wire import Loop, Step
from evergreen.loops.wiring import LOOPS
from evergreen.markdown import table

_MODULES: tuple[ModuleType, ...] = (
    handover,
    ingest,
    labels,
    correct,
    difference,
    selection,
    gate,
    fairness,
    train,
    described,
    monitor,
    rollout,
    rollback,
)
_OPENING = """# The loops

Generated from the wiring (`include/evergreen/loops/wiring.py`) by `evergreen loops`; a test fails when the page is old.
Airflow builds its DAGs from the same wiring, and `evergreen run` runs it in one process.

A task takes what the tasks before it hand over: small values of the types [below](#what-travels-between-tasks). A
dotted arrow means that a task only comes after another one, and reads what it needs from the lake.
"""
_TYPES = """## What travels between tasks

A hand-over is small JSON. It names its shape (`handover`: the type's name and a digest of its fields). A task refuses a
hand-over that is missing or has another shape with `HandoverRefused`, and names the task to clear. Rows travel as
files; a hand-over says where they lie.
"""


def page() -> str:
    """The page, in Markdown."""
    lines = [_OPENING]
    for loop in LOOPS.values():
        lines += _loop(loop)
    lines.append(_TYPES)
    for module in _MODULES:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and node.name not in ("Part", "Handover"):
                lines += _type(module, node)
    return "\n".join(lines).rstrip("\n") + "\n"


def _loop(loop: Loop) -> Iterator[str]:
    yield f"## {loop.name}\n"
    yield f"`<{loop.of}>__{loop.name}`: {loop.about}.\n"
    if len(loop.steps) > 1:
        yield "```mermaid\nflowchart LR"
        for step in loop.steps:
            yield from (f"    {giver.name} --> {step.name}" for giver in step.given.values())
            yield from (f"    {earlier.name} -.-> {step.name}" for earlier in step.after)
        yield "```\n"
    yield from table(("task", "takes", "hands over", "what it does"), (_step(step) for step in loop.steps))
    yield ""


def _step(step: Step) -> Sequence[str]:
    if step.stage is None:
        (wanted,) = step.given.values()
        return (
            f"`{step.name}`",
            _type_link(wanted),
            "",
            f"Start the run of `<model>__{step.starts}` that it is given, once.",
        )
    takes = ", ".join(
        _type_link(giver) + (f", one per {giver.over}" if giver.over else "") for giver in step.given.values()
    )
    name = f"`{step.name}`" + (f", one per {step.over}" if step.over else "")
    return name, takes, _type_link(step), inspect.getdoc(step.stage).partition("\n\n")[0].replace("\n", " ")  # type: ignore[union-attr]  # a test asks for every stage's docstring


def _type_link(step: Step) -> str:
    name = step.hands_over.__name__
    return f"[{name}](#{name.lower()})"


def _type(module: ModuleType, node: ast.ClassDef) -> Iterator[str]:
    kind = getattr(module, node.name)
    yield f"### {node.name}\n"
    yield (ast.get_docstring(node) or "").replace("\n", " ")
    if isinstance(kind, type) and issubclass(kind, Handover):
        base = kind.__mro__[1]
        if base is not Handover:
            yield f"It has the fields of [{base.__name__}](#{base.__name__.lower()}) too."
        if kind.carried:
            yield f"Its asset event carries {_names(name.rpartition('.')[2] for name in kind.carried)}."
        if kind.pages:
            yield f"Its task shows: {', '.join(link.value for link in kind.pages.values())}."
    yield ""
    yield from table(("field", "type", "what it holds"), _fields(node))
    yield ""


def _fields(node: ast.ClassDef) -> Iterator[Sequence[str]]:
    """The fields that a class declares itself, each with the text below it."""
    for field, following in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(following, ast.Expr):
            holds = ast.literal_eval(following.value).replace("\n", " ")
            kind = ast.unparse(field.annotation).replace("|", "or")
            yield f"`{ast.unparse(field.target)}`", kind, holds


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
