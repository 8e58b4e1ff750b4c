"""The command that says how a spec would have done over its history: `backtest`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from evergreen.cli.parsing import Commands, positive
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.backtest.backtesting import Backtest, Judged
    from evergreen.model.metrics import Comparison

WINDOWS = 8


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    backtest = commands.add_parser(
        "backtest",
        help="train a spec again at moments of its history, judge each training on what came next, and say what "
        "retraining was worth; nothing of it is recorded",
    )
    backtest.add_argument("model", help="the model's name")
    backtest.add_argument(
        "--windows",
        type=positive,
        default=WINDOWS,
        metavar="N",
        help="how many of the newest windows, each with a training before it (default %(default)s)",
    )
    backtest.add_argument(
        "--length",
        type=_length,
        metavar="LENGTH",
        help="of a window, as a spec writes it: 3d, 2w; default: split.evaluation of model.yaml",
    )
    backtest.add_argument(
        "--trials", type=positive, metavar="N", help="of each search; default: search.trials of model.yaml"
    )
    backtest.add_argument("--json", action="store_true", help="print all of it as JSON")
    backtest.set_defaults(command=_backtest)


def _length(text: str) -> timedelta:
    from pydantic import TypeAdapter, ValidationError

    from evergreen.spec.durations import Duration

    try:
        return TypeAdapter[timedelta](Duration).validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(error.errors()[0]["msg"]) from None


def _backtest(options: argparse.Namespace) -> int:
    from evergreen.backtest import backtesting
    from evergreen.local import quiet
    from evergreen.spec.load import load_spec

    quiet.begin()
    spec = load_spec(settings().models / options.model, settings().data)
    made = backtesting.run(spec, most=options.windows, length=options.length, trials=options.trials)
    print(json.dumps(_as_json(made), indent=1) if options.json else "\n".join(_lines(made)))
    return 0


def _lines(made: Backtest) -> Iterator[str]:
    from evergreen.evaluate.rules import aligned
    from evergreen.handovers.gate import between, number

    spec, measure = made.spec, made.spec.search.metric
    shown = spec.calendar.shown
    first, last = made.windows[0].window, made.windows[-1].window
    yield f"{spec.model}: {len(made.windows)} windows, {shown(first.start)} to {shown(last.end)}, judged by {measure}"
    rows = [("trained as of", "on rows", "family", "judged on", "retrained", "not", "baseline", "gain of retraining")]
    for each in made.windows:
        trained = each.trained
        gain = "" if math.isnan(each.gain.gain) else f"{number(each.gain.gain)} ({between(*each.gain[1:3])})"
        rows.append(
            (
                shown(each.window.start),
                "none" if trained is None else f"{trained.learned:,}",
                "" if trained is None else trained.family,
                f"{each.rows:,}",
                number(each.retrained),
                number(each.kept),
                number(each.baseline),
                "" if each is made.windows[0] else gain,
            )
        )
    yield from (f"  {line}" for line in aligned(rows))
    yield from (f"  {shown(each.window.start)}: no training: {each.why_not}" for each in made.windows if each.why_not)
    if made.gain.rows:
        yield f"Against the training of {shown(first.start)} alone, retraining is {_verdict(made.gain, measure)}"
    else:
        yield "One window tells nothing of retraining: give a shorter --length, or ingest more of the history"
    yield f"Against the baseline, it is {_verdict(made.over_baseline, measure)}"


def _verdict(gain: Comparison, measure: str) -> str:
    from evergreen.handovers.gate import between, number

    if math.isnan(gain.gain):
        return f"not comparable: {measure} is not defined on these {gain.rows:,} rows"
    on = f"on {gain.rows:,} rows"
    if math.isnan(gain.low):
        return f"ahead by {number(gain.gain)} {measure} {on}, too few to say how surely"
    interval = f"{measure} by {number(gain.gain)} ({between(gain.low, gain.high)}), {on}"
    if gain.low > 0:
        return f"better: {interval}"
    if gain.high < 0:
        return f"worse: {interval}"
    return f"neither surely better nor surely worse: {interval}, which tell a difference from {number(gain.tells)} on"


def _as_json(made: Backtest) -> dict[str, object]:
    return {
        "model": made.spec.model,
        "metric": made.spec.search.metric,
        "as_of": made.as_of.isoformat(),
        "versions": made.versions,
        "windows": [_window(each) for each in made.windows],
        "gain_of_retraining": _compared(made.gain),
        "gain_over_baseline": _compared(made.over_baseline),
    }


def _window(judged: Judged) -> dict[str, object]:
    from evergreen.handovers.handover import finite

    trained = judged.trained
    return {
        "start": judged.window.start.isoformat(),
        "end": judged.window.end.isoformat(),
        "rows": judged.rows,
        "trained": None
        if trained is None
        else {
            "family": trained.family,
            "parameters": dict(trained.parameters),
            "rows": trained.learned,
            "score_on_time_folds": finite(trained.searched),
        },
        "why_not_trained": judged.why_not or None,
        "retrained": finite(judged.retrained),
        "not_retrained": finite(judged.kept),
        "baseline": finite(judged.baseline),
        "gain_of_retraining": _compared(judged.gain),
        "scores": {str(name): finite(value) for name, value in judged.scores.items()},
    }


def _compared(gain: Comparison) -> Mapping[str, Any]:
    from evergreen.handovers.handover import finite

    return {
        name: finite(value) if isinstance(value, float) else value
        for name, value in gain._asdict().items()
        if name in ("gain", "low", "high", "rows", "tells")
    }
