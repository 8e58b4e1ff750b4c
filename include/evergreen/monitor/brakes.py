"""What came of the last retraining, and why none is made until a person acts, as findings. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from evergreen.handovers.monitor import Finding
from evergreen.monitor.evidence import Unfit
from evergreen.spec.rules.days import BUDGET_PERIOD
from evergreen.spec.schema import ModelSpec

MOST_USELESS = 2  # retrainings in a row that did not help
# Causes of brakes.
RECIPE, COMPARISON, PERSON, BUDGET = "the recipe", "the comparison", "a person is needed", "the budget"


@dataclass(frozen=True)
class Retrained:
    """A retraining that the monitor started, and what came of it.

    Attributes:
        decision_id, end: of the decision, and of its window.
        helped: whether it did; None: nobody knows yet.
        outcome: what came of it, in words.
        refused: its gates let no candidate through, or the rollout of its version came to nothing.
        gain: what the new version loses less than the one that it replaced, per row.
    """

    decision_id: str
    end: datetime
    helped: bool | None
    outcome: str
    refused: bool = False
    gain: float = 0.0


def outcome(last: Retrained) -> Finding | None:
    """What came of a retraining; None: nobody knows yet."""
    if last.helped is None:
        return None
    said, next_step = last.outcome, ""
    if last.refused:
        said = f"the retraining of decision {last.decision_id} {last.outcome}"
        next_step = (
            "look at its gates in MLflow, or at its rollout in the history, and at what the candidates learned from"
        )
    elif not last.helped:
        next_step = f"none yet; after {MOST_USELESS} in a row that did not help a person has to look"
    cause = f"retraining {last.decision_id}"
    return Finding(cause=cause, kind="outcome", observed=last.gain, bound=0.0, said=said, next_step=next_step)


def comparison(champion: int | None, recipe: str | None) -> Finding:
    """The champion's recipe cannot be fitted anew."""
    said = (
        f"no fresh fit of version {champion}'s recipe can be made, since another one is declared now ({recipe}): "
        "nobody knows whether a retraining pays"
    )
    next_step = "train by hand: a version of the declared recipe can be compared again"
    return Finding(cause=COMPARISON, kind="brake", observed=0, bound=0, said=said, next_step=next_step)


def unfit(spec: ModelSpec, unfit: Unfit) -> Finding:
    """Fresh fits of the recipe lose as much as the champion, and more than they did."""
    if unfit.recipe is not None:
        said = (
            f"since {spec.calendar.shown(unfit.since)} fresh fits of version {unfit.versions[-1]}'s recipe lose "
            f"{unfit.now:.4f} per row, where fits of the one before lost {unfit.usual:.4f}: the recipe changed, and "
            f"the world need not have (before: {unfit.recipe})"
        )
        next_step = "compare both recipes on the same rows, and declare the one before again if it is better"
        return Finding(
            cause=RECIPE, kind="brake", observed=unfit.now, bound=unfit.usual, said=said, next_step=next_step
        )
    said = (
        f"retraining will not help: since {spec.calendar.shown(unfit.since)} fresh fits of the champion's recipe lose "
        f"{unfit.now:.4f} per row, as the champion does, where they lost {unfit.usual:.4f}"
    )
    next_step = "look at the data and the features, or declare other families"
    return Finding(cause=RECIPE, kind="brake", observed=unfit.now, bound=unfit.usual, said=said, next_step=next_step)


def person(useless: Sequence[Retrained]) -> Finding:
    """Retrainings did not help, one after the other."""
    said = f"{len(useless)} retrainings in a row did not help: a person has to look"
    next_step = "look at the gates and the page of the window, then train by hand"
    return Finding(
        cause=PERSON, kind="brake", observed=len(useless), bound=MOST_USELESS, said=said, next_step=next_step
    )


def budget(recent: int, budget: int) -> Finding:
    """The retrainings of 30 days are used up."""
    said = f"budget: {recent} retrainings in {BUDGET_PERIOD.days} days (at most {budget})"
    next_step = "train by hand, or raise monitoring.budget, if it cannot wait"
    return Finding(cause=BUDGET, kind="brake", observed=recent, bound=budget, said=said, next_step=next_step)


def in_words(finding: Finding) -> str:
    """What it says, and what a person does about it."""
    return f"{finding.said}; {finding.next_step}" if finding.next_step else finding.said
