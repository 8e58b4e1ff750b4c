"""The search of one family: the trials on the time folds of what is learned from, and the recipe that comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import optuna
from threadpoolctl import threadpool_limits

from evergreen import families as declared
from evergreen.errors import EvidenceMissing
from evergreen.model import families
from evergreen.model.rows import Rows
from evergreen.registry import tracking
from evergreen.registry.contents import Recipe, Trial, Trials
from evergreen.run import Run
from evergreen.spec.families import space
from evergreen.train import backtesting, choosing, folding, rules, selecting, tuning
from evergreen.train.folding import Part


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    recipe: Recipe
    trials: tuple[optuna.trial.FrozenTrial, ...]
    """Those that are finished, in order."""
    taken: optuna.trial.FrozenTrial
    """The one that the recipe is made of."""
    reason: str
    """Why it is."""

    @property
    def recorded(self) -> Trials:
        """The trials as a candidate's file has them."""
        return Trials(
            tuple(
                Trial(
                    state=trial.state.name,
                    score=trial.value,
                    parameters=trial.params,
                    proposed_by=tuning.proposer(trial),
                    folds=tuning.of_folds(trial) if trial.state.name == "COMPLETE" else (),
                    taken=trial.number == self.taken.number,
                )
                for trial in self.trials
            )
        )


def search(
    run: Run,
    family: str,
    learn: Rows,
    *,
    study: str | None = None,
    trials: int | None = None,
    first: Sequence[rules.Proposal] | None = None,
) -> Found:
    """Search a family's parameters on the time folds of some rows, first which of them it learns from, and which
    features it takes.

    Args:
        study: kept under this name, and gone on with; None: kept nowhere, and nothing of an earlier search is tried.
        trials: None: as many as the spec says.
        first: what a new study tries first; None: what `rules.first_trials` says.

    Raises:
        EvidenceMissing: no time fold can be scored, or no trial came to its end.
        ServiceUnavailable, RequestRefused: of the database that keeps the study.
    """
    spec = run.spec
    trials = spec.search.trials if trials is None else trials
    with threadpool_limits(1):  # families are tuned side by side, one core each
        folded = backtesting.fold(run, family, learn)
        selection = selecting.select(run, family, folded.parts)
        dropped = () if selection is None else selection.dropped
        run, parts = replace(run, spec=spec.without(dropped)), selecting.narrowed(folded.parts, dropped)
        finished = tuning.search(
            study,
            lambda trial: scores(run, family, parts, trial),
            trials=trials,
            seed=seed(run, family),
            maximize=not spec.search.measure.lower_is_better,
            first=lambda: _first(run, family, trials, kept=study is not None) if first is None else first,
        )
        best, reason = taken(run, family, finished)
        calibration, threshold = folding.decided(run.spec, parts, family, best.params)
    recipe = Recipe(
        family=family,
        parameters=best.params,
        seed=spec.search.seed,
        backtest=folded.backtest,
        threshold=threshold,
        calibration=calibration,
        selection=selection,
    )
    return Found(recipe, tuple(finished), best, reason)


def seed(run: Run, family: str) -> str:
    """Of a study: models of one seed, and trainings of one model, try different points."""
    return f"{run.spec.search.seed}/{run.spec.model}/{family}/{run.as_of.isoformat()}"


def _first(run: Run, family: str, trials: int, *, kept: bool) -> list[rules.Proposal]:
    """What a new study tries first: the library's defaults, what else the family declares, then, where searches are
    kept, the best of the model's last study before this training's moment."""
    model, ranges = run.spec.model, space(family, run.spec.families[family])
    key = tracking.last_key(model, family, before=run.as_of) if kept else None
    last = "" if key is None else tuning.study(model, key, family)
    best = tuning.best(last, rules.WARM_TRIALS) if last else []
    also = declared.family(family).also
    return rules.first_trials(ranges, best, study=last, trials=trials, declared=also)


def scores(run: Run, family: str, parts: Sequence[Part], trial: optuna.Trial) -> Iterator[float]:
    """The score of each time fold, for the parameters that the trial suggests."""
    parameters = families.suggest(trial, family, run.spec.families[family])
    for part in parts:
        yield backtesting.score(run, family, parameters, part)


def taken(run: Run, family: str, trials: Sequence[optuna.trial.FrozenTrial]) -> tuple[optuna.trial.FrozenTrial, str]:
    """The trial that the recipe is made of, and why it is."""
    ended = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not ended:
        raise EvidenceMissing(
            f"searching {family} for {run.subject}",
            found=f"none of {len(trials)} trials gave finite predictions",
            expected="a model that converges",
            next_step=f"narrow the ranges under families.{family} in model.yaml (learning_rate, for one)",
        )
    best = ended[choosing.choose([tuning.of_folds(trial) for trial in ended], run.spec.search.measure)]
    if best is ended[0]:
        return best, f"trial {best.number} ({tuning.proposer(best)}): none after it is better on every fold"
    than = f"trial {ended[0].number} ({tuning.proposer(ended[0])})"
    return best, f"trial {best.number} ({tuning.proposer(best)}): better than {than} on every fold"
