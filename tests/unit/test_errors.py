"""Errors survive pickling, tell the whole story, and each has its place in the on-call guide."""

from __future__ import annotations

import ast
import inspect
import pickle
import re

import pytest

from evergreen import errors
from evergreen.settings import PROJECT

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EvergreenError)]
RAISED = [kind for kind in KINDS if kind not in (errors.EvergreenError, errors.TransientError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_comes_back_from_another_process(kind: type[errors.EvergreenError]) -> None:
    error = kind("reading a batch", found="nothing", expected="a file", next_step="ask upstream")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.next_step) == (kind, str(error), "ask upstream")
    assert str(error).splitlines()[0] == "Failed while reading a batch"
    assert str(error).splitlines()[-1].strip() == "next step: ask upstream"


def test_what_a_message_forgot_to_quote_hides_nothing() -> None:
    error = errors.PermanentError("a\x1b[31mb", found="1\n 2\u202e3\r4\u2028", expected="a\ttab", next_step="\u3164")
    lines = str(error).split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[1:3] == ["  found:     1", r" 2\u202e3\r4\u2028"], "a list stays a list"
    assert error.next_step == r"\u3164" and str(pickle.loads(pickle.dumps(error))) == str(error)


def test_every_error_is_permanent_or_transient() -> None:
    families = (errors.PermanentError, errors.TransientError)
    assert all(issubclass(kind, families) for kind in KINDS if kind is not errors.EvergreenError)


def raisable() -> set[str]:
    """Every class of an error of ours, by the source of all packages:
    those that have no subclass of their own reach a user."""
    bases: dict[str, set[str]] = {}
    for path in (PROJECT / "include").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    ours, before = {"EvergreenError"}, set[str]()
    while ours != before:
        before, ours = ours, ours | {name for name, parents in bases.items() if parents & ours}
    return ours - {"EvergreenError", "TransientError"}


def test_the_on_call_guide_explains_every_error_and_no_other() -> None:
    guide = (PROJECT / "docs" / "runbooks" / "on-call.md").read_text()
    explained = set(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE))
    assert raisable() >= {kind.__name__ for kind in RAISED}, "the search finds what is there"
    assert explained == raisable(), "docs/runbooks/on-call.md has a row for each error that the package can raise"
