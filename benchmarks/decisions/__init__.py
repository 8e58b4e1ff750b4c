"""When to retrain: the product's rule and its peers, on streams whose truth is known and on real flights.

Every fit of one recipe is scored on every later window of a stream; a rule's life is then a matter of looking up.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import fmean, median

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import document
from benchmarks.decisions import detectors, peers, plot, real, replay, streams
from benchmarks.decisions.fits import Fits, Recipe, boosted, fit_all, logistic
from benchmarks.decisions.replay import Lived, Rule
from benchmarks.decisions.streams import Stream
from evergreen.monitor import paired
from evergreen.settings import PROJECT
from evergreen.spec.retrain import PRESETS, Preset, Retrain

WINDOW, DELAY = 28, 3  # windows of a training, and until labels are mature
SEEDS = int(os.environ.get("SEEDS", "8"))  # streams of each kind
SHUFFLES = 4  # of each real stream, of either kind
_SHOWN = 1  # the seed of the stream that is drawn
_PICTURE = PROJECT / "docs" / "decisions.svg"
_SEEN = 84  # windows from which CARA has its threshold
_YEAR = 365
_CHANGES = ("changes found", "median delay", "false per year before")
_WORTH = ("retrainings", "calendars beaten", "gain over them", "regret")
_HOW = f"""A model learns from {WINDOW} windows, and labels are mature {DELAY} windows later. What served each window is
compared with calendars that retrain as often, of every phase ("calendars beaten", and the mean gain over them), and
with an oracle that knows all losses and pays the same for a retraining ("regret"); both in thousandths of log loss per
row. Rules act on a window as soon as it is over, where they need no labels. Every retraining is deployed. UPF (Regol
and others, 2025) is not among the peers: what could be read of it (a forecast of performance, acted on by a quantile)
does not say enough to build it."""


@dataclass(frozen=True)
class Found:
    """What a rule did on one stream.

    Attributes:
        false, windows: retrainings while nothing had changed, and the windows of that time.
        delays: from each change to the retraining after it; None: it was missed.
        against: mean losses of calendars with as many retrainings.
        regret: loss and cost of retrainings above those of an oracle, per window.
    """

    retrainings: int
    false: int
    windows: int
    delays: tuple[int | None, ...]
    loss: float
    against: tuple[float, ...]
    regret: float


def rules(stream: Stream, fits: Fits, river: Path) -> Mapping[str, Rule]:
    """By the names that the tables show.

    Args:
        river: the interpreter whose environment has river.
    """
    drift, own = peers.Drift(stream, fits.window), {preset: _own(preset, fits) for preset in PRESETS}
    unit = _unit(fits)
    staleness = peers.best_threshold(fits, DELAY, own["balanced"].share * unit, _SEEN)
    return {
        "**Evergreen**": peers.evergreen(own["balanced"]),
        "Evergreen, cautious": peers.evergreen(own["cautious"]),
        "Evergreen, eager": peers.evergreen(own["eager"]),
        "half of the columns drifted (Evidently)": peers.half_of_the_columns(drift),
        "any column drifted": peers.any_column(drift),
        "PSI above 0.2": peers.stability_index(drift),
        "loss a tenth higher": peers.performance_drop(),
        "the same in 3 of 5 windows (Databricks)": peers.performance_drop(of=5, needed=3),
        "ADWIN of the losses": detectors.detector(river, "adwin"),
        "Page-Hinkley of the losses": detectors.detector(river, "page-hinkley"),
        "avoidable loss (Modyn)": peers.avoidable_loss(unit, 0.6),
        "cumulative staleness (CARA)": peers.cumulative_staleness(staleness),
        "every 4 windows": replay.every(4),
        "every 28 windows": replay.every(28),
        "never": replay.never,
    }


def _own(preset: Preset, fits: Fits) -> paired.Rule:
    """The product's rule with a preset of `monitoring.retrain`."""
    said = Retrain(preset=preset)
    return paired.Rule(window=fits.window, delay=DELAY, fast=said.bound, slow=said.slow, share=said.share)


def _unit(fits: Fits) -> float:
    """What the first champion loses on a window."""
    first = fits.window + DELAY
    return float(fits.losses[fits.window - 1, first : first + 4].mean())


def judge(stream: Stream, fits: Fits, lived: Lived) -> Found:
    """A life against the truth, against calendars and against an oracle."""
    starts = [lived.first, *stream.changes, len(stream)]
    quiet = stream.changes[0] if stream.changes else len(stream)
    false = sum(at < quiet for at in lived.retrained)
    delays = [
        next((at - change for at in lived.retrained if change <= at < until), None)
        for change, until in zip(stream.changes, starts[2:], strict=True)
    ]
    unit = paired.Rule(window=fits.window).share * _unit(fits)
    best = replay.oracle(fits, DELAY, unit)
    regret = lived.loss - best["loss"] + unit * (len(lived.retrained) - best["retrainings"]) / len(lived.losses)
    against = replay.calendars(fits, DELAY, len(lived.retrained))
    return Found(len(lived.retrained), false, quiet - lived.first, tuple(delays), lived.loss, tuple(against), regret)


