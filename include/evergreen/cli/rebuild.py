"""The command that builds what a version was trained on again: `rebuild`."""

from __future__ import annotations

import argparse
from pathlib import Path

from evergreen.cli.parsing import Commands


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    rebuild = commands.add_parser(
        "rebuild", help="build the training set of a version again, and compare it with what was recorded of it"
    )
    rebuild.add_argument("model", help="the model's name")
    rebuild.add_argument("version", type=int, help="the version's number")
    rebuild.add_argument("--output", type=Path, metavar="FILE", help="write the rows there, as Parquet")
    rebuild.set_defaults(command=_rebuild)


def _rebuild(options: argparse.Namespace) -> int:
    import pyarrow.parquet as pq

    from evergreen import files
    from evergreen.local import quiet
    from evergreen.train.rebuilding import rebuild

    quiet.begin()
    rebuilt = rebuild(options.model, options.version)
    record, rows = rebuilt.record, rebuilt.data.rows
    print(
        f"version {options.version} of {options.model}: {rows.num_rows} rows with the content hash "
        f"{record.content_hash}, as it was recorded{' in MLflow, by an earlier release' if record.taken_over else ''}"
    )
    for table, version in sorted(record.versions.items()):
        print(f"  {table}: version {version}")
    if options.output is not None:
        with files.whole(options.output) as partial:
            pq.write_table(rows, partial)
        print(f"  written to {options.output}")
    return 0
