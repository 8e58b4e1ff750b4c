"""docs/benchmarks.md: one section a benchmark, each replaced on its own."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.measure import OUT_OF_PROPORTION, Ratio

LIBRARIES = (
    "apache-airflow",
    "great-expectations",
    "feast",
    "deltalake",
    "duckdb",
    "pandas",
    "scikit-learn",
    "tensorflow",
    "optuna",
    "mlflow",
    "evidently",
    "fastapi",
    "uvicorn",
    "psycopg",
)
_NUMBER = re.compile(r"\*{0,2}-?[\d,.]+( s| ms| µs)?\*{0,2}|")
_HEAD = """# Benchmarks

Written by `make bench`; `make bench SECTION=serving` measures one section again and leaves the others. Both sides
of a ratio are timed in turns, in one run, so a ratio holds on other machines better than its seconds do. Compare
seconds only within a section: the machine's speed is not the same on all days. "Evergreen" includes everything that
a stage does for its user. Above a ratio of {bound:.0f}, the last column says what was measured to cause it.

How good the first model of a file is, `python -m benchmarks.first_model FILE --label COLUMN` measures
([figures](first-model.md#how-good-it-is)).
"""


def replace(path: Path, order: Sequence[str], name: str, section: str) -> None:
    """Write one section into the document, made anew when it is not there; the others stay, in the given order."""
    text = path.read_text() if path.exists() else ""
    sections = {known: _between(text, known) for known in order} | {name: section.strip()}
    parts = [f"<!-- {known} -->\n{body}\n<!-- /{known} -->" for known, body in sections.items() if body]
    path.write_text("\n\n".join([_HEAD.format(bound=OUT_OF_PROPORTION).strip(), *parts]) + "\n")


def _between(text: str, name: str) -> str:
    match = re.search(f"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    return match.group(1) if match else ""


def machine() -> str:
    """What a section was measured on, and what else the machine had to do."""
    memory = psutil.virtual_memory().total / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"Measured {datetime.now(UTC).date()} on {os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB, "
        f"{platform.system()}, Python {platform.python_version()}; load average before the start "
        f"{os.getloadavg()[0]:.1f}.\n{libraries}."
    )


def ratios(rows: Iterable[Ratio]) -> str:
    """The table of ratios; one that is out of proportion and has no reason says so."""
    cells = []
    for row in rows:
        reason = (row.reason if row.value >= 1 else "") or (
            "**not explained yet**" if row.value > OUT_OF_PROPORTION else ""
        )
        cells.append(
            (row.what, row.size, duration(row.ours), row.against, duration(row.bare), f"{row.value:.1f}", reason)
        )
    return table(("what", "size", "Evergreen", "against", "takes", "ratio", "reason"), cells)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers to the right."""
    body = [[str(cell) for cell in row] for row in rows]
    right = [all(_NUMBER.fullmatch(row[column]) for row in body) for column in range(len(head))]
    ruler = ["---:" if number else "---" for number in right]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), ruler, *body])


def duration(seconds: float) -> str:
    """`1.25 s`, `3.2 ms` or `45 µs`."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"
