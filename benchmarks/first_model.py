"""From a file to a judged model in an empty home, against scikit-learn's defaults on the same rows:

    python -m benchmarks.first_model FILE --label COLUMN|SQL [--key COLUMN] [--time COLUMN] [--names 6] ...

`evergreen new` and `evergreen try` run as a user runs them, with what is said here. Then HistGradientBoosting with its
defaults learns from the same rows and features as the best candidate did, and both are compared on the same later rows
by the product's own metric and paired interval.

What a search tries depends on chance: its seed and the model's name. So the training is repeated, each time with
another seed, as under another name. Ends with 1 where a candidate is worse, beyond its interval.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from benchmarks import document, workload
from evergreen.evaluate import rules
from evergreen.handovers.train import Evaluated, SoundTrainingSet
from evergreen.local import quiet
from evergreen.loops import inline
from evergreen.model import metrics, rows
from evergreen.registry import pipelines
from evergreen.settings import settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

NAME = "first_model"
_MOST_CATEGORIES = 255  # that scikit-learn takes as such
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What came of a file."""

    rows: tuple[int, int]  # learned from, evaluated on
    metric: str
    family: str
    scores: tuple[float, float]  # Evergreen, scikit-learn
    gain: metrics.Comparison  # of Evergreen over scikit-learn; above 0 it is better
    verdict: str
    reason: str


def plain(spec: ModelSpec, learn: rows.Rows, later: rows.Rows) -> Floats:
    """What HistGradientBoosting with its defaults predicts for the later rows; texts are categories to it."""
    both = pd.concat([learn.inputs, later.inputs], ignore_index=True)
    for name in both.select_dtypes("object").columns:
        codes, values = pd.factorize(both[name])
        few = len(values) <= _MOST_CATEGORIES
        both[name] = both[name].astype("category") if few else pd.Series(codes).where(codes >= 0).astype("float64")
    kind = HistGradientBoostingRegressor if spec.problem.kind == "numeric" else HistGradientBoostingClassifier
    fitted = kind(random_state=0).fit(both.head(len(learn.inputs)), learn.labels)
    return rows.predict(fitted, both.tail(len(later.inputs)))  # type: ignore[arg-type]  # asked as a pipeline is


def of_name(spec: ModelSpec, number: int) -> ModelSpec:
    """The model, with the chance that it has under another name; 0: as it is."""
    search = spec.search.model_copy(update={"seed": spec.search.seed + number})
    return spec.model_copy(update={"search": search})


def compared(spec: ModelSpec) -> Outcome:
    """The best candidate of a training against scikit-learn's defaults."""
    assert spec.last_interval is not None
    results = inline.run(inline.of(spec, spec.last_interval), "train", last="evaluate")  # the first is there already
    data, evaluated = results["validate_training"], results["evaluate"]
    assert isinstance(data, SoundTrainingSet) and isinstance(evaluated, Evaluated)
    learn, later = rows.read(spec, data, "learn"), rows.read(spec, data, "evaluate")
    ours = rows.predict(pipelines.pipeline(evaluated.best.run.id), later.inputs)
    theirs = plain(spec, learn, later)
    metric = metrics.metric(spec.problem, spec.search.metric)
    alike = spec.asking.alike(later.frame).to_numpy(object)
    gates = rules.gates(rules.evidence(evaluated, spec.problem, inline.of(spec, spec.last_interval).as_of), spec.gates)
    return Outcome(
        (len(learn.labels), len(later.labels)),
        metric.name,
        evaluated.best.family,
        (metric.value(later.labels, ours), metric.value(later.labels, theirs)),
        metric.compare(later.labels, ours, theirs, alike),
        rules.verdict(list(gates)),
        rules.reason(list(gates)),
    )


def timed(*command: str) -> float:
    """The seconds that a command of Evergreen takes; what it says is shown.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    started = time.monotonic()
    subprocess.run([str(Path(sys.executable).with_name("evergreen")), *command], check=True)
    return time.monotonic() - started


def main() -> int:
    """Measure one file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_model", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--label", required=True)
    parser.add_argument("--names", type=int, default=6, help="trainings, each with a chance of its own")
    file, chosen = parser.parse_known_args()
    warnings.simplefilter("ignore")
    with workload.empty_home():
        quiet.begin_in_silence()
        try:
            seconds = [timed("new", NAME, "--from", str(file.file.resolve()), "--label", file.label, *chosen)]
            seconds.append(timed("try", NAME))
        except subprocess.CalledProcessError as error:  # whose own words stand above
            print(f"`evergreen {error.cmd[1]}` ended with {error.returncode}", file=sys.stderr)
            return 1
        settings.cache_clear()  # `try` has written the passwords of what it started
        spec = load_spec(settings().models / NAME, settings().data)
        outcomes = []
        for number in range(file.names):
            outcomes.append(compared(of_name(spec, number)))
            print(f"{number + 1} of {file.names}: {told(outcomes[-1])}", flush=True)
    found, scores = outcomes[0], [each.scores[0] for each in outcomes]
    worse = sum(each.gain.high < 0 for each in outcomes)
    print(f"gates: {found.verdict}: {found.reason}")
    line = (
        file.file.name,
        " ".join(["--label", file.label, *chosen]),
        f"{found.rows[0]:,} / {found.rows[1]:,}",
        f"{seconds[0]:.0f} s / {seconds[1]:.0f} s",
        found.verdict,
        f"{found.metric} {min(scores):.4f} to {max(scores):.4f} ({', '.join(sorted({o.family for o in outcomes}))})",
        f"{found.scores[1]:.4f}",
        gained(min(outcomes, key=lambda each: each.gain.gain)),
        f"{worse} of {len(outcomes)}",
    )
    print(document.table(COLUMNS, [line]))
    return int(worse > 0)


def told(found: Outcome) -> str:
    """A training's outcome in a line."""
    ours, theirs = found.scores
    return f"{found.metric} {ours:.4f} ({found.family}) against {theirs:.4f}; gain {gained(found)}"


def gained(found: Outcome) -> str:
    """The gain over scikit-learn, with its interval."""
    return f"{found.gain.gain:+.4f} ({found.gain.low:+.4f} to {found.gain.high:+.4f})"


COLUMNS = (
    "file",
    "said",
    "rows learned / evaluated",
    "new / try",
    "gates",
    "Evergreen, least to best",
    "HistGradientBoosting",
    "least gain, 95 % interval",
    "worse beyond it",
)

if __name__ == "__main__":
    sys.exit(main())
