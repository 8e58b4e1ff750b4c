"""Hand-overs come back as they were left, and what is none, or has another shape, is refused in words."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from evergreen import handovers
from evergreen.errors import HandoverRefused, PermanentError
from evergreen.handovers import handover
from evergreen.handovers.gate import Gate
from evergreen.handovers.handover import MARK, Handover, Part
from evergreen.handovers.ingest import PublishedFeatures, WrittenPartition
from evergreen.handovers.monitor import Collected, Reported
from evergreen.handovers.train import Candidate, Refitted
from evergreen.links import Link
from tests.handovers import decided, judged, tracked

MODULES = [
    importlib.import_module(f"evergreen.handovers.{submodule.name}")
    for submodule in pkgutil.iter_modules(handovers.__path__)
]


def kinds(base: type[Part]) -> list[type[Part]]:
    classes = {
        each
        for module in MODULES
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, base) and each not in (Part, Handover)
    }
    return sorted(classes, key=lambda each: each.__name__)


HANDOVERS = [each for each in kinds(Handover) if issubclass(each, Handover)]


def read(kind: type[Handover], value: object) -> Handover:
    return kind.from_json(value, task="earlier", subject="churn 2026-01-01")


def through_xcom(value: Handover) -> Any:
    """As Airflow keeps it: JSON text in its database."""
    return json.loads(json.dumps(value.to_json()))


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    scores=st.dictionaries(st.text(max_size=5), st.none() | FINITE),
    reason=st.text(max_size=20),
    gates=st.lists(
        st.builds(
            Gate,
            st.text(max_size=5),
            st.none() | FINITE,
            st.none() | FINITE,
            st.sampled_from(["pass", "fail", "no evidence"]),
            st.text(max_size=5),
        ),
        max_size=3,
    ),
    version=st.none() | st.integers(0, 2**40),
)
def test_a_hand_over_comes_back_as_it_was_left(
    scores: dict[str, float | None], reason: str, gates: list[Gate], version: int | None
) -> None:
    left = judged("r", scores=scores, reason=reason, gates=tuple(gates), compared_with=version)
    assert read(Refitted, through_xcom(left)) == left


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_moments_keep_their_zone_and_their_microseconds(moment: datetime) -> None:
    left = decided(action="retrain", changed_at=moment)
    back = read(type(left), through_xcom(left))
    assert back == left and back.changed_at.tzinfo is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "marked a success by hand"),
        ("text", "'text'"),
        ({}, "without a mark"),
        ({MARK: "Refitted/00000000"}, "another release wrote it"),
        (tracked("r").model_dump() | {MARK: Refitted.mark()}, "validation error"),
        (through_xcom(judged("r")) | {"passed": "yes"}, "passed"),
        (through_xcom(judged("r")) | {"extra": 1}, "extra"),
        ({name: value for name, value in through_xcom(judged("r")).items() if name != "key"}, "key"),
        (through_xcom(decided()), "Decided/"),
    ],
)
def test_what_is_no_hand_over_of_the_kind_is_refused_with_the_task_to_clear(value: object, said: str) -> None:
    with pytest.raises(HandoverRefused) as refused:
        read(Refitted, value)
    error = refused.value
    assert isinstance(error, PermanentError), "a retry would fail the same way"
    assert said in error.found and error.expected.startswith(Refitted.mark())
    assert "the task earlier of churn 2026-01-01" in error.doing and "clear `earlier`" in error.next_step


def test_the_mark_is_of_the_shape_and_of_no_prose(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {kind.mark() for kind in HANDOVERS}
    assert len(marks) == len(HANDOVERS) > 15

    class Told(Handover):
        """One prose."""

        rows: int
        title: str

    before = Told.mark()

    def again(**fields: Any) -> str:
        namespace: dict[str, Any] = {"__annotations__": fields, "__module__": __name__, "__doc__": "Another prose."}
        return type("Told", (Handover,), namespace).mark()  # type: ignore[attr-defined, no-any-return]

    assert again(rows=int, title=str) == before
    others = [
        again(rows=float, title=str),
        again(rows=int),
        again(rows=int, titles=str),
        again(rows=int | None, title=str),
    ]
    assert before not in others and len(set(others)) == 4


def test_every_hand_over_is_frozen_strict_and_finite() -> None:
    candidate = Candidate(family="f", run=tracked("r"), search_score=0.5, trials=1)
    with pytest.raises(ValidationError):
        candidate.trials = 2  # type: ignore[misc]
    for wrong in ({"trials": "1"}, {"trials": 1.0}, {"search_score": float("nan")}, {"family": None}, {"more": 1}):
        with pytest.raises(ValidationError):
            Candidate(**dict(candidate) | wrong)


def test_every_field_of_every_type_is_documented() -> None:
    fields = {
        f"{module.__name__}.{node.name}.{field.target.id}": following
        for module in MODULES
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if (isinstance(node, ast.ClassDef) and module is not handover)
        or (isinstance(node, ast.ClassDef) and node.name in ("Staged", "TrackedRun"))
        for field, following in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if not ast.unparse(field.annotation).startswith("ClassVar")
    }
    assert len(fields) > 70
    bare = [
        name
        for name, following in fields.items()
        if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant))
    ]
    assert not bare, f"say what they hold, in a text below each: {bare}"
    assert all(kind.__doc__ for kind in kinds(Part))


@pytest.mark.parametrize("kind", HANDOVERS)
def test_what_an_event_carries_and_which_pages_a_task_shows_are_fields_of_the_type(kind: type[Handover]) -> None:
    for name in (*kind.carried, *kind.pages):
        at: Any = kind
        for part in name.split("."):
            assert part in at.model_fields or isinstance(getattr(at, part, None), property), f"{kind.__name__}.{name}"
            at = at.model_fields[part].annotation if part in at.model_fields else None
    assert all(isinstance(link, Link) for link in kind.pages.values())


def test_an_asset_event_carries_a_few_numbers_and_leaves_out_what_is_not_known() -> None:
    written = WrittenPartition(rows=3, content_hash="a", version=7)
    published = PublishedFeatures(views={"one": {"2026-01-01": written}, "two": {"2026-01-01": written}}, left=())
    extra = published.extra()
    assert (extra["rows"], extra["partitions"]) == (6, 2) and len(str(extra["content_hash"])) == 32
    other = PublishedFeatures(views={"one": {"2026-01-01": written}, "two": {}}, left=())
    assert other.extra()["content_hash"] != extra["content_hash"]
    assert decided().extra() == {"action": "none", "decision_id": "d", "triggers": False}
    assert Collected(partition="p", rows=1, version=None, champion=None, ages={}, warnings=()).extra() == {}


def test_a_page_that_there_is_not_is_no_link() -> None:
    reported = Reported(page="http://w", drift=None, performance="http://p")
    assert reported.links() == {Link.WINDOW: "http://w", Link.PERFORMANCE_REPORT: "http://p"}


@pytest.mark.parametrize("kind", HANDOVERS)
def test_every_hand_over_is_plain_json(kind: type[Handover]) -> None:
    """What a schema cannot say, Airflow's database, the UI and another language could not read."""
    assert TypeAdapter(kind).json_schema()["type"] == "object"


@pytest.mark.parametrize(("value", "expected"), [(0.5, 0.5), (None, None), (float("nan"), None), (float("inf"), None)])
def test_only_a_number_that_can_be_compared_is_kept(value: float | None, expected: float | None) -> None:
    assert handover.finite(value) == expected
