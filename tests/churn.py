"""The shipped churn model, alone with its data in one folder: a test may change it without changing anybody else's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from evergreen.settings import PROJECT

_DATA, _MODEL = PROJECT / "include" / "data" / "churn", PROJECT / "include" / "models" / "churn"


def declared(name: str = "churn") -> dict[str, Any]:
    """Its `model.yaml`, with what `data.yaml` says of the data."""
    data = yaml.safe_load((_DATA / "data.yaml").read_text())
    model = yaml.safe_load((_MODEL / "model.yaml").read_text())
    del model["data"]
    entity = model["entity"]
    own = {key: data[key] for key in ("first_day", "last_day", "sources", "features")}
    return model | own | {"model": name, "entity": {"name": entity, **data["entities"][entity]}}


def one_folder(folder: Path, **changes: Any) -> Path:
    """Make the model's folder, named after its last part; `changes` replace keys of its `model.yaml`."""
    for part in ("contracts", "features"):
        shutil.copytree(_DATA / part, folder / part)
    shutil.copy(_MODEL / "label.sql", folder)
    content = declared(folder.name) | changes
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder
