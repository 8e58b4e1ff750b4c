"""Which rows train, which evaluate, which folds score a trial; what makes two trainings the same."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evergreen.interval import DAY
from evergreen.model.code import spec_hash
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules
from tests.small_models import tiny

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
few_days = st.integers(1, 10)


def spec_of(horizon: int = 2, window: int = 18, evaluation: int = 3, **changes: Any) -> ModelSpec:
    sections = {
        "label": {"name": "churned", "horizon": f"{horizon}d", "sources": ("events",)},
        "split": {"window": f"{window}d", "evaluation": f"{evaluation}d", "minimum_rows": 1},
    }
    return tiny(**sections | changes)


def cutoffs_before(as_of: datetime, days: int = 60) -> list[datetime]:
    return [as_of - number * DAY for number in range(days)]


@given(
    horizon=few_days,
    evaluation=few_days,
    window=st.integers(1, 50),
    changed=st.none() | st.integers(0, 60),
    late=few_days,
)
def test_no_row_uses_a_label_that_was_not_mature_when_it_was_needed(
    horizon: int, evaluation: int, window: int, changed: int | None, late: int
) -> None:
    changed_at = None if changed is None else AS_OF - changed * DAY
    split = rules.split(AS_OF, spec_of(horizon, window, evaluation), changed_at)
    moments = cutoffs_before(AS_OF)
    for cutoff, known in [(moment, moment + days * DAY) for moment in moments for days in (horizon, horizon + late)]:
        if split.learns(cutoff, known):
            assert known <= split.evaluate_from, (
                "a learning label matures before the first evaluated prediction is made"
            )
            assert AS_OF - window * DAY <= cutoff, "within the window"
        if split.evaluates(cutoff, known):
            assert changed_at is None or cutoff >= changed_at, "not from before the change"
            assert known <= AS_OF, "an evaluation label is mature as of the run"
        assert not (split.learns(cutoff, known) and split.evaluates(cutoff, known)), "an evaluated row is untouched"


@given(
    outcomes=st.lists(st.tuples(st.integers(0, 60), st.none() | st.integers(0, 50)), min_size=1, max_size=40),
    horizon=few_days,
    evaluation=few_days,
)
def test_each_prediction_is_a_row_or_counted_as_open_and_none_is_both(
    outcomes: list[tuple[int, int | None]], horizon: int, evaluation: int
) -> None:
    """Outcomes that become known each at a moment of its own, or never: days ago, and the delay in days."""
    split = rules.split(AS_OF, spec_of(horizon, 60, evaluation))
    made = [AS_OF - ago * DAY for ago, _ in outcomes]
    known = [None if delay is None else moment + delay * DAY for moment, (_, delay) in zip(made, outcomes, strict=True)]
    moments = pd.Series(made, dtype="datetime64[us, UTC]"), pd.Series(known, dtype="datetime64[us, UTC]")
    learned = [split.learn_from <= moment <= split.learn_to for moment in made]
    evaluated = [split.evaluate_from <= moment <= split.evaluate_to for moment in made]
    in_time = [moment is not None and moment <= split.evaluate_from for moment in known]
    by_now = [moment is not None and moment <= AS_OF for moment in known]
    assert list(split.learns(*moments)) == [a and b for a, b in zip(learned, in_time, strict=True)]
    assert list(split.evaluates(*moments)) == [a and b for a, b in zip(evaluated, by_now, strict=True)]
    assert split.still_open(*moments) == (
        sum(a and not b for a, b in zip(learned, in_time, strict=True)),
        sum(a and not b for a, b in zip(evaluated, by_now, strict=True)),
    )


@given(
    days=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=40),
    horizon=few_days,
    evaluation=few_days,
    requests=st.booleans(),
)
def test_the_mask_of_columns_is_that_of_their_rows(
    days: list[tuple[int, int]], horizon: int, evaluation: int, requests: bool
) -> None:
    """Training and the monitor hold columns; what is said of a single row above holds for them."""
    options: dict[str, Any] = {"request": {"sources": ("events",)}} if requests else {}
    split = rules.split(AS_OF, spec_of(horizon, 60, evaluation, **options))
    rows = [(AS_OF - ago * DAY, AS_OF - ago * DAY + delay * DAY) for ago, delay in days]
    frame = pd.DataFrame(rows, columns=["cutoff", "known_at"], dtype="datetime64[us, UTC]")
    for named in ("learns", "evaluates", "mask"):
        rule = getattr(split, named)
        assert list(rule(frame["cutoff"], frame["known_at"])) == [rule(*row) for row in rows]


@given(horizon=few_days, evaluation=few_days)
def test_the_evaluation_is_the_latest_mature_stretch_and_has_as_many_days_as_declared(
    horizon: int, evaluation: int
) -> None:
    split = rules.split(AS_OF, spec_of(horizon, 60, evaluation))
    evaluated = [cutoff for cutoff in cutoffs_before(AS_OF) if split.evaluates(cutoff, AS_OF)]
    assert len(evaluated) == evaluation
    assert max(evaluated) == AS_OF - horizon * DAY


@pytest.mark.parametrize("hours", [1, 6, 23.9])
@pytest.mark.parametrize("evaluation", [1, 4])
def test_a_training_at_any_hour_evaluates_as_many_days_as_declared(hours: float, evaluation: int) -> None:
    split = rules.split(AS_OF + timedelta(hours=hours), spec_of(2, 60, evaluation))
    assert split == rules.split(AS_OF, spec_of(2, 60, evaluation)) or split.learn_from > AS_OF - 60 * DAY
    evaluated = [cutoff for cutoff in cutoffs_before(AS_OF + DAY) if split.evaluates(cutoff, AS_OF)]
    assert (len(evaluated), max(evaluated)) == (evaluation, AS_OF - 2 * DAY)


@given(horizon=few_days, evaluation=few_days)
def test_the_purge_takes_no_day_more_than_the_labels_need(horizon: int, evaluation: int) -> None:
    split = rules.split(AS_OF, spec_of(horizon, 60, evaluation))
    last = split.evaluate_from - horizon * DAY
    assert split.learns(last, last + horizon * DAY)
    assert not split.learns(last + timedelta(microseconds=1), last + horizon * DAY + timedelta(microseconds=1))


@given(horizon=few_days, evaluation=few_days, minutes=st.integers(0, 60 * 24 * 60), lead=st.integers(0, 24 * 60))
def test_requests_are_told_apart_by_when_their_own_labels_were_known(
    horizon: int, evaluation: int, minutes: int, lead: int
) -> None:
    """A request is made within its interval or up to a day before;
    its label is known a horizon after the interval's end."""
    spec = spec_of(horizon, 60, evaluation, request={"sources": ("events",)})
    split = rules.split(AS_OF, spec)
    event = AS_OF - timedelta(minutes=minutes)
    day_end = AS_OF - ((AS_OF - event) // DAY) * DAY if event != AS_OF else AS_OF
    requested_at, known = event - timedelta(minutes=lead), day_end + horizon * DAY
    assert known - requested_at <= spec.asking.label_delay, "folds keep at least so much apart"
    if split.learns(requested_at, known):
        assert known <= split.evaluate_from
        assert not split.evaluates(requested_at, known)
    if known <= AS_OF and requested_at >= split.evaluate_from:
        assert split.evaluates(requested_at, known), (
            "whatever is mature and later than the evaluation's start is evaluated"
        )


@given(days=st.sets(st.integers(0, 40), min_size=1), horizon=few_days, wanted=st.integers(2, 10))
def test_folds_never_look_ahead(days: set[int], horizon: int, wanted: int) -> None:
    cutoffs = [AS_OF + number * DAY for number in days]
    folds = rules.folds(cutoffs, lambda moment: moment - horizon * DAY, wanted)
    assert len(folds) <= wanted
    for fold in folds:
        learns = [cutoff for cutoff in cutoffs if cutoff <= fold.learn_to]
        scores = [cutoff for cutoff in cutoffs if fold.score_from <= cutoff <= fold.score_to]
        assert learns and scores, "a fold has something to learn from and something to score"
        assert max(learns) + horizon * DAY <= min(scores), "what it learns from was mature when its scoring starts"
    for earlier, later in itertools.pairwise(folds):
        assert earlier.score_to < later.score_from, "no row is scored twice, the latest are scored last"
    if folds:
        assert folds[-1].score_to == max(cutoffs), "the newest day is scored"


@given(length=st.integers(1, 40), horizon=few_days, wanted=st.integers(2, 10))
def test_there_are_as_many_folds_as_wanted_when_the_days_allow_it(length: int, horizon: int, wanted: int) -> None:
    folds = rules.folds([AS_OF + n * DAY for n in range(length)], lambda moment: moment - horizon * DAY, wanted)
    assert len(folds) == max(0, min(wanted, length - horizon))


KEY = {
    "model": "tiny",
    "as_of": AS_OF,
    "content_hash": "content",
    "spec_hash": "spec",
    "code_hash": "code",
    "seed": 7,
    "changed_at": None,
}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("model", "small"),
        ("as_of", AS_OF + DAY),
        ("content_hash", "c"),
        ("spec_hash", "s"),
        ("code_hash", "k"),
        ("seed", 8),
        ("changed_at", AS_OF),
    ],
)
def test_the_training_key_depends_on_each_of_its_inputs(name: str, other: object) -> None:
    assert set(KEY) == set(rules.training_key.__annotations__) - {"return"}, "an input was added without a test"
    assert rules.training_key(**KEY) == rules.training_key(**KEY)
    assert rules.training_key(**KEY) != rules.training_key(**KEY | {name: other})


