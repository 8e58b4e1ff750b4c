"""What follows what in each loop. The only wiring there is: Airflow, one process and the docs interpret it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from evergreen.challenge import stages as challenging
from evergreen.correct import stages as correction
from evergreen.evaluate import stages as evaluation
from evergreen.features import stages as features
from evergreen.govern import stages as governing
from evergreen.ingest import stages as ingestion
from evergreen.labels import stages as labelling
from evergreen.loops.wire import Loop, LoopName, Step, Wire
from evergreen.monitor import stages as monitoring
from evergreen.registry import stages as registry
from evergreen.serve import stages as serving
from evergreen.train import stages as training
from evergreen.validate import stages as validation


def ingest(loop: Wire) -> None:
    """Each interval's data, from where it arrives to the online store."""
    _ingested(loop)


def correct(loop: Wire) -> None:
    """One interval again, from what its batches say now: first the list of what that changes, then the change."""
    # Never move this edge: a dry run ends at `begin`, and nothing is changed before it is written down who wants it.
    begun = loop.stage(correction.begin, loop.stage(correction.plan))
    published, _online = _ingested(loop, begun)
    loop.stage(correction.relabel, after=[published])


def _ingested(loop: Wire, *before: Step) -> tuple[Step, Step]:
    """The steps of an ingestion; returns the one with which the raw rows are published, and the last."""
    extracted = loop.stage(ingestion.extract, after=before)
    validated = loop.stage(validation.validate, extracted)
    published = loop.stage(ingestion.publish, validated)
    # From the lake on, what is computed depends on all days that are published, whoever published them.
    computed = loop.stage(features.compute, name="features", after=[published])
    sound = loop.stage(validation.validate_features, computed)
    stored = loop.stage(features.publish, sound, name="publish_features")
    return published, loop.stage(features.materialize, after=[stored])


def train(loop: Wire) -> None:
    """From mature labels to a version that serves."""
    data = loop.stage(training.build, after=[loop.stage(labelling.labels)])
    sound = loop.stage(validation.validate_training, data)
    candidates = loop.each(
        training.tune, sound, over="family"
    )  # one study each: the same result, side by side or in turns
    evaluated = loop.stage(evaluation.evaluate, sound, candidates)
    judged = loop.stage(evaluation.gates, evaluated)
    # Never move these edges. Nothing is registered but what every gate passed, and what a person allowed where its risk
    # asks for one; nothing is deployed but what is registered and was probed: without it a model that nobody judged
    # would answer, and the version that rollback returns to might be one of those.
    fitted = loop.stage(training.refit, loop.stage(governing.approve, judged))
    registered = loop.stage(registry.register, fitted)
    documented = loop.stage(governing.card, registered)  # nothing serves of which nobody could read what it is
    loop.stage(serving.deploy, loop.stage(serving.probe, documented))
    # Last, and nothing after it: no decision waits for a drawing, or fails with one.
    loop.stage(evaluation.describe, sound, evaluated)


def monitor(loop: Wire) -> None:
    """One window of live predictions, and what is to be done about it."""
    collected = loop.stage(monitoring.collect)
    drift = loop.stage(monitoring.drift, collected)
    labelled = loop.stage(labelling.labels)
    # What a request should have said stands with its label.
    quality = loop.stage(monitoring.quality, collected, after=[labelled])
    performance = loop.stage(monitoring.performance, collected, after=[labelled])
    compared = loop.stage(monitoring.compare, collected, after=[labelled])
    decision = loop.stage(monitoring.decide, collected, quality, drift, performance, compared)
    loop.stage(monitoring.alert, quality, performance, decision)
    # The monitor's two levers. While labels are open it goes back to a version that was good, where the owner wants
    # that; and a decision starts at most one training, however often its task runs.
    loop.stage(monitoring.fall_back, collected, decision)
    wanted = loop.stage(monitoring.retrain_wanted, decision)
    loop.start("train", wanted, name="retrain")
    # Last, and nothing after it: no decision waits for a drawing, or fails with one.
    loop.stage(monitoring.report, collected, quality, drift, performance, compared, decision)


def rollout(loop: Wire) -> None:
    """The version beside the champion: what it answered, how it compares, and the move that follows."""
    # Never move this edge: nothing is moved but by what was compared, or by a person who names what is to be moved.
    loop.stage(challenging.move, loop.stage(challenging.compare, loop.stage(challenging.collect)))


def rollback(loop: Wire) -> None:
    """Back to the last known good version."""
    loop.stage(serving.roll_back, name="rollback")


LOOPS: Mapping[LoopName, Loop] = MappingProxyType(
    {
        loop.name: loop
        for loop in (
            Loop("ingest", "dataset", "each day's data: validated, published, turned into features", ingest),
            Loop("train", "model", "tune, gate, register and deploy a model", train),
            Loop("monitor", "model", "compare live predictions with the reference, decide, retrain", monitor),
            Loop("rollout", "model", "while a rollout is open: compare, then advance, promote or roll back", rollout),
            Loop("correct", "dataset", "by hand: one interval again, and before it the list of what changes", correct),
            Loop("rollback", "model", "by hand: let the last known good version serve again", rollback),
        )
    }
)
