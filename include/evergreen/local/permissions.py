"""A home is read by its owner, and by nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from evergreen.exposure import UMASK


def close_to_others(home: Path) -> None:
    """Take everybody else's rights from a home, also from one that was made before; does nothing to a closed one.

    Root runs Postgres as another user, whose folder lies in the home: then others may pass the home itself, and list
    nothing. What Postgres keeps in its folder it closes by itself.
    """
    closed = 0o711 if os.geteuid() == 0 else 0o700
    if stat.S_IMODE(home.stat().st_mode) == closed:
        return
    for folder, below, files in os.walk(home):
        for name in (*below, *files):
            path = Path(folder) / name
            with suppress(FileNotFoundError):  # what runs meanwhile may remove a file of its own
                if not path.is_symlink():
                    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~UMASK)
        if Path(folder) == home and "postgres" in below:
            below.remove("postgres")
    home.chmod(closed)  # last: it says that all of it is done


def readable_elsewhere(home: Path, places: Mapping[str, str]) -> list[str]:
    """One line for each folder outside of the home that others may enter or read; it is its owner's to close.

    Args:
        places: a folder or s3://… by the setting that names it.
    """
    warnings = []
    for setting, place in places.items():
        folder = Path(place)
        if "://" in place or not folder.is_dir() or folder.resolve().is_relative_to(home.resolve()):
            continue
        if stat.S_IMODE(folder.stat().st_mode) & UMASK:
            warnings.append(
                f"other users of this machine may read {folder} ({setting}): chmod 700 {folder}, if they should not"
            )
    return warnings
