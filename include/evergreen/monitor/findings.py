"""What is wrong in a window, as findings. Pure: what was observed, against its bound, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from evergreen.handovers.monitor import Finding
from evergreen.spec.durations import duration_text
from evergreen.spec.schema import ModelSpec
from evergreen.status.rules import age_text, is_stale

_HOUR = timedelta(hours=1)


def volume(rows: int, least: int, *, expected: bool) -> list[Finding]:
    """Too few predictions.

    Args:
        rows: predictions of the interval.
        least: fewest that are normal.
        expected: a champion serves; without one no predictions are wanted.
    """
    if rows >= least or not (rows or expected):
        return []
    said = f"only {rows} predictions (at least {least})" if rows else "no predictions, although a champion serves"
    return [Finding(cause="volume", kind="incident", observed=rows, bound=least, said=said)]


def nulls(missing: Mapping[str, float], bound: float) -> list[Finding]:
    """Features that stopped arriving.

    Args:
        missing: feature → growth of its share of nulls.
        bound: greatest growth that is normal.
    """
    return [
        Finding(
            cause=f"nulls of {name}",
            kind="incident",
            observed=share,
            bound=bound,
            said=f"nulls of {name} grew by {share:.0%} of the rows (bound {bound:.0%})",
        )
        for name, share in missing.items()
        if share > bound
    ]


def ages(spec: ModelSpec, hours: Mapping[str, float]) -> list[Finding]:
    """Features that were older than their view allows.

    Args:
        spec: the model.
        hours: view → age of the newest features that were served.
    """
    return [
        Finding(
            cause=f"age of {name}",
            kind="incident",
            observed=age / _HOUR,
            bound=freshness.bound / _HOUR,
            said=(
                f"the features of {name} were {age_text(age)} old at the interval's end, more than its freshness "
                f"allows ({duration_text(freshness.bound)})"
            ),
        )
        for name, age in ((name, served * _HOUR) for name, served in hours.items())
        if (freshness := spec.features[name].freshness) is not None and is_stale(freshness, age)
    ]


def drifted(distances: Mapping[str, float], bound: Callable[[str], float]) -> list[Finding]:
    """The features that have drifted, the farthest first.

    Args:
        distances: feature → distance from the reference.
        bound: of a feature.
    """
    return [
        Finding(
            cause=f"drift of {name}",
            kind="drift",
            observed=distance,
            bound=bound(name),
            said=f"{name} drifted by {distance:.3f} (bound {bound(name):.3g})",
        )
        for name, distance in sorted(distances.items(), key=lambda item: -item[1])
        if distance > bound(name)
    ]


def predictions_drifted(distance: float, bound: float, classes: Mapping[str, float]) -> list[Finding]:
    """Whether the predictions have drifted.

    Args:
        distance: from the reference; of several classes the greatest.
        bound: greatest distance that is normal.
        classes: class → distance of its probabilities, where there are several.
    """
    if distance <= bound:
        return []
    moved = sorted(name for name, each in classes.items() if each > bound)
    of_classes = f": the probabilities of {', '.join(moved)}" if moved else ""
    said = f"predictions drifted by {distance:.3f} (bound {bound:.3g}){of_classes}"
    return [Finding(cause="prediction drift", kind="drift", observed=distance, bound=bound, said=said)]


def fallen(drop: float, bound: float, rows: int, *, significant: bool) -> list[Finding]:
    """A metric that is worse than at evaluation, beyond chance.

    Args:
        drop: by how much.
        bound: greatest drop that does not count.
        rows: matured rows that it was measured on.
        significant: beyond chance.
    """
    if not significant or drop <= bound:
        return []
    said = f"performance fell by {drop:.3f} (bound {bound:g}) on {rows} matured rows"
    return [Finding(cause="performance", kind="loss", observed=drop, bound=bound, said=said)]
