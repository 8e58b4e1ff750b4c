"""What installed packages bring under the entry points of a group: families of models, readers of formats."""

from __future__ import annotations

import logging
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # as a spec's names


class Unusable(Exception):
    """What no spec can name; its text says why, after the name."""


@cache
def brought(group: str, what: str, ours: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name; nothing is imported. No package takes a name of ours.

    Args:
        what: what it is called in a message: family, reader.
        ours: the names that are taken.
    """
    by_name: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        package = package_of(point)
        if point.name in ours:
            log.warning(
                "%s brings a %s %s, which is the name of one of ours: it is not used", package, what, point.name
            )
        elif not _NAME.fullmatch(point.name):
            log.warning("%s brings a %s %r, which is no name that a spec can write", package, what, point.name)
        else:
            by_name.setdefault(point.name, []).append(point)
    return by_name


def only(points: list[EntryPoint], unusable: type[Unusable]) -> EntryPoint:
    """The one entry point of a name; raises `unusable` where there is none, or another one too."""
    if not points:
        raise unusable("no installed package brings it")
    if len(points) > 1:
        raise unusable(f"several packages bring it: {', '.join(sorted(map(package_of, points)))}")
    return points[0]


def failed(point: EntryPoint, unusable: type[Unusable], error: Exception) -> Unusable:
    """The error for one whose import fails: whatever foreign code raises costs what it brings alone."""
    return unusable(f"{point.value} of {package_of(point)}: {type(error).__name__}: {error}")


def package_of(point: EntryPoint) -> str:
    """The package that brings it, with its version, as messages name it."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
