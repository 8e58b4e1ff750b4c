"""The page of a window: what its decision was made from, the decision's evidence first.

`<reports>/<model>/windows/<key>.html`; a rerun replaces it. It holds no row of the data, needs no script and no
network, and stays small whatever the window has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from evergreen.handovers.monitor import Collected, Decided, Drift, Performance, Quality, Worth
from evergreen.history.events import Decided as Recorded
from evergreen.monitor import worth
from evergreen.monitor.paired import Evidence, Rule, Window
from evergreen.reports import charts
from evergreen.reports.charts import Band, Line, Mark, number
from evergreen.reports.pages import address, publish, render, style
from evergreen.reports.policy import policy
from evergreen.run import Run
from evergreen.spec.business_value import PER
from evergreen.spec.schema import ModelSpec

WINDOWS = 90  # that the charts show
_FEATURES = 40  # that have a row of their own
_CUT = 3.0  # times its bound: evidence beyond it would press the rest of its chart flat
_BADGES = {"none": "passed", "alert": "broken", "wait for labels": "warnings", "retrain": "warnings"}


@dataclass(frozen=True)
class Weighed:
    """A window whose champion was compared with an understudy, and the evidence as of it."""

    key: str
    window: Window
    evidence: Evidence


@dataclass(frozen=True)
class Seen:
    """A window as its decision has it: how well the version did that answered."""

    key: str
    version: int
    value: float  # of the search metric
    reference: float | None  # at the version's evaluation
    rows: int
    worth: Worth | None = None


@dataclass(frozen=True)
class Shown:
    """What a page is drawn from: what the tasks before it found.

    Attributes:
        compared: the windows up to this one, the oldest first.
        decided: the decisions that stand about the windows up to this one, the oldest first.
        behind: Evidently's pages that were drawn, by their kind, such as `drift`.
    """

    collected: Collected
    quality: Quality
    drift: Drift
    performance: Performance
    decision: Decided
    decided: Sequence[Recorded] = ()
    compared: Sequence[Weighed] = ()
    rule: Rule | None = None
    behind: Sequence[str] = ()


def of(spec: ModelSpec, key: str) -> str:
    """The address of the page of a window, drawn or not."""
    return address(_below(spec, key))


def write(run: Run, shown: Shown) -> str:
    """Draw the page, whole or not at all; returns its address."""
    spec, key, decision = run.spec, shown.collected.partition, shown.decision
    seen = [each for decided in shown.decided[-WINDOWS:] for each in performed(spec, decided)]
    page = render(
        Path(__file__).with_name("window_page.html"),
        model=spec.model,
        key=key,
        action=decision.action,
        badge=_BADGES[decision.action],
        reasons=list(decision.reasons),
        decision=decision.decision_id,
        rows=f"{shown.collected.rows:,}",
        version=shown.collected.version,
        champion=shown.collected.champion,
        interval=f"{spec.calendar.shown(run.interval.start)} to {spec.calendar.shown(run.interval.end)}",
        since=None if decision.changed_at is None else spec.calendar.shown(decision.changed_at),
        tiles=list(_tiles(spec, shown)),
        compared=_evidence(shown),
        metric=shown.performance.metric,
        performance=_performance(seen, shown.performance.metric),
        versions=list(_versions(seen)),
        groups=list(_groups(shown.performance)),
        valued=any(each.worth is not None for each in seen),
        still_open=shown.performance.still_open,
        drift=_drift(shown.drift),
        missing=_missing(shown.quality),
        skew=_skew(shown.quality),
        ages={name: f"{hours:.1f} hours" for name, hours in shown.collected.ages.items()},
        behind={kind: f"../{kind}/{quote(key)}.html" for kind in shown.behind},
        style=Markup(style()),
        policy=policy(style=style()),
    )
    return publish(_below(spec, key), page)


def performed(spec: ModelSpec, decided: Recorded) -> list[Seen]:
    """What a decision says of how well versions did: of the one that answered then, and of those whose labels matured
    after it took over."""
    said: Any = decided.evidence.get("performance")
    if not isinstance(said, Mapping):
        return []
    others = said.get("others")
    each_has = [{**said, "version": decided.version}, *(others if isinstance(others, Sequence) else [])]
    key = spec.calendar.interval_of(decided.start).partition
    return [seen for each in each_has if (seen := _seen(key, each)) is not None]


def _seen(key: str, said: Any) -> Seen | None:
    """What a release kept of a version; None: nothing, or in another shape."""
    if not isinstance(said, Mapping):
        return None
    version, value, reference, rows = (said.get(name) for name in ("version", "value", "reference", "rows"))
    if not isinstance(version, int) or not isinstance(value, int | float):
        return None
    known = float(reference) if isinstance(reference, int | float) else None
    return Seen(
        key, version, float(value), known, rows if isinstance(rows, int) else 0, worth.recorded(said.get("worth"))
    )


def _below(spec: ModelSpec, key: str) -> str:
    return f"{spec.model}/windows/{key}.html"


def _tiles(spec: ModelSpec, shown: Shown) -> Iterator[dict[str, Any]]:
    """The numbers that a reader looks for first."""
    if shown.compared and shown.rule is not None:
        last, rule = shown.compared[-1].evidence, shown.rule
        strength = max(last.fast / rule.fast, last.slow / rule.slow)
        yield {
            "name": "gap to a fresh fit",
            "value": number(last.gap),
            "said": f"noise {number(last.noise)}",
            "bad": last.noise is not None and last.gap > last.noise,
        }
        yield {"name": "evidence", "value": number(strength), "said": "times its bound", "bad": strength >= 1}
        yield {
            "name": "avoided loss",
            "value": number(last.avoided),
            "said": f"a retraining costs {number(last.cost)}",
            "bad": last.cost is not None and last.avoided >= last.cost,
        }
    score = shown.performance
    if score.value is not None:
        between = "" if score.low is None else f"{number(score.low)} to {number(score.high)}; "
        yield {
            "name": score.metric,
            "value": number(score.value),
            "said": f"{between}{number(score.reference)} at evaluation",
            "bad": score.significant and (score.drop or 0) > 0,
        }
    if (value := score.worth) is not None:
        usual = "" if value.usual is None else f"; {worth.amount(value.usual)} at evaluation"
        yield {
            "name": f"{value.currency} per {PER:,} predictions",
            "value": worth.amount(value.value),
            "said": f"{worth.between(value.low, value.high)}{usual}",
            "bad": value.lost_low is not None and value.lost_low > 0,
        }
        yield {
            "name": "worth of the interval",
            "value": f"{worth.amount(worth.of_window(value.value, shown.collected.rows))} {value.currency}",
            "said": f"as its {shown.collected.rows:,} predictions are, if they do as those that matured",
            "bad": False,
        }
    if score.estimated is not None:
        yield {
            "name": f"likely {score.metric} now",
            "value": number(score.estimated),
            "said": f"{number(score.estimated_low)} to {number(score.estimated_high)}; labels are open",
            "bad": any(finding.cause == "estimated performance" for finding in score.findings),
        }
    drifted = sum(finding.cause.startswith("drift of ") for finding in shown.drift.findings)
    if shown.drift.distances:
        yield {
            "name": "features drifted",
            "value": f"{drifted} of {len(shown.drift.distances)}",
            "said": "reported; no cause of retraining by itself",
            "bad": False,
        }
    least = spec.monitoring.minimum_rows
    yield {
        "name": "predictions",
        "value": f"{shown.collected.rows:,}",
        "said": f"at least {least:,} expected" if least else "compared with the intervals before",
        "bad": any(finding.cause == "volume" for finding in shown.quality.findings),
    }


def _evidence(shown: Shown) -> dict[str, Any] | None:
    """The three charts of the rule *paired*; None: nothing was compared yet."""
    if not shown.compared or shown.rule is None:
        return None
    compared, rule = shown.compared[-WINDOWS:], shown.rule
    keys, told = [each.key for each in compared], [each.evidence for each in compared]
    marks = _changes([each.window.version for each in compared])
    noise = [each.noise for each in told]
    ones: list[float | None] = [1.0] * len(told)
    band = Band("noise: what two fresh fits differ by", [None if n is None else -n for n in noise], noise)
    last = told[-1]
    return {
        "windows": len(shown.compared),
        "since": None if last.since is None else shown.compared[last.since].key,
        "due": last.due,
        "cut": _CUT,
        "gap": charts.over_windows(
            keys,
            [Line("gap: champion's loss above a fresh fit's", [each.gap for each in told])],
            band=band,
            marks=marks,
            said=f"gap per window with its noise; the newest is {number(last.gap)}, noise {number(last.noise)}",
        ),
        "bound": charts.over_windows(
            keys,
            [
                Line("quick evidence, of its bound", [min(each.fast / rule.fast, _CUT) for each in told]),
                Line("slow evidence, of its bound", [min(each.slow / rule.slow, _CUT) for each in told], 3),
            ],
            bounds=[Line("bound", ones, 1)],
            marks=marks,
            said=f"evidence against its bound; the newest is {number(last.fast / rule.fast)}",
        ),
        "cost": charts.over_windows(
            keys,
            [Line("avoided loss", [each.avoided for each in told], 2)],
            bounds=[Line("cost of a retraining", [each.cost for each in told], 1)],
            marks=marks,
            said=f"avoided loss {number(last.avoided)} against the cost of a retraining {number(last.cost)}",
        ),
    }


def _performance(seen: Sequence[Seen], metric: str) -> Markup:
    """The metric by window, a line for each version, with what it was at its evaluation."""
    keys = list(dict.fromkeys(each.key for each in seen))
    lines, bounds = [], []
    for colour, version in enumerate(sorted({each.version for each in seen})):
        own = {each.key: each for each in seen if each.version == version}
        values = [own[key].value if key in own else None for key in keys]
        references = [own[key].reference if key in own else None for key in keys]
        lines.append(Line(f"version {version}", values, colour))
        bounds.append(Line(f"at evaluation ({version})", references, colour))
    newest = f"; the newest is {number(seen[-1].value)}" if seen else ""
    return charts.over_windows(keys, lines, bounds=bounds, zero=False, said=f"{metric} by window and version{newest}")


def _versions(seen: Sequence[Seen]) -> Iterator[dict[str, str]]:
    for version in sorted({each.version for each in seen}, reverse=True):
        own = [each for each in seen if each.version == version]
        rows = sum(each.rows for each in own)
        mean = sum(each.value * each.rows for each in own) / rows if rows else None
        yield {
            "worth": worth.line(worth.together([each.worth for each in own if each.worth is not None])),
            "version": str(version),
            "windows": f"{len(own)}, {own[0].key} to {own[-1].key}",
            "rows": f"{rows:,}",
            "value": number(mean),
            "lowest": f"{number(min(each.value for each in own))} to {number(max(each.value for each in own))}",
            "reference": number(own[-1].reference),
        }


def _groups(performance: Performance) -> Iterator[dict[str, Any]]:
    """How alike the groups of each protected attribute are decided on: of the answers, and of those that matured."""
    for of, found in (("answers", performance.fairness.answered), ("matured", performance.fairness.matured)):
        for each in found:
            yield {
                "attribute": each.attribute,
                "of": of,
                "shares": each.answered,
                "numbers": [_named(name, *measured) for name, measured in each.numbers.items()],
            }


def _named(name: str, value: float | None, low: float | None, high: float | None) -> str:
    between = "" if low is None or high is None else f" ({number(low)} to {number(high)})"
    return f"{name.replace('_', ' ')} {number(value)}{between}"


def _drift(drift: Drift) -> dict[str, Any]:
    """The features, the most different first, and the predictions."""
    named = [(name, distance, drift.bounds.get(name, 1.0)) for name, distance in drift.distances.items()]
    named.sort(key=lambda each: -each[1])
    bound = 1.0 if drift.prediction_bound is None else drift.prediction_bound
    predicted = [(f"predictions: {name}", each, bound) for name, each in drift.classes.items()]
    if not predicted and drift.prediction is not None:
        predicted = [("predictions", drift.prediction, bound)]
    rows = [*predicted, *named[:_FEATURES]]
    greatest = max((distance for _, distance, _ in rows), default=0.0)
    return {
        "rows": [
            {
                "name": name,
                "distance": number(distance),
                "bound": number(bound),
                "bar": charts.bar(distance, bound, greatest),
            }
            for name, distance, bound in rows
        ],
        "more": max(0, len(named) - _FEATURES),
        "beside": list(_beside(drift)),
    }


def _beside(drift: Drift) -> Iterator[str]:
    """What was seen of all features together, and of how sure the answers are."""
    if drift.together is not None:
        yield (
            "All features together: a classifier tells the window from the reference with an area under the ROC curve "
            f"of {number(drift.together)} (bound {number(drift.together_bound)})."
        )
    if sure := drift.confidence:
        apart = f"distance {number(sure['distance'])} (bound {number(sure['bound'])}), " if "distance" in sure else ""
        yield (
            f"Confidence of the answers: {apart}entropy {number(sure['entropy'])} bits, {sure['near']:.0%} near the "
            "threshold."
        )


def _missing(quality: Quality) -> list[dict[str, Any]]:
    """Features whose share of nulls grew, the most first."""
    grown = sorted(((share, name) for name, share in quality.missing.items() if share > 0), reverse=True)[:_FEATURES]
    return [
        {"name": name, "share": f"{share:.1%}", "bar": charts.bar(share, quality.bounds.get(name, 1.0), 1.0)}
        for share, name in grown
    ]


def _skew(quality: Quality) -> dict[str, Any]:
    """Features that were served otherwise than the offline store has them, the most first."""
    odd = [(name, each) for name, each in quality.skew.items() if each.different or each.since or each.nothing]
    odd.sort(key=lambda item: (-item[1].different, -item[1].since, -item[1].nothing))
    return {
        "compared": max((each.rows for each in quality.skew.values()), default=0),
        "rows": [
            {
                "name": name,
                "rows": f"{each.rows:,}",
                "different": f"{each.different:,}",
                "largest": number(each.largest),
                "since": f"{each.since:,}",
                "nothing": f"{each.nothing:,}",
            }
            for name, each in odd[:_FEATURES]
        ],
        "more": max(0, len(odd) - _FEATURES),
    }


def _changes(versions: Sequence[int]) -> list[Mark]:
    """Where another version took over."""
    return [
        Mark(position, f"version {after} in place of version {before}")
        for position, (before, after) in enumerate(pairwise(versions), start=1)
        if before != after
    ]
