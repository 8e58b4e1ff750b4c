"""`evergreen new`: whatever the file, the folder is valid and reads it, and one fit says what is in it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from evergreen import cli
from evergreen.ingest import parse
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.lake.schema import UNPARSED
from evergreen.onboarding import beginning, profiling, proposing, reading, sample, summary
from evergreen.onboarding.beginning import Begun
from evergreen.onboarding.outcome import Choices, LabelUnclear
from evergreen.onboarding.reading import SampleUnusable
from evergreen.onboarding.rules import Draft
from evergreen.settings import Settings, settings

ROWS = 400


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EVERGREEN_MODELS", str(tmp_path / "models"))
    settings.cache_clear()
    (tmp_path / "models").mkdir()
    yield settings()
    settings.cache_clear()


@dataclass(frozen=True)
class Shape:
    """A file that somebody may have."""

    seed: int
    times: str
    key: str
    label: str
    form: str
    gaps: str

    def frame(self) -> tuple[pd.DataFrame, Choices]:
        random = np.random.default_rng(self.seed)
        when = pd.to_datetime(datetime(2024, 3, 1) + timedelta(minutes=7)) + pd.to_timedelta(
            np.sort(random.integers(0, 40 * 24 * 60, ROWS)), unit="min"
        )
        size = random.normal(20, 5, ROWS).round(2)
        frame = pd.DataFrame(
            {
                "Item No": [f"A-{number:05}" for number in range(ROWS)],
                "Kind Of Thing": random.choice(["north", "south", "Öst"], ROWS),
                "size": size,
                "N": random.integers(0, 9, ROWS),
                "remark": [f"it is number {random.integers(1_000_000)}" for _ in range(ROWS)],
            }
        )
        if self.key == "int":
            frame["Item No"] = range(1_000, 1_000 + ROWS)
        elif self.key == "repeated":
            frame["Item No"] = [f"A-{number:02}" for number in random.integers(0, 20, ROWS)]
        elif self.key == "none":
            frame = frame.drop(columns="Item No")
        written = {
            "iso": when.strftime("%Y-%m-%d %H:%M:%S"),
            "days": when.strftime("%Y-%m-%d"),
            "german": when.strftime("%d.%m.%Y %H:%M"),
            "epoch": (when.astype("int64") // 1_000_000_000).astype("int64"),
        }
        if self.times != "none":
            frame["Seen At"] = written[self.times]
        chance = 1 / (1 + np.exp((20 - size) / 2))
        yes = random.random(ROWS) < chance
        frame["Out Come"] = {
            "yes": np.where(yes, "Yes", "No"),
            "zero": yes.astype(int),
            "number": (size * 3 + random.normal(0, 1, ROWS)).round(3),
            "classes": np.select([size < 18, size < 22], ["<=low", "mid"], "high"),
            "sum": size.round(1),
        }[self.label]
        if self.gaps != "none":
            text = frame["size"].map("{:.2f}".format)
            frame["size"] = text.where(random.random(ROWS) > 0.1, {"marker": "?", "blank": " "}[self.gaps])
        key = "Item No" if self.key in ("repeated", "int") else None
        time = "Seen At" if self.times == "epoch" else None
        return frame, Choices('sum("Out Come")' if self.label == "sum" else "Out Come", time=time, key=key)

    def write(self, folder: Path) -> tuple[Path, Choices]:
        frame, choices = self.frame()
        folder.mkdir(parents=True, exist_ok=True)
        file = (
            folder
            / {
                "csv": "My {File}: *.csv",
                "semicolons": "data.csv",
                "gzip": "data.packed",
                "lines": "data.jsonl",
                "parquet": "data.parquet",
            }[self.form]
        )
        if self.form == "parquet":
            frame.to_parquet(file)
        elif self.form == "lines":
            file.write_text(frame.to_json(orient="records", lines=True, force_ascii=False))
        else:
            text = frame.to_csv(index=False, sep=";" if self.form == "semicolons" else ",").encode()
            file.write_bytes(gzip.compress(text) if self.form == "gzip" else text)
        return file, choices


def shapes() -> st.SearchStrategy[Shape]:
    def possible(shape: Shape) -> bool:
        return (shape.times != "none" and (shape.label != "sum")) or (shape.key == "repeated" and shape.times != "none")

    return st.builds(
        Shape,
        st.integers(0, 1_000),
        st.sampled_from(["iso", "days", "german", "epoch", "none"]),
        st.sampled_from(["text", "int", "repeated", "none"]),
        st.sampled_from(["yes", "zero", "number", "classes", "sum"]),
        st.sampled_from(["csv", "semicolons", "gzip", "lines", "parquet"]),
        st.sampled_from(["none", "marker", "blank"]),
    ).filter(possible)


@given(shape=shapes())
@property_settings(
    max_examples=15, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_written_is_valid_and_reads_every_row(
    here: Settings, tmp_path_factory: pytest.TempPathFactory, shape: Shape
) -> None:
    folder = tmp_path_factory.mktemp("shape")
    file, choices = shape.write(folder)
    name = f"m{folder.name.replace('-', '_')}"
    begun = beginning.begin(here, name, file, choices, "evergreen new")  # which checks every query and contract
    landed = Path(here.landing) / name
    if shape.times != "none":
        (copy,) = landed.iterdir()
        assert copy.read_bytes() == file.read_bytes(), "the file is taken as it is"
    (source,) = begun.spec.sources.values()
    rows = parse.parse([Part(Origin(name, str(each)), each.read_bytes()) for each in sorted(landed.iterdir())], source)
    assert rows.num_rows == ROWS
    assert rows[UNPARSED.name].null_count == ROWS, pc.drop_null(rows[UNPARSED.name])[0]
    assert not any(rows[column].null_count == ROWS for column in source.columns)
    assert begun.draft.style == expected_style(shape)


def test_without_look_back_the_model_learns_from_the_row_itself(
    here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "visits.csv"
    visits().to_csv(file, index=False)
    begun = beginning.begin(
        here, "alone", file, Choices("ordered", label_time="decided", look_back=False), "evergreen new"
    )
    assert not begun.spec.features and not begun.spec.references
    assert {"pages", "shop"} <= begun.spec.request.inputs.keys()  # type: ignore[union-attr]
    assert sample.first_fit(begun.spec, begun.rows).score > 0.8


def expected_style(shape: Shape) -> str:
    if shape.times == "none":
        return "batch"
    return "interval" if shape.label == "sum" else "request"


def drafted(tmp_path: Path, frame: pd.DataFrame, label: str, **stated: str) -> Draft:
    file = tmp_path / "rows.csv"
    frame.to_csv(file, index=False)
    choices = Choices(label, **stated)  # type: ignore[arg-type]
    return proposing.draft("it", profiling.profile(reading.read(file), choices))


def visits(rows: int = 3_000) -> pd.DataFrame:
    """Visits that end in an order or not; the outcome is known days later."""
    random = np.random.default_rng(7)
    at = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.sort(random.integers(0, 60 * 24 * 60, rows)), unit="min")
    pages, shop = random.integers(1, 20, rows), random.choice(list("abcde"), rows)
    chance = 1 / (1 + np.exp(-(pages - 10) / 2 - (shop == "a") * 2))
    ordered = random.random(rows) < chance
    return pd.DataFrame(
        {
            "visit": [f"v{number}" for number in range(rows)],
            "at": at,
            "pages": pages,
            "shop": shop,
            "ordered": ordered.astype(int),
            "decided": at + pd.to_timedelta(random.integers(0, 5 * 24, rows), unit="h"),
            "invoice": np.where(ordered, [f"i{number}" for number in range(rows)], None),
            "paid": np.where(ordered, pages * 10.0, 0.0),
            "ordered_items": np.where(ordered, 2, 0),
        }
    )


def test_what_tells_the_outcome_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    draft = drafted(tmp_path, visits(), "ordered", label_time="decided")
    assert set(draft.left_out) == {"ordered", "decided", "invoice", "paid", "ordered_items"}
    assert set(draft.inputs) == {"pages", "shop", "asked_weekday", "asked_hour"}
    assert draft.horizon == timedelta(days=5), "99 of 100 outcomes are known by then"
    assert (draft.moment, draft.within, draft.share) == ("decided", timedelta(days=5), 0.9)


def test_a_label_of_many_rows_needs_whose_and_when(tmp_path: Path) -> None:
    with pytest.raises(LabelUnclear, match="nothing says whose"):
        drafted(tmp_path, visits().drop(columns="visit"), "sum(pages)")
    with pytest.raises(LabelUnclear, match="no column 'orderd'"):
        drafted(tmp_path, visits(), "orderd")
    months = visits().assign(at=visits()["at"].dt.strftime("%Y %b"))
    with pytest.raises(LabelUnclear, match="at_value holds no times that are understood, such as '2025 Mar'"):
        drafted(tmp_path, months, "ordered", time="at")


def test_a_column_is_named_as_it_is_read(tmp_path: Path) -> None:
    draft = drafted(tmp_path, visits().rename(columns={"ordered": "  Ordered", "shop": "T max (%)"}), "ordered")
    assert draft.profile.label.is_column and draft.profile.label.name == "ordered"
    assert {"t_max", "pages"} <= set(draft.inputs)


def begun(here: Settings, name: str, file: Path, label: str, **stated: str) -> Begun:
    """The folder of a model, which was checked with all its queries and contracts."""
    return beginning.begin(here, name, file, Choices(label, **stated), "evergreen new")  # type: ignore[arg-type]


def landed(here: Settings, of: Begun) -> pa.Table:
    """All that its source reads."""
    (source,) = of.spec.sources.values()
    files = sorted((Path(here.landing) / of.spec.model).iterdir())
    return parse.parse([Part(Origin(of.spec.model, str(each)), each.read_bytes()) for each in files], source)


def flowers(rows: int = 460) -> pd.DataFrame:
    """Rows without time and key, some of them the same, sorted by their class, some without a size."""
    random = np.random.default_rng(5)
    size = random.normal(3, 1, rows).round(1)
    frame = pd.DataFrame({"size": size, "kind": np.where(size + random.normal(0, 0.5, rows) > 3, "big", "small")})
    frame.loc[3, "size"] = None
    return pd.concat([frame, frame.head(40)]).sort_values("kind").reset_index(drop=True)


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_rows_that_nothing_tells_apart_are_numbered_and_none_is_lost(here: Settings, tmp_path: Path, form: str) -> None:
    file, frame = tmp_path / f"flowers.{form}", flowers()
    if form == "csv":
        frame.to_csv(file)  # with pandas' index, in a column without a name
    elif form == "parquet":
        frame.to_parquet(file)
    else:
        file.write_text(frame.to_json(orient="records", indent=1))
    made = begun(here, "flowers", file, "kind")
    rows = landed(here, made)
    assert sorted(rows["row_id"].to_pylist()) == list(range(1, 501))
    assert rows[UNPARSED.name].null_count == 500
    assert set(made.draft.inputs) == {"size"}, "the index of rows that are sorted tells their class"
    assert sample.first_fit(made.spec, made.rows).score > 0.7


def test_headers_of_other_alphabets_are_columns(here: Settings, tmp_path: Path) -> None:
    file, frame = tmp_path / "строки.csv", flowers()
    frame.rename(columns={"size": "размер", "kind": "вид"}).to_csv(file, index=False)
    made = begun(here, "flowers", file, "вид")
    assert [(column.name, column.raw) for column in made.draft.profile.columns] == [
        ("field", "размер"),
        ("field_2", "вид"),
    ]


def test_a_word_among_many_numbers_is_no_value(here: Settings, tmp_path: Path) -> None:
    file, frame = tmp_path / "sizes.csv", flowers().head(200)
    frame["kind"] = np.where(np.arange(200) % 9 == 0, "it's off", frame["kind"])
    text = frame["size"].astype(object).where(np.arange(200) % 10 != 0, "it's off")
    frame.assign(size=text, few=np.where(np.arange(200) % 5 == 0, "other", "3")).to_csv(file, index=False)
    made = begun(here, "sizes", file, "kind = 'big'")
    kinds = {column.name: column.kind for column in made.draft.profile.columns}
    assert kinds == {"size": "float", "kind": "string", "few": "string"}
    rows = landed(here, made)
    assert rows[UNPARSED.name].null_count == 200
    assert "it's off" in rows["kind"].to_pylist(), "it means nothing in the other column alone"
    assert rows["size"].null_count == pd.to_numeric(text, errors="coerce").isna().sum()


@pytest.mark.parametrize(
    ("written", "unit", "signs"),
    [
        ("${:,.2f}", "$", {"thousands": ","}),
        ("${:,.0f}", "$", {"thousands": ","}),
        ("{:.0f} %", "%", {}),
        ("{:.1f}%", "%", {}),
        ("{:.2f} kg", "kg", {}),
        ("euro", "€", {"decimal": ",", "thousands": " "}),
    ],
)
def test_numbers_with_a_unit_are_numbers(
    here: Settings, tmp_path: Path, written: str, unit: str, signs: dict[str, str]
) -> None:
    file, frame = tmp_path / "paid.csv", visits(300)[["visit", "at", "pages", "ordered"]]
    size = np.random.default_rng(1).gamma(2, 2_000, 300).round(2)
    text = [f"{each:,.2f} €".replace(",", "\u202f").replace(".", ",") for each in size]
    frame["fee"] = text if written == "euro" else [written.format(each) for each in size]
    frame.loc[7, "fee"] = "N/A"
    frame["gate"] = [f"Gate {number % 9}" for number in range(300)]
    frame["code"] = [f"A{number % 9}" for number in range(300)]
    frame["clock"] = [f"{1 + number % 9} {'AM' if number % 2 else 'PM'}" for number in range(300)]
    frame.to_csv(file, index=False)
    made = begun(here, "paid", file, "ordered")
    kinds = {column.name: (column.kind, column.unit) for column in made.draft.profile.columns}
    assert kinds["fee"][0] in ("int", "float") and kinds["fee"][1] == unit
    assert kinds["gate"] == kinds["code"] == kinds["clock"] == ("string", None)
    assert {key: made.draft.profile.declared.get(key) for key in signs} == signs
    rows = landed(here, made)
    assert rows[UNPARSED.name].null_count == 300 and rows["fee"].null_count == 1
    read = rows["fee"].drop_null().to_numpy()
    digits = 0 if written.endswith((".0f}", ".0f} %")) else 1 if ".1f" in written else 2
    assert np.allclose(read, np.delete(size, 7), atol=0.51 * 10**-digits)


def test_what_comes_with_the_outcome_is_left_out_and_what_nearly_tells_it_is_told(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frame = visits()
    cancelled = random.random(len(frame)) < 0.05
    frame["delay"] = np.where(cancelled, np.nan, random.normal(0, 20, len(frame)).round(1))
    frame["landed"] = np.where(cancelled, np.nan, random.integers(0, 2400, len(frame)))
    frame["guess"] = (frame["delay"] + random.normal(0, 12, len(frame))).fillna(0).round()
    frame = frame[["visit", "at", "pages", "shop", "delay", "landed", "guess"]]
    draft = drafted(tmp_path, frame, "delay > 15")
    assert set(draft.left_out) == {"delay", "landed"}, draft.left_out
    assert "100% of the rows that have no outcome" in draft.left_out["landed"]
    assert set(draft.profile.suspected) == {"guess"}
    told = "\n".join(summary.lines(draft))
    assert "suspected, and kept: guess: alone it tells the label (area under the curve 0.9" in told


def test_a_birthday_and_a_date_that_most_rows_lack_are_not_when_a_row_happened(tmp_path: Path) -> None:
    frame = visits()[["at", "visit", "pages", "ordered"]]
    born = pd.Timestamp("1970-01-01") + pd.to_timedelta(np.arange(len(frame)), unit="D")
    frame.insert(0, "birth_date", born.strftime("%Y-%m-%d %H:%M:%S"))
    frame.insert(1, "cancelled", np.where(frame.index % 3 == 0, "2025-01-05 10:00:00", None))
    assert drafted(tmp_path, frame, "ordered").profile.time == "at_value"
    assert drafted(tmp_path, frame.drop(columns="at"), "ordered").style == "batch"


@pytest.mark.parametrize("form", ["%b %d %Y", "%d/%m/%Y", "%Y%m%d", "%B %d, %Y"])
def test_days_are_read_as_they_are_written(tmp_path: Path, form: str) -> None:
    frame = visits()[["at", "visit", "pages", "ordered"]]
    frame["at"] = frame["at"].dt.strftime(form)
    column = drafted(tmp_path, frame, "ordered", time="at").profile.column("at_value")
    assert (column.kind, column.form) == ("date", form)


def test_classes_of_which_no_later_row_has_one_are_fitted_all_the_same(here: Settings, tmp_path: Path) -> None:
    file, frame = tmp_path / "visits.csv", visits()
    frame["end"] = np.where(frame["ordered"] == 1, "order", "none")
    frame.loc[:800:50, "end"] = "snow"
    frame[["visit", "at", "pages", "shop", "end"]].to_csv(file, index=False)
    made = begun(here, "visits", file, "end")
    assert sample.first_fit(made.spec, made.rows).metric == "log_loss"


def test_numbers_of_classes_are_told_and_a_sum_is_made_of_no_row_numbers(here: Settings, tmp_path: Path) -> None:
    frame = visits().drop(columns="ordered_items")
    frame.insert(0, "rownames", range(1, len(frame) + 1))
    draft = drafted(tmp_path, frame, "sum(pages)", key="shop", time="at")
    names = [feature.name for feature in draft.views[0].features]
    assert "mean_pages_1w" in names and not any("rownames" in name for name in names)
    assert "names of classes" not in "\n".join(summary.lines(draft))
    frame["grade"] = frame["pages"] // 7
    assert '--label "CAST(grade AS VARCHAR)"' in "\n".join(summary.lines(drafted(tmp_path, frame, "grade")))
    label = drafted(tmp_path, frame, "CAST(grade AS VARCHAR)").profile.label
    assert (label.type, label.classes) == ("multiclass", ("0", "1", "2"))


def test_large_numbers_that_never_repeat_are_measured_and_numbers_of_rows_are_ids(tmp_path: Path) -> None:
    random, frame = np.random.default_rng(2), flowers(900)
    frame["people"] = random.permutation(10 ** random.uniform(4, 9, 3 * len(frame))).astype(int)[: len(frame)]
    frame["counted"] = 100_000 + random.permutation(3 * len(frame))[: len(frame)]
    assert frame["people"].is_unique and frame["counted"].is_unique
    draft = drafted(tmp_path, frame, "kind")
    assert "people" in draft.inputs and "counted" in draft.left_out


@pytest.mark.parametrize(
    ("label", "nothing"),
    [
        ("sum(pages)", "0"),
        ("SUM (pages) / 2", "0.0"),
        ("count(*)", "0"),
        ("count(*) = 0", "true"),
        ("sum(pages) < 5", "true"),
        ("bool_or(pages > 5)", "false"),
        ("count(*) filter (where pages > 5)", "0"),
        ("avg(pages)", None),
        ("max(pages) > 5", None),
    ],
)
def test_a_label_of_no_rows_is_what_its_expression_comes_to_and_is_left_out_where_that_is_nothing(
    here: Settings, tmp_path: Path, label: str, nothing: str | None
) -> None:
    frame, file = visits(), tmp_path / "visits.csv"
    frame[["visit", "at", "pages", "shop"]].to_csv(file, index=False)
    made = begun(here, "visits", file, label, key="shop", time="at")
    assert made.draft.profile.label.nothing == nothing
    text = (made.folder / "label.sql").read_text()
    assert ("is left out" in text and "coalesce" not in text) if nothing is None else f", {nothing})" in text
    (view,) = made.draft.views
    past = [each for each in view.features if each.name.startswith("past_") and "rows" not in each.name]
    assert len(past) == 3 and all((each.none is None) == (nothing is None) for each in past)


def test_the_folder_says_why(here: Settings, tmp_path: Path) -> None:
    file, frame = tmp_path / "visits.csv", visits().rename(columns={"pages": "Pages Seen"})
    frame.to_csv(file, index=False)
    made = begun(here, "visits", file, "ordered", label_time="decided")
    written = (made.folder / "model.yaml").read_text()
    for comment in (
        "# Its delay after the row's own time: 50% within 2.5 days",
        "paid: float  # not used: ",
        "pages_seen: {type: int, from: Pages Seen}  # suspected: alone it tells the label",
        "# proposed: `evergreen try visits` says which of them help",
        "rows of 38 times 1d to learn from",
    ):
        assert comment in written, f"{comment}\n{written}"
    contract = (made.folder / "contracts" / "visits.yaml").read_text()
    assert "column: shop\n    value_set: [" in contract and "severity: critical" not in contract


def test_columns_that_are_called_as_we_call_things_do_no_harm(here: Settings, tmp_path: Path) -> None:
    random, frame = np.random.default_rng(2), visits(600)
    ours = (
        "known_at",
        "row_id",
        "by_shop",
        "shop_rows_1w",
        "overall",
        "asked_hour",
        "rows",
        "cells",
        "labels",
        "the label",
    )
    for name in (*ours, "event_timestamp", "as_of", "select", "a b", "a-b", "a_b_2", "x" * 60, "x" * 61):
        frame[name] = random.normal(size=600)
    file = tmp_path / "rows.csv"
    frame.to_csv(file, index=False)
    for time in ("at", None):
        chosen = file
        if time is None:
            chosen = tmp_path / "cells.csv"
            frame.drop(columns=["at", "decided", "visit"]).to_csv(chosen, index=False)
        made = begun(here, f"of_{time}".lower(), chosen, "ordered")
        assert sample.first_fit(made.spec, made.rows).score > 0.7


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "it.csv"
    file.write_bytes(b"a,b,c\n" + b"1,2,3\n" * 300 + b"4,it ends\rhere,5\n" + b"1,2,3\n" * 300)
    with pytest.raises(SampleUnusable, match="line 302: 2 cells, where the header has 3: '4,it ends'"):
        reading.read(file)


def test_a_quoted_value_of_many_lines_does_not_hide_how_the_file_is_written(tmp_path: Path) -> None:
    file = tmp_path / "it.csv"
    long = '"' + "a line;\n" * 500 + '"'
    file.write_text("a;b\n" + f"1;{long}\n" * 30)
    cells = reading.read(file)
    assert (cells.table.num_rows, cells.declared["delimiter"]) == (30, ";")
    assert "trailing_delimiter" not in cells.declared


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("569,3,malignant", "line 1 names 3 columns, and the lines below it have 4 cells: '569', '3', 'malignant'"),
        ("1e3,0.0,0.0,1", "line 1 names 4 columns, all of them numbers: '1e3', '0.0', '0.0', '1'"),
    ],
)
def test_a_first_line_that_names_no_columns_is_said_to_be_one(tmp_path: Path, first: str, problem: str) -> None:
    file = tmp_path / "it.csv"
    file.write_text(f"{first}\n" + "17.99,10.38,122.8,0\n" * 60)
    with pytest.raises(SampleUnusable, match="write one there: a name for each column") as raised:
        reading.read(file)
    assert raised.value.found == problem


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"a,a\n1,2\n", b"a,b\n1,2\n", b"\x1f\x8bnot gzip at all"])
def test_a_file_that_nothing_can_be_made_of_says_why(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "it.csv"
    file.write_bytes(content)
    with pytest.raises(SampleUnusable):
        reading.read(file)


def test_the_command_writes_fits_and_says_what_comes_next(
    here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "visits.csv"
    visits().to_csv(file, index=False)
    command = ["new", "shop_visits", "--from", str(file), "--label", "ordered", "--label-time", "decided"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "label's delay: 50% within 2.5 days, 90% within 4.5 days" in said, "the delay of the label"
    assert "visit: string: the key" in said and "pages: int: an input" in said
    assert "2 features of the past are proposed" not in said and "features of the past are proposed: " in said
    assert "left out: paid" in said and "First fit: gradient_boosting" in said and "evergreen try shop_visits" in said
    area = float(said.partition("roc_auc ")[2].split()[0])
    assert 0.75 < area < 0.98, "it learns from pages and shop, and not from what tells the outcome"
    assert cli.main(command) == 1, "a folder that is there is nobody's to overwrite"
    assert "is there already" in capsys.readouterr().err


def test_a_first_fit_that_is_no_better_than_guessing_says_so_and_what_to_do(
    here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random, file = np.random.default_rng(5), tmp_path / "dice.csv"
    frame = visits().assign(thrown=random.normal(10, 3, len(visits())))
    frame[["visit", "at", "pages", "shop", "thrown"]].to_csv(file, index=False)
    assert cli.main(["new", "dice", "--from", str(file), "--label", "thrown"]) == 0
    said = capsys.readouterr().out
    assert "No better than guessing: what it learned does not hold on later rows." in said
    assert "add columns that tell the outcome" in said and "`evergreen try dice`" in said
    fits = sample.FirstFit("rmse", 2.0, 2.5, 10, 10, {}), sample.FirstFit("roc_auc", 0.6, 0.5, 10, 10, {})
    assert all(fit.learned_something for fit in fits)


def test_the_first_fit_is_that_of_scikit_learn_on_the_same_rows(here: Settings, tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    file, frame = tmp_path / "visits.csv", visits()
    frame.to_csv(file, index=False)
    begun = beginning.begin(here, "visits", file, Choices("ordered", label_time="decided"), "evergreen new")
    (source,), known = begun.spec.sources.values(), begun.spec.label.known
    assert set(source.outcome.values()) == {"decided"} and known is not None and known.column == "decided"
    fitted = sample.first_fit(begun.spec, begun.rows)
    later = frame.sort_values("at").tail(fitted.evaluated + 400).head(fitted.evaluated)
    learn = frame[frame["at"] < later["at"].min() - timedelta(days=5)].tail(fitted.learned)
    inputs = ["pages", "shop"]
    coded = {part: pd.get_dummies(rows[inputs]).astype(float) for part, rows in (("learn", learn), ("later", later))}
    plain = HistGradientBoostingClassifier(random_state=0).fit(coded["learn"], learn["ordered"])
    area = roc_auc_score(later["ordered"], plain.predict_proba(coded["later"])[:, 1])
    assert fitted.score > area - 0.05
