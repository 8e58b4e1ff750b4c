"""What is wrong in a window, as findings. Pure: what was observed, against its bound, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from evergreen.handovers.monitor import Finding, Rival, Skewed
from evergreen.monitor.comparison import Odd
from evergreen.spec.durations import duration_text
from evergreen.spec.schema import ModelSpec
from evergreen.status.rules import age_text, is_stale

_HOUR = timedelta(hours=1)
PERFORMANCE = "performance"  # the cause of a loss that was measured
_MOST = 0.5  # of the rows
# Of the answers. Seconds to a minute lie between a publication and its way online, which is 2 % of an hour at most.
_SKEWED = 0.05


def volume(rows: int, least: int | None, *, expected: bool) -> list[Finding]:
    """Too few predictions.

    Args:
        rows: predictions of the interval.
        least: fewest that are normal; None: any, but none at all.
        expected: a champion serves; without one no predictions are wanted.
    """
    least = least or 1
    if rows >= least or not (rows or expected):
        return []
    said = f"only {rows} predictions (at least {least})" if rows else "no predictions, although a champion serves"
    return [Finding(cause="volume", kind="incident", observed=rows, bound=least, said=said)]


def unusual_volume(rows: int, bounds: tuple[float, float], like: str) -> list[Finding]:
    """Far fewer or far more predictions than intervals like it had.

    Args:
        rows: predictions of the interval.
        bounds: the fewest and the most that are normal.
        like: which intervals these are.
    """
    least, most = bounds
    if least <= rows <= most:
        return []
    bound, far = (least, "few") if rows < least else (most, "many")
    said = f"{rows} predictions are unusually {far}: {like} had {least:.0f} to {most:.0f}"
    return [Finding(cause="volume", kind="incident", observed=rows, bound=bound, said=said)]


def nulls(missing: Mapping[str, float], bound: Callable[[str], float], *, typed: bool = False) -> list[Finding]:
    """Features that arrive less often. On days of storms flights have no arrival: that is the world, as with any drift,
    unless most rows are null that were not; or an owner has typed which growth is an incident.

    Args:
        missing: feature → growth of its share of nulls.
        bound: greatest growth that is normal.
        typed: the bound stands in the spec.
    """
    return [
        Finding(
            cause=f"nulls of {name}",
            kind="incident" if typed or share > _MOST else "drift",
            observed=share,
            bound=bound(name),
            said=f"nulls of {name} grew by {share:.1%} of the rows (bound {bound(name):.1%})",
        )
        for name, share in missing.items()
        if share > bound(name)
    ]


def odd(cause: str, said: str, found: Mapping[str, Odd]) -> list[Finding]:
    """Features of which unusually many rows are odd. It is the world that has moved, as with any drift, unless most
    rows are: then the feature is not what it was, as when its unit changes, and nothing that is learned of it counts.

    Args:
        cause: what is odd, before the feature.
        said: the same in a sentence, after the feature. No value of a row is told: the ledger keeps it for ever.
        found: feature → its odd rows.
    """
    return [
        Finding(
            cause=f"{cause} of {name}",
            kind="incident" if each.share > _MOST else "drift",
            observed=each.share,
            bound=each.bound,
            said=(
                f"{name}: {each.share:.1%} of the rows {said} (bound {each.bound:.1%}); "
                "the log of `quality` says which values"
            ),
        )
        for name, each in found.items()
        if each.share > each.bound
    ]


def skewed(found: Mapping[str, Skewed]) -> list[Finding]:
    """Features that were served otherwise than the offline store has them: what a training learns is not what the
    server answers by. An incident where it is more than a few answers.

    Args:
        found: feature → how it was served.
    """
    wrong = []
    for name, each in found.items():
        if not each.different:
            continue
        share = each.different / each.rows
        by = "" if each.largest is None else f", by {each.largest:.4g} at most"
        wrong.append(
            Finding(
                cause=f"skew of {name}",
                kind="incident" if share > _SKEWED else "drift",
                observed=share,
                bound=_SKEWED,
                said=f"{name}: {each.different} of {each.rows} answers were made from another value than the offline "
                f"store has of the same entity and moment{by} (bound {_SKEWED:.0%} of the answers)",
            )
        )
    return wrong


def ages(spec: ModelSpec, hours: Mapping[str, float]) -> list[Finding]:
    """Features that were older than their view allows.

    Args:
        spec: the model, with the views that are looked at.
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
        if name in spec.features
        and (freshness := spec.features[name].freshness) is not None
        and is_stale(freshness, age)
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


def told_apart(area: float, bound: float) -> list[Finding]:
    """Whether all features together tell the window from the reference.

    Args:
        area: under the ROC curve of the domain classifier.
        bound: greatest that is normal.
    """
    if area <= bound:
        return []
    said = f"the features together are different: a classifier tells window and reference apart (AUC {area:.3f}, bound "
    return [Finding(cause="drift together", kind="drift", observed=area, bound=bound, said=f"{said}{bound:.3f})")]


def less_sure(confidence: Mapping[str, float], usual: Mapping[str, float]) -> list[Finding]:
    """Whether answers are otherwise sure than they were.

    Args:
        confidence: `distance` from the reference, its `bound`, `entropy` and `near`.
        usual: the last two of the reference.
    """
    if not confidence or confidence["distance"] <= confidence["bound"]:
        return []
    said = (
        f"the confidence of answers changed by {confidence['distance']:.3f} (bound {confidence['bound']:.3g}): entropy "
        f"{confidence['entropy']:.2f} (was {usual['entropy']:.2f}), near the threshold {confidence['near']:.0%} (was "
        f"{usual['near']:.0%})"
    )
    found = Finding(
        cause="confidence", kind="drift", observed=confidence["distance"], bound=confidence["bound"], said=said
    )
    return [found]


def fallen(drop: float, bound: float, name: str, rows: int) -> list[Finding]:
    """A metric that is worse than at evaluation, beyond chance.

    Args:
        drop: by how much.
        bound: what chance makes of it.
        name: of the metric.
        rows: matured rows that it was measured on.
    """
    if not drop > bound:  # neither where one is not known
        return []
    said = f"performance fell by {drop:.3f} in {name} (chance: {bound:.3f}) on {rows} matured rows"
    return [Finding(cause=PERFORMANCE, kind="loss", observed=drop, bound=bound, said=said)]


def likely_worse(rivals: Sequence[Rival], name: str) -> list[Finding]:
    """Than the last known good version, or the baseline, while labels are open.

    Args:
        name: of the metric.
    """
    return [
        Finding(
            cause=f"estimated below {rival.name}",
            kind="loss",
            observed=rival.gain,
            bound=rival.bound,
            said=(
                f"{name} is likely to be worse than with {rival.name} by {rival.gain:.3f} (error of estimates: "
                f"{rival.bound:.3f}); this is blind to a changed relation of inputs and outcome"
            ),
        )
        for rival in rivals
        if rival.better and rival.bound is not None
    ]


def estimated_fall(drop: float, bound: float, name: str, rows: int) -> list[Finding]:
    """A metric that is likely to be worse than at evaluation, while labels are open.

    Args:
        drop: by how much, by estimate.
        bound: by how much such estimates are wrong, and chance.
        name: of the metric.
        rows: answers that it was estimated of.
    """
    if not drop > bound:
        return []
    by = f"{drop:.3f} (error of estimates: {bound:.3f}) on {rows} answers"
    said = f"{name} is likely to be worse than at evaluation by {by}"
    return [Finding(cause="estimated performance", kind="loss", observed=drop, bound=bound, said=said)]
