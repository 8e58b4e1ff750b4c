"""Delta's log as it is after a while: what Delta takes a commit's age from is set back."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path


def age(table: Path, by: timedelta) -> None:
    """Let every commit, checkpoint and data file of a table be older: as the log tells it, and as the disk does."""
    seconds = by.total_seconds()
    for file in (path for path in table.rglob("*") if path.is_file()):
        told = file.stat().st_mtime - seconds
        if file.suffix == ".json" and file.parent.name == "_delta_log":
            file.write_text("\n".join(_older(json.loads(line), seconds) for line in file.read_text().splitlines()))
        os.utime(file, (told, told))


def _older(action: dict[str, object], seconds: float) -> str:
    for field in ("timestamp", "deletionTimestamp", "modificationTime", "createdTime"):
        for part in action.values():
            if isinstance(part, dict) and isinstance(part.get(field), int):
                part[field] -= int(seconds * 1000)
    return json.dumps(action)
