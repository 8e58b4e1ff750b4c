"""`make bench`: measures, prints the table and writes it, with the machine, to docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import warnings
from datetime import UTC, datetime

from benchmarks import workload
from evergreen.settings import PROJECT

CUSTOMERS, DAYS = 1000, 20
HEAD = """# Benchmarks

Written by `make bench`. Each row times Evergreen's way and the bare way in turns, in one run, so the ratio holds on other machines
better than the seconds do. "Ours" includes everything that the stage does for its user.

Measured {day} on {machine}.

| what | size | ours | against | ratio | what the difference buys |
|---|---|---|---|---|---|
"""


def main() -> None:
    """Run all of it."""
    warnings.simplefilter("ignore")
    with workload.home() as here:
        print(f"ingesting {DAYS} days of {CUSTOMERS} customers by the stages")
        spec, runs = workload.ingest(here, CUSTOMERS, DAYS)
        from benchmarks import data

        ratios = [*data.point_in_time_join(spec), *data.validation(runs[-1]), *data.monitoring(spec, 5_000)]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {platform.system()}"
    text = (
        HEAD.format(day=datetime.now(UTC).date(), machine=machine) + "\n".join(ratio.row() for ratio in ratios) + "\n"
    )
    (PROJECT / "docs" / "benchmarks.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
