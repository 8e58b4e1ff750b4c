"""What it is worth to try the library's defaults and the last study's best first: `python
benchmarks/first_trials.py churn 20..50 gradient_boosting logistic_regression`.

For a home into which the model's days were ingested, and no other: it leaves its studies there. As of every third day,
each family (those named, else all of the spec) is searched twice on the same training set, with as many trials: at
random first (4 points that are the same each day, then the sampler), and as training does it. Printed are the mean
score on the time folds, the mean ROC AUC on the evaluation rows, and in how many searches the second way was better.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from statistics import mean

from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks import workload
from evergreen import families as families_of
from evergreen.interval import Interval
from evergreen.model import families, rows
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.families import space
from evergreen.spec.load import load_spec
from evergreen.train import backtesting, rules, searching, stages, tuning

STEP = 3  # days between two trainings
Scores = tuple[float, float]  # of the chosen trial on the time folds; of its model on the evaluation rows


def first(run: Run, family: str, before: str | None) -> Sequence[rules.Proposal]:
    """What training proposes, with the study before this one as the last."""
    best = [] if before is None else tuning.best(before, rules.WARM_TRIALS)
    return rules.first_trials(
        space(family, run.spec.families[family]),
        best,
        study=before or "",
        trials=run.spec.search.trials,
        declared=families_of.family(family).also,
    )


def searched(
    run: Run, family: str, learn: rows.Rows, later: rows.Rows, *, way: str, before: str | None = None
) -> tuple[str, Scores]:
    """One search in one of the two ways; its study, and how well it chose."""
    spec, study = run.spec, f"benchmark/{way}/{run.as_of:%Y-%m-%d}/{family}"
    with threadpool_limits(1):
        parts = backtesting.fold(run, family, learn).parts
        trials = tuning.search(
            study,
            lambda trial: searching.scores(run, family, parts, trial),
            trials=spec.search.trials,
            seed=spec.search.seed if way == "random" else searching.seed(run, family),
            maximize=not spec.search.measure.lower_is_better,
            first=tuple if way == "random" else partial(first, run, family, before),
        )
        best, _ = searching.taken(run, family, trials)
        model = families.build(family, best.params, spec.feature_types, spec.search.seed, label=spec.problem.kind)
        families.fit(model, learn.inputs, learn.labels, learn.weights)
    return study, (best.value, float(roc_auc_score(later.labels, rows.predict(model, later.inputs))))


def main(name: str, span: str, *only: str) -> int:
    """Compare both ways on a model, over days counted from its first one."""
    spec = load_spec(settings().models / name)
    start, end = map(int, span.split(".."))
    results: dict[str, list[tuple[Scores, Scores]]] = {family: [] for family in only or spec.families}
    last: dict[str, str] = {}
    for day in range(start, end + 1, STEP):
        run = Run(spec, Interval.of_day(spec.first_day + timedelta(days=day)), run_id=f"benchmark-{day}")
        workload.labels(run)
        data = stages.build(run)
        learn, later = rows.read(spec, data, "learn"), rows.read(spec, data, "evaluate")
        for family, scores in results.items():
            _, random = searched(run, family, learn, later, way="random")
            last[family], warm = searched(run, family, learn, later, way="first", before=last.get(family))
            scores.append((random, warm))
            print(
                f"{run.as_of:%Y-%m-%d} {family}: folds {random[0]:.4f} {warm[0]:.4f}, later {random[1]:.4f} "
                f"{warm[1]:.4f}",
                flush=True,
            )
    for family, scores in results.items():
        for number, part in enumerate(("time folds", "evaluation")):
            ways = [mean(pair[way][number] for pair in scores) for way in (0, 1)]
            better = sum(warm[number] > random[number] for random, warm in scores)
            print(f"{family}, {part}: {ways[0]:.4f} → {ways[1]:.4f}; better in {better} of {len(scores)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
