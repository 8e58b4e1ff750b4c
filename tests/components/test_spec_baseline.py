"""A baseline of one's own: an expression of the inputs of each row, and of nothing else."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import EvidenceMissing, PermanentError, SpecError
from evergreen.model import baseline
from evergreen.model.rows import Rows, inputs
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

VALID = PROJECT / "tests" / "specs" / "valid"


def stating(tmp_path: Path, text: str, model: str = "spot") -> ModelSpec:
    """The model with another baseline, wholly checked."""
    folder = shutil.copytree(VALID / model, tmp_path / model)
    declared = (folder / "model.yaml").read_text()
    stated = "  baseline: 0.9 * price\n"
    declared = declared.replace(stated, "").replace("gates:\n", f"gates:\n  baseline: {text!r}\n")
    (folder / "model.yaml").write_text(declared)
    return load_spec(folder, deep=True)


WRONG = {
    "prise": ["gates.baseline", "prise"],
    "price_later": ["gates.baseline", "price_later"],
    "avg(price)": ["gates.baseline"],
    "lag(price) over (order by event_timestamp)": ["a window, which looks at other rows"],
    "(select max(price) from inputs)": ["a subquery, which looks at other rows"],
    "region": ["it is string", "a number"],
    "price, demand": ["gates.baseline"],
    "random()": ["random()"],
    "price) as _value, (demand": ["gates.baseline"],
    "read_text(region)": ["gates.baseline"],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_expression_of_a_row_is_refused_at_the_check(text: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        stating(tmp_path, text)
    for said in WRONG[text]:
        assert said in str(caught.value), str(caught.value)


def rows_of(spec: ModelSpec, **columns: list[object]) -> Rows:
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame(
        {
            "offer_id": [str(number) for number in range(count)],
            "event_timestamp": pd.Series([datetime(2026, 1, 1, tzinfo=UTC)] * count).astype("datetime64[us, UTC]"),
            "region": "north",
            "demand": 1.0,
            "volume": 1.0,
            "contract_from": 3.0,  # days, as in every training set
            "metered_at": 0.5,
            **columns,
        }
    )
    labels = frame["price_later"].to_numpy(np.float64)
    return Rows(frame, inputs(spec.feature_types, frame), labels, frame["offer_id"].to_numpy(object))


def test_where_it_is_null_the_average_counts_and_that_is_told(tmp_path: Path) -> None:
    spec = stating(tmp_path, "price + 1 -- the price stays, nearly")
    learn = rows_of(spec, price=[1.0, 2.0], price_later=[10.0, 20.0])
    later = rows_of(spec, price=[5.0, None, 7.0], price_later=[1.0, 2.0, 3.0])
    found = baseline.of(spec, learn, later)
    assert found.predictions.tolist() == [6.0, 15.0, 8.0]
    assert "(1 of 3 rows: what the rows that were learned from have on average)" in found.about
    with pytest.raises(EvidenceMissing, match="null in all 2 evaluation rows"):
        baseline.of(spec, learn, rows_of(spec, price=[None, None], price_later=[1.0, 2.0]))


def test_without_one_it_is_what_it_was() -> None:
    spec = load_spec(VALID / "spot")
    spec = spec.model_copy(update={"gates": spec.gates.model_copy(update={"baseline": None})})
    learn = rows_of(spec, price=[1.0, 2.0], price_later=[10.0, 20.0])
    found = baseline.of(spec, learn, learn)
    assert (found.predictions.tolist(), found.about) == ([15.0, 15.0], baseline.AVERAGE)


def test_of_a_binary_label_it_is_a_probability_and_of_several_classes_a_name(tmp_path: Path) -> None:
    renewals = stating(tmp_path, "pages_7d", "renewals")
    assert renewals.problem.stated([0, 1, 0.25]).tolist() == [0, 1, 0.25]
    with pytest.raises(ValueError, match="7, which is no probability"):
        renewals.problem.stated([0.5, 7])
    channels = stating(tmp_path, "last_channel", "channels")
    assert channels.problem.stated(["phone", "web"]).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(ValueError, match="fax, which are not among"):
        channels.problem.stated(["fax"])
    with pytest.raises(SpecError, match="the name of a class"):
        stating(tmp_path / "other", "orders_3d", "channels")


def test_a_value_that_is_no_prediction_is_told_with_the_next_step(tmp_path: Path) -> None:
    spec = stating(tmp_path, "1 / (price - price)")
    learn = rows_of(spec, price=[1.0, 2.0], price_later=[10.0, 20.0])
    with pytest.raises(EvidenceMissing, match="null in all"):
        baseline.of(spec, learn, learn)
    spec = stating(tmp_path / "cast", "cast(region as double)")
    with pytest.raises(PermanentError, match=r"gates\.baseline"):
        baseline.of(spec, learn, learn)
