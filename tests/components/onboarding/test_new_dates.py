"""`evergreen new`: dates, however they are written, and those of a file in which no time counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen import cli
from evergreen.lake.schema import UNPARSED
from evergreen.onboarding import sample
from evergreen.onboarding.outcome import LabelUnclear
from evergreen.settings import Settings
from tests.components.onboarding.test_new import begun, drafted, here, landed, visits

__all__ = ["here"]  # a fixture


def members(rows: int = 1_200) -> pd.DataFrame:
    """Members as one table: who joined long ago stays."""
    random = np.random.default_rng(11)
    ago = random.integers(0, 3_000, rows)
    joined = pd.Timestamp("2024-05-03") - pd.to_timedelta(ago, unit="D")
    stays = random.random(rows) < 1 / (1 + np.exp((1_500 - ago) / 300))
    return pd.DataFrame(
        {
            "member": [f"m{number}" for number in range(rows)],
            "joined": joined,
            "fee": random.integers(10, 30, rows),
            "stays": np.where(stays, "Yes", "No"),
        }
    )


@pytest.mark.parametrize("hours", [False, True])
def test_a_file_without_a_time_that_counts_learns_from_its_dates(here: Settings, tmp_path: Path, hours: bool) -> None:
    file, frame = tmp_path / "members.csv", members()
    if hours:
        frame["joined"] += pd.Timedelta(hours=5)
    frame.to_csv(file, index=False)
    made = begun(here, "members", file, "stays", timeless=True)
    assert made.draft.style == "batch" and set(made.draft.inputs) == {"joined_ago", "fee"}
    assert made.draft.inputs["joined_ago"][0] == ("float" if hours else "int")
    assert sample.first_fit(made.spec, made.rows).score > 0.9
    rows = landed(here, made)
    assert rows.num_rows == len(frame) and rows[UNPARSED.name].null_count == len(frame)


def test_times_that_do_not_follow_each_other_are_inputs_too(here: Settings, tmp_path: Path) -> None:
    file, frame = tmp_path / "members.csv", members()
    years = frame["joined"].dt.year.astype(str)
    frame["joined"] = "31.12." + years
    frame["seen"] = np.where(frame.index % 2, "2024-01-01", "2023-01-01")
    frame.to_csv(file, index=False)
    made = begun(here, "members", file, "stays")
    assert made.draft.style == "batch", "no length of interval has rows in a row"
    assert {"joined_ago", "seen_ago", "fee"} == set(made.draft.inputs)
    assert sample.first_fit(made.spec, made.rows).score > 0.85


def test_a_date_that_tells_the_outcome_is_left_out_of_a_file_without_time(tmp_path: Path) -> None:
    frame = members()
    gone = frame["joined"].min() + pd.to_timedelta(np.where(frame["stays"] == "Yes", 9_000, 0) + frame.index % 90, "D")
    draft = drafted(tmp_path, frame.assign(last_seen=gone), "stays", timeless=True)  # type: ignore[arg-type]
    assert set(draft.left_out) == {"stays", "last_seen"} and "area under the curve" in draft.left_out["last_seen"]


def test_no_time_is_said_on_the_command_line(
    here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "visits.csv"
    visits().to_csv(file, index=False)
    command = ["new", "visits", "--from", str(file), "--label", "ordered", "--no-time"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "no time: one batch, split by a hash of the key" in said and "at_value: timestamp: an input" in said
    written = (here.models / "visits" / "model.yaml").read_text()
    assert "--label ordered --no-time`" in written and "train: null" in written
    with pytest.raises(SystemExit):
        cli.main([*command, "--time", "at"])


FORMS = [
    *("%d.%m.%y", "%d/%m/%Y %H:%M", "%m/%d/%y", "%b %d, %Y", "%d-%b-%y", "%m/%d/%Y, %I:%M %p", "%a, %d %b %Y"),
    *("%d.%m.%Y %H:%M:%S.%f", "%d/%m/%YT%H:%M", "%Y.%m.%d", "%d/%b/%Y:%H:%M:%S +0000", "%Y%m%d%H%M%S"),
]


@pytest.mark.parametrize("form", FORMS)
def test_times_are_read_as_they_are_written(here: Settings, tmp_path: Path, form: str) -> None:
    file, frame = tmp_path / "visits.csv", visits()[["visit", "at", "pages", "ordered"]]
    frame.assign(at=frame["at"].dt.strftime(form)).to_csv(file, index=False)
    made = begun(here, "visits", file, "ordered", time="at")
    assert made.draft.profile.column("at_value").form == form.replace("+0000", "%z")
    rows = landed(here, made)
    assert rows[UNPARSED.name].null_count == len(frame)
    unit = "min" if "%M" in form else "D"
    assert (rows["at_value"].to_pandas().dt.tz_localize(None).dt.floor(unit) == frame["at"].dt.floor(unit)).all()


def ambiguous(rows: int = 600) -> pd.DataFrame:
    """Rows in no order, of days from 1 to 12."""
    random = np.random.default_rng(4)
    frame = visits(rows)[["visit", "pages", "ordered"]]
    return frame.assign(seen=[f"{random.integers(1, 13):02}/{random.integers(1, 13):02}/2024" for _ in range(rows)])


def test_days_and_months_that_nothing_tells_apart_are_asked_for(here: Settings, tmp_path: Path) -> None:
    file = tmp_path / "it.csv"
    ambiguous().to_csv(file, index=False)
    with pytest.raises(LabelUnclear, match=r"'seen' has days and months that nothing tells apart: '../../2024' may be"):
        begun(here, "it", file, "ordered")
    assert cli.main(["new", "it", "--from", str(file), "--label", "ordered", "--dates", "day-first"]) == 0
    assert 'format: "%d/%m/%Y"' in (here.models / "it" / "model.yaml").read_text()


@pytest.mark.parametrize(
    ("form", "seen"),
    [
        ("%d/%m/%Y", pd.date_range("2023-01-01", periods=600, freq="MS")),
        ("%m/%d/%Y", pd.date_range("1983-01-01", periods=600, freq="MS")),
        ("%d/%m/%Y", [*pd.date_range("2023-01-01", "2023-01-12"), *pd.date_range("2023-02-01", "2023-02-12")]),
        ("%m/%d/%Y", [*pd.date_range("2023-01-01", "2023-01-12"), *pd.date_range("2023-02-01", "2023-02-12")]),
    ],
)
def test_months_and_rows_in_order_tell_days_from_months(tmp_path: Path, form: str, seen: pd.DatetimeIndex) -> None:
    frame = visits(len(seen))[["visit", "pages", "ordered"]].assign(seen=pd.DatetimeIndex(seen).strftime(form))
    if len(seen) == 600:
        frame = frame.sample(frac=1, random_state=1)
    assert drafted(tmp_path, frame, "pages").profile.column("seen").form == form


def test_another_column_of_the_file_tells_days_from_months(tmp_path: Path) -> None:
    frame = ambiguous()
    frame["born"] = pd.date_range("1980-01-01", periods=len(frame)).strftime("%d/%m/%Y")
    draft = drafted(tmp_path, frame, "ordered")
    assert {draft.profile.column(name).form for name in ("seen", "born")} == {"%d/%m/%Y"}


@pytest.mark.parametrize("label", ["count(*)", "COUNT(1)", "count( )", "avg(pages)"])
def test_no_feature_is_proposed_twice(tmp_path: Path, label: str) -> None:
    draft = drafted(tmp_path, visits()[["visit", "at", "pages", "shop"]], label, key="shop", time="at")
    (view,) = draft.views
    said = [
        (each.sql.lower().replace(" ", "").replace("1", "*").replace("()", "(*)"), each.back) for each in view.features
    ]
    bare = [(sql.removeprefix("cast(").removesuffix("asdouble)"), back) for sql, back in said]
    assert len(set(bare)) == len(bare), view.features
