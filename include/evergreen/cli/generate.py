"""The commands that write what is generated from the code: schemas and pages of the docs."""

from __future__ import annotations

import argparse
from pathlib import Path

from evergreen.cli.parsing import Commands
from evergreen.settings import settings


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    for name, what in {
        "schema": "include/models/model.schema.json: the JSON Schema of model.yaml",
        "dataset-schema": "include/data/data.schema.json: the JSON Schema of data.yaml",
        "reference": "docs/model-spec.md: every key of model.yaml and data.yaml",
        "tables": "docs/tables.md: all tables and their columns",
        "loops": "docs/loops.md: all loops, and what travels between their tasks",
    }.items():
        commands.add_parser(name, help=f"write {what}").set_defaults(command=_generate, document=name)


def _generate(options: argparse.Namespace) -> int:
    from evergreen import tables_page
    from evergreen.loops import catalogue
    from evergreen.spec import export

    project = settings().project
    targets: dict[str, tuple[Path, str]] = {
        "schema": (project / "include" / "models" / "model.schema.json", export.json_schema()),
        "dataset-schema": (project / "include" / "data" / "data.schema.json", export.dataset_schema()),
        "reference": (project / "docs" / "model-spec.md", export.reference()),
        "tables": (project / "docs" / "tables.md", tables_page.page()),
        "loops": (project / "docs" / "loops.md", catalogue.page()),
    }
    path, text = targets[options.document]
    path.write_text(text, encoding="utf-8")
    print(path)
    return 0