def test_a_training_without_a_change_has_the_key_that_earlier_releases_gave_it() -> None:
    assert rules.training_key("tiny", AS_OF, "content", "spec", "code", 7) == "7b35ad0bd84ad31d"


@given(
    texts=st.tuples(st.text(max_size=3), st.text(max_size=3)),
    others=st.tuples(st.text(max_size=3), st.text(max_size=3)),
)
def test_no_two_inputs_run_into_each_other_in_the_key(texts: tuple[str, str], others: tuple[str, str]) -> None:
    assume(texts != others)
    keys = {rules.training_key("tiny", AS_OF, one, two, "code", 7) for one, two in (texts, others)}
    assert len(keys) == 2


def test_the_spec_hash_depends_on_what_is_declared_and_on_each_query(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    for name in ("features/spend.sql", "label.sql"):
        (tmp_path / name).write_text("select 1")
    spec = spec_of().at(tmp_path)
    seen = {spec_hash(spec)}
    assert spec_hash(spec_of().at(tmp_path)) in seen, "the same declaration, read again"
    seen.add(spec_hash(spec_of(horizon=3).at(tmp_path)))
    for name in ("features/spend.sql", "label.sql"):
        (tmp_path / name).write_text("select 2")
        seen.add(spec_hash(spec))
    assert len(seen) == 4
