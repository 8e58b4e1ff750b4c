"""A format that an installed package reads: one function and one entry point; its errors are told with its name."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evergreen import packages, readers
from evergreen.errors import BatchUnreadable, SpecError
from evergreen.ingest import parse
from evergreen.ingest.landing import Part
from evergreen.ingest.origin import Origin
from evergreen.settings import PROJECT, settings
from evergreen.spec.dataset import Source
from evergreen.spec.load import load_spec

PYPROJECT = """
[project]
name = "acme-mainframe"
version = "1.2"

[project.entry-points."evergreen.readers"]
fixed_width = "acme_mainframe:rows"
arrow_ipc = "acme_mainframe:batches"
nothing = "acme_mainframe:WIDTHS"
gone = "acme_mainframe:gone"
csv = "acme_mainframe:rows"

[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[tool.setuptools]
py-modules = ["acme_mainframe"]
"""
MODULE = """
WIDTHS = {"id": (0, 4), "at": (4, 14), "pages": (14, 18)}


def rows(file, name):
    for number, line in enumerate(file.read().decode("cp037").splitlines(), 1):
        if len(line) != 18:
            raise ValueError(f"line {number} has {len(line)} characters, not 18")
        yield {each: line[start:end].strip() for each, (start, end) in WIDTHS.items()}


def batches(file, name):
    import pyarrow.ipc

    with pyarrow.ipc.open_stream(file) as stream:
        yield from stream
"""
ORIGIN = Origin("shop/visits of 2026-01-05", "/landing/visits.dat")


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, built from its pyproject by its build backend and unpacked as an installer does, can be imported."""
    source, site = tmp_path_factory.mktemp("acme"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "acme_mainframe.py").write_text(MODULE)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        _forget()
        yield
    _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    packages.brought.cache_clear()
    sys.modules.pop("acme_mainframe", None)


def source_of(format: str, **types: str) -> Source:
    columns = types or {"id": "string", "at": "timestamp", "pages": "int"}
    return Source.model_validate(
        {"path": "{partition}.dat", "format": format, "event_time": "at", "keys": ("id",), "columns": columns}
    )


def rows_of(content: bytes, source: Source) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parse.parse([Part(ORIGIN, content)], source, pytest.fail).to_pylist()
    return rows


def failure(content: bytes, source: Source) -> BatchUnreadable:
    with pytest.raises(BatchUnreadable) as caught:
        rows_of(content, source)
    assert caught.value.doing == "reading the batch of shop/visits of 2026-01-05 from /landing/visits.dat"
    assert caught.value.next_step.endswith("clear this task")
    return caught.value


def test_rows_of_a_reader_are_typed_as_those_of_a_csv() -> None:
    assert readers.names() == ("csv", "jsonl", "parquet", "arrow_ipc", "fixed_width", "gone", "nothing")
    rows = rows_of("a1  2026-01-05   7\nb2  2026-01-05 2.5\n".encode("cp037"), source_of("fixed_width"))
    assert [(row["id"], row["pages"], row["_unparsed"], row["_place"]) for row in rows] == [
        ("a1", 7, None, None),
        ("b2", None, "pages=2.5", "row 1"),
    ]


def test_batches_of_arrow_keep_their_types() -> None:
    import pyarrow as pa

    table = pa.table({"id": ["a"], "at": pa.array([0], pa.timestamp("us", "UTC")), "pages": [3]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    assert [(row["id"], row["pages"]) for row in rows_of(sink.getvalue().to_pybytes(), source_of("arrow_ipc"))] == [
        ("a", 3)
    ]


def test_what_a_reader_raises_is_told_with_its_name_and_package() -> None:
    found = failure("a1  2026-01-05   7\nshort\n".encode("cp037"), source_of("fixed_width")).found
    assert found == "the reader fixed_width of acme-mainframe 1.2 fails: ValueError: line 2 has 5 characters, not 18"
    assert "gives nothing, and so no columns" in failure(b"", source_of("fixed_width")).found
    assert "fails: ArrowInvalid" in failure(b"no stream", source_of("arrow_ipc")).found


def test_columns_and_types_that_are_not_the_declared_ones_are_named() -> None:
    import pyarrow as pa

    content = "a1  2026-01-05   7\n".encode("cp037")
    assert failure(content, source_of("fixed_width", id="string", at="timestamp")).found == (
        "columns unexpected: 'pages'"
    )
    table = pa.table({"id": ["a"], "at": [1], "pages": [[3]]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    found = failure(sink.getvalue().to_pybytes(), source_of("arrow_ipc")).found
    assert found.startswith("the column pages of type list") and "reader arrow_ipc of acme-mainframe 1.2" in found


def test_a_reader_hands_over_no_more_than_a_batch_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_LARGEST_BATCH_MB", "1")
    settings.cache_clear()
    error = failure("a1  2026-01-05   7\n".encode("cp037") * 50_000, source_of("fixed_width"))
    settings.cache_clear()
    assert "more than 1,000,000 bytes, by the reader" in error.found


@pytest.mark.parametrize(
    ("format", "found"),
    [
        ("fixed_widht", "no installed package brings it"),
        ("nothing", "acme_mainframe:WIDTHS of acme-mainframe 1.2 is no function"),
        ("gone", "acme_mainframe:gone of acme-mainframe 1.2: AttributeError"),
    ],
)
def test_a_format_that_no_reader_can_read_is_a_mistake_of_the_spec(format: str, found: str, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "renewals", tmp_path / "renewals")
    text = (folder / "model.yaml").read_text()
    path = "path: renewals/visits/{partition}.csv"
    (folder / "model.yaml").write_text(text.replace(path, f"{path}\n    format: {format}"))
    with pytest.raises(SpecError) as caught:
        load_spec(folder)
    assert "sources.visits.format" in str(caught.value) and found in str(caught.value)
    if format == "fixed_widht":
        assert "write fixed_width" in str(caught.value)
    assert found in failure(b"", source_of(format)).found
