"""`evergreen new`: files as strangers have them, and files that are something else."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evergreen import cli
from evergreen.lake.schema import UNPARSED
from evergreen.onboarding import reading, sample, summary
from evergreen.onboarding.reading import SampleUnusable
from evergreen.settings import Settings
from tests.components.onboarding.test_new import begun, drafted, flowers, here, landed, visits

__all__ = ["here"]  # a fixture

TITLES = {
    "a title and an empty line": ("Visits of January\n\n", 2),
    "as Excel pads them": ("Visits,,,,\nas of,2025-03-01,,,\n,,,,\n", 3),
    "prose with the delimiter": ("Visits, as of March\nmade by the shop\n", 2),
    "below Excel's own line": ("sep=,\nVisits\n", 2),
    "below an empty line": ("\nVisits\n", 2),
    "nothing": ("", 0),
}


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("titles", TITLES)
def test_titles_above_the_header_are_passed_over(here: Settings, tmp_path: Path, titles: str, delimiter: str) -> None:
    above, count = TITLES[titles]
    file, frame = tmp_path / "visits.csv", visits()[["visit", "at", "pages", "shop", "ordered"]]
    padded = titles == "as Excel pads them" or above.startswith("sep=")
    file.write_text((above.replace(",", delimiter) if padded else above) + frame.to_csv(index=False, sep=delimiter))
    made = begun(here, "visits", file, "ordered")
    (source,) = made.spec.sources.values()
    assert (source.skip_lines, source.delimiter) == (count, delimiter)
    rows = landed(here, made)
    assert rows.num_rows == len(frame) and rows[UNPARSED.name].null_count == len(frame)
    assert sample.first_fit(made.spec, made.rows).score > 0.7


def test_titles_of_a_file_without_time_are_not_dealt_out(here: Settings, tmp_path: Path) -> None:
    file = tmp_path / "flowers.csv"
    file.write_text("Flowers\n" + flowers().to_csv(index=False))
    made = begun(here, "flowers", file, "kind")
    assert landed(here, made).num_rows == 500


def test_rows_without_names_for_all_columns_are_no_titles(tmp_path: Path) -> None:
    file = tmp_path / "cars.csv"
    file.write_text("name,motor\n" + "".join(f"r{number},a,b\n" for number in range(40)))
    with pytest.raises(SampleUnusable, match="line 1 names 2 columns, and the lines below it have 3 cells"):
        reading.read(file)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("id,amount,kind,amount", "line 1 calls columns '2', '4' the same: 'amount'"),
        ("id,amount,,", "line 1 calls columns '3', '4' nothing at all"),
    ],
)
def test_a_name_that_stands_twice_is_told(tmp_path: Path, header: str, problem: str) -> None:
    file = tmp_path / "it.csv"
    file.write_text(f"{header}\n" + "a,1,b,2\n" * 40)
    with pytest.raises(SampleUnusable) as raised:
        reading.read(file)
    assert raised.value.found == problem


def test_columns_without_any_value_are_named_and_left_out(here: Settings, tmp_path: Path) -> None:
    file, frame = tmp_path / "visits.csv", visits()[["visit", "at", "pages", "shop", "ordered"]]
    frame = frame.assign(fax=None, telex="NA", note=np.where(frame["ordered"] == 1, "x", "y"))
    frame.to_csv(file, index=False)
    for label, key in (("ordered", None), ("sum(pages)", "shop")):
        draft = drafted(tmp_path, frame.drop(columns="note"), label, key=key, time="at")  # type: ignore[arg-type]
        assert {draft.left_out.get(name) for name in ("fax", "telex")} == {"no row has a value"}
        assert "left out: fax: no row has a value" in "\n".join(summary.lines(draft))
    made = begun(here, "visits", file, "ordered")
    assert landed(here, made)["telex"].null_count == len(frame)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_objects_within_objects_are_told(here: Settings, tmp_path: Path, form: str) -> None:
    file, frame = tmp_path / f"visits.{form}", visits()[["visit", "at", "pages", "shop", "ordered"]]
    frame["place"] = [{"town": f"t{number % 4}", "tags": [number % 3]} for number in range(len(frame))]
    frame["note"] = "[a] or b"
    if form == "jsonl":
        file.write_text(frame.assign(at=frame["at"].astype(str)).to_json(orient="records", lines=True))
    else:
        frame.to_parquet(file)
    made = begun(here, "visits", file, "ordered")
    (told,) = [line for line in summary.lines(made.draft) if line.startswith("nested: ")]
    assert told.startswith("nested: place has objects or lists, and each is one text to the model")
    assert made.draft.inputs["place"][0] == "category" and landed(here, made)[UNPARSED.name].null_count == len(frame)


def test_keys_that_are_numbers_with_a_fraction_stay(here: Settings, tmp_path: Path) -> None:
    file, frame = tmp_path / "visits.csv", visits()[["visit", "at", "pages", "shop", "ordered"]]
    frame["visit"] = [f"{number}.5" if number % 2 else f"v{number}" for number in range(len(frame))]
    frame.to_csv(file, index=False)
    made = begun(here, "visits", file, "ordered")
    assert made.draft.key == "visit" and "normalise: []" in (made.folder / "model.yaml").read_text()
    assert made.rows[UNPARSED.name].null_count == len(frame)


def archive(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as written:
        for name in names:
            written.writestr(zipfile.ZipInfo(name), "a,b\n1,2\n")  # of no moment: two workers make the same bytes
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "next_step"),
    [
        (archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook", "save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Excel workbook of before 2007", "save the sheet as CSV"),
        (archive("sales/2024.csv", "readme"), "a zip archive with 'sales/2024.csv'", "--from sales/2024.csv"),
        (archive("readme"), "a zip archive with 'readme'", "unpack it"),
        (archive("a")[:-30], "a zip archive that cannot be opened", "load it again"),
        (archive("ä").replace("ä".encode(), b"\xc3("), "a zip archive that cannot be opened", "load it again"),
        (
            archive("a").replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff"),
            "a zip archive that cannot be",
            "load it again",
        ),
        (b"BZh91AY&SY", "a file packed with bzip2", "bunzip2"),
        (b"SQLite format 3\x00" + bytes(90), "an SQLite database", "AIRFLOW_CONN_IT=sqlite:////PATH"),
        (b"\n<!DOCTYPE html><html>", "a page of HTML", "download the file itself"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><a/>", "an XML file", "a row per element"),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_next_step(
    here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, what: str, next_step: str
) -> None:
    file = tmp_path / "it.xlsx"
    file.write_bytes(content)
    assert cli.main(["new", "it", "--from", str(file), "--label", "a"]) == 1
    said = capsys.readouterr().err
    assert what in said and next_step in said, said
    assert not (here.models / "it").exists()
