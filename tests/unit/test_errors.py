"""Errors survive pickling, tell the whole story, and each has its place in the on-call guide."""

from __future__ import annotations

import inspect
import pickle

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


def test_every_error_is_permanent_or_transient() -> None:
    families = (errors.PermanentError, errors.TransientError)
    assert all(issubclass(kind, families) for kind in KINDS if kind is not errors.EvergreenError)


@pytest.mark.parametrize("kind", RAISED)
def test_the_on_call_guide_explains_it(kind: type[errors.EvergreenError]) -> None:
    guide = (PROJECT / "docs" / "runbooks" / "on-call.md").read_text()
    assert f"| `{kind.__name__}` |" in guide, f"docs/runbooks/on-call.md has no row for {kind.__name__}"
