"""The landing zone's files that hold an entity's key are listed, however their paths name the interval."""

from __future__ import annotations

import csv
import gzip
import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.erasure import landing
from evergreen.ingest.landing import pattern_of, uri_of
from evergreen.lake.rewriting import Key
from evergreen.settings import PROJECT, settings
from evergreen.spec.cells import Column
from evergreen.spec.load import load_spec

METER = Key(frozenset({"meter_id"}), "m-7")


@pytest.mark.parametrize(
    ("path", "partition"),
    [
        ("shop/{partition}.csv", "2026-01-05"),
        ("shop/{year}/{month}-{day}.csv", "2026-01-05"),
        ("meters/{year}-{month}-{day}/{hour}.csv", "2026-10-25T0000Z"),
        ("{year}/{month}.csv", "2026-10"),
        ("shop/history.csv", "2026-01-05"),
    ],
)
def test_the_pattern_of_a_path_is_that_of_every_address_that_is_made_of_it(path: str, partition: str) -> None:
    above, pattern = pattern_of("/land/", path)
    address = uri_of("/land/", path, partition)
    assert pattern.fullmatch(address) and address.startswith(f"{above}/")
    assert not pattern.fullmatch(f"{address}.partial") and not pattern.fullmatch(address.replace(".csv", "-csv"))


def test_a_part_of_a_batch_is_of_its_path() -> None:
    above, pattern = pattern_of("s3://bucket/land", "shop/{partition}/part-*.csv")
    assert above == "s3://bucket/land/shop"
    assert pattern.fullmatch("s3://bucket/land/shop/2026-01-05/part-7.csv")
    assert not pattern.fullmatch("s3://bucket/land/shop/2026-01-05/other/part-7.csv")


def test_files_of_hours_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_LANDING", str(tmp_path))
    settings.cache_clear()
    dataset = load_spec(PROJECT / "tests" / "specs" / "valid" / "meters").own_data()
    folder = tmp_path / "meters" / "2026-10-25"
    folder.mkdir(parents=True)
    (folder / "00.csv").write_text("meter_id,read_at,kwh\nm-7,2026-10-25T00:00:00Z,1.0\n")
    (folder / "01.csv").write_text("meter_id,read_at,kwh\nm-77,2026-10-25T01:00:00Z,1.0\n")
    (folder / "02.csv.gz").write_bytes(gzip.compress(b"m-7"))  # of no path that is declared
    assert list(landing.holding(dataset, METER)) == [str(folder / "00.csv")]
    settings.cache_clear()


def test_a_key_is_seen_in_every_form_that_it_may_arrive_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source gives its keys one form (`normalise`, and numbers without a point); the files have what was sent."""
    monkeypatch.setenv("EVERGREEN_LANDING", str(tmp_path))
    settings.cache_clear()
    dataset = load_spec(PROJECT / "tests" / "specs" / "valid" / "meters").own_data()
    ((name, source),) = dataset.sources.items()
    columns = source.columns | {"meter_id": Column(type="string", from_="Zähler Nr")}
    sent: dict[str, list[object]] = {
        "1001": [1001.0, "1001.0", " 1001"],
        "caf\u00e9": ["cafe\u0301", "cafe\u0301".encode()],
        'say "hi"': ['say "hi"', b'say "hi"'],
    }
    for kind in ("csv", "jsonl", "parquet"):
        declared = source.model_copy(
            update={"path": f"meters/{{partition}}.{kind}", "format": kind, "columns": columns}
        )
        spec = dataset.model_copy(update={"sources": {name: declared}}).at(dataset.folder)
        for key, cells in sent.items():
            for cell in cells:
                file = tmp_path / "meters" / f"2026-10-25T0000Z.{kind}"
                file.parent.mkdir(exist_ok=True)
                sent_as_text = cell.decode() if isinstance(cell, bytes) else cell
                if kind == "csv":
                    with file.open("w") as written:
                        csv.writer(written).writerows([["Zähler Nr"], [sent_as_text]])
                elif kind == "jsonl":
                    composed = unicodedata.normalize("NFC", str(sent_as_text))
                    file.write_text(json.dumps({"Zähler Nr": composed}))  # with escapes
                else:
                    pq.write_table(pa.table({"Zähler Nr": [cell]}), file)
                assert list(landing.holding(spec, Key(frozenset({"meter_id"}), key))) == [str(file)], (kind, cell)
                assert list(landing.holding(spec, Key(frozenset({"meter_id"}), "100"))) == [], (kind, cell)
    settings.cache_clear()
