"""docs/decisions.svg: a stream as the rule sees it, and all rules by how often they are wrong and how long they
wait."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.decisions import peers, replay
from benchmarks.decisions.fits import fit_all, logistic
from benchmarks.decisions.streams import Stream
from evergreen.monitor import paired

_STYLE: Any = {
    "svg.hashsalt": "evergreen",  # the same picture, byte for byte
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(path: Path, stream: Stream, rule: paired.Rule, points: Mapping[str, tuple[float, list[int | None]]]) -> None:
    """Write the picture.

    Args:
        stream: with one change.
        points: rule → false retrainings per year, and the delay of each change; None: it was missed.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with pyplot.rc_context(_STYLE):
        figure, (losses, evidence, all_rules) = pyplot.subplots(3, 1, figsize=(7.2, 8.4), height_ratios=(2, 2, 3))
        fits, seen = fit_all(stream, logistic, rule.window), list[paired.Evidence]()
        lived = replay.live(fits, rule.delay, peers.evergreen(rule, seen.append))
        windows = np.arange(lived.first, lived.first + len(seen))
        understudy = [fits.losses[window - 1, window] for window in windows]
        losses.plot(windows, lived.losses[: len(seen)], label="champion")
        losses.plot(windows, understudy, label="understudy, fitted on the windows before")
        losses.set_ylabel("log loss")
        evidence.plot(windows, [each.fast for each in seen], label="evidence that adds up quickly")
        evidence.axhline(rule.fast, linestyle=":", color="grey", label="its bound")
        evidence.set_ylabel("evidence")
        evidence.set_xlabel("window")
        for axes in (losses, evidence):
            axes.axvline(stream.changes[0], color="black", linewidth=0.8, label="the world changes")
            for number, at in enumerate(lived.retrained):
                axes.axvline(at, color="tab:red", linewidth=0.8, label=None if number else "retraining")
            axes.legend(frameon=False, loc="upper right")
        for number, (name, (false, delays)) in enumerate(points.items()):
            known = [delay for delay in delays if delay is not None]
            if not known:
                continue
            found = len(known) / len(delays)
            all_rules.scatter(false + 0.05, median(known), s=60 * found, color="tab:red" if not number else "tab:blue")
            all_rules.annotate(
                f"{name.strip('*')}, {found:.0%} found",
                (false + 0.05, median(known)),
                (4, 3),
                textcoords="offset points",
            )
        all_rules.set_xscale("log")
        all_rules.set_xlim(0.04, 3000)  # the names need room
        all_rules.set_xlabel("false retrainings per year where nothing changes for good (0.05 is none)")
        all_rules.set_ylabel("median windows from a change to the retraining")
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