def _lived(stream: Stream, recipe: Recipe, window: int, river: Path) -> dict[str, Found]:
    fits = fit_all(stream, recipe, window)
    return {
        name: judge(stream, fits, replay.live(fits, DELAY, rule)) for name, rule in rules(stream, fits, river).items()
    }


def _simulated(seed: int, river: Path) -> list[tuple[str, dict[str, Found]]]:
    return [(stream.name, _lived(stream, logistic, WINDOW, river)) for stream in streams.simulated(seed)]


def _processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=2, initializer=threadpool_limits, initargs=(1,))


def _tables_of_simulated(river: Path) -> Iterator[str]:
    found: dict[str, dict[str, list[Found]]] = defaultdict(lambda: defaultdict(list))
    with _processes() as pool:
        for of_seed in pool.map(_simulated, range(SEEDS), repeat(river)):
            for kind, of_rules in of_seed:
                for rule, one in of_rules.items():
                    found[rule][kind].append(one)
    kinds, changed = list(next(iter(found.values()))), streams.MATERIAL
    sudden = next(stream for stream in streams.simulated(_SHOWN) if stream.name == "sudden")
    plot.draw(_PICTURE, sudden, paired.Rule(window=WINDOW, delay=DELAY), _points(found))
    yield f"![The rule on one stream, and all rules]({_PICTURE.name})"
    still = [kind for kind in kinds if kind in streams.STILL]
    yield f"{SEEDS} simulated streams of each kind, of {streams.WINDOWS} windows with 300 to 5,000 rows."
    yield "False retrainings per model and year of 365 windows, where nothing changes for good:"
    rows = [[rule, *(f"{_YEAR * _share(of[kind]):.1f}" for kind in still)] for rule, of in found.items()]
    yield document.table(["rule", *still], rows)
    yield "Where the relation of inputs and outcome changes at one moment or several:"
    rows = [[rule, *_changes(_all(of, changed)), *_worth(_all(of, changed))] for rule, of in found.items()]
    yield document.table(["rule", *_CHANGES, *_WORTH], rows)
    yield "Where it changes all the time, with the seasons:"
    others = [kind for kind in kinds if kind not in streams.MATERIAL | streams.STILL]
    yield document.table(["rule", *_WORTH], [[rule, *_worth(_all(of, others))] for rule, of in found.items()])


def _tables_of_real(river: Path) -> Iterator[str]:
    for each in real.streams():
        stream = each.stream
        yield f"{each.origin[0].upper()}{each.origin[1:]}; a model learns from {each.window} windows."
        orders = [made(seed) for seed in range(SHUFFLES) for made in (stream.shuffled, stream.in_any_order)]
        with _processes() as pool:
            of_rules, *found = pool.map(_lived, [stream, *orders], repeat(boosted), repeat(each.window), repeat(river))
        rows = [
            [
                rule,
                *_worth([of_rules[rule]]),
                *(f"{100 * _share([of[rule] for of in found[start::2]]):.1f}" for start in (0, 1)),
            ]
            for rule in of_rules
        ]
        heads = ["false per 100 windows: rows shuffled", "windows shuffled"]
        yield document.table(["rule", *_WORTH, *heads], rows)


def run() -> str:
    """The tables."""
    river = detectors.Environment()
    try:
        return "\n\n".join([_HOW, *_tables_of_simulated(river.python), *_tables_of_real(river.python)])
    finally:
        river.close()


def _points(found: Mapping[str, Mapping[str, list[Found]]]) -> dict[str, tuple[float, list[int | None]]]:
    return {
        rule: (
            _YEAR * _share(_all(of, streams.STILL)),
            [delay for one in _all(of, streams.MATERIAL) for delay in one.delays],
        )
        for rule, of in found.items()
    }


def _all(of: Mapping[str, list[Found]], kinds: Iterable[str]) -> list[Found]:
    return [one for kind in kinds for one in of[kind]]


def _share(of: Sequence[Found]) -> float:
    return sum(one.false for one in of) / sum(one.windows for one in of)


def _changes(of: Sequence[Found]) -> list[str]:
    delays = [delay for one in of for delay in one.delays]
    known = [delay for delay in delays if delay is not None]
    middle = f"{median(known):.0f}" if known else ""
    return [f"{len(known)} of {len(delays)}", middle, f"{_YEAR * _share(of):.1f}"]


def _worth(of: Sequence[Found]) -> list[str]:
    gains = [fmean(one.against) - one.loss for one in of]
    beaten = fmean(float(np.mean(np.array(one.against) > one.loss)) for one in of)
    return [
        f"{fmean(one.retrainings for one in of):.1f}",
        f"{beaten:.0%}",
        f"{1000 * fmean(gains):+.1f}",
        f"{1000 * fmean(one.regret for one in of):.1f}",
    ]
