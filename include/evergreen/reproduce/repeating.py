"""Makes a registered version once more: its training set, its fit, its scores and gates. Nothing of it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.pipeline import Pipeline

from evergreen.errors import EvidenceMissing, PermanentError, SpecError, VersionGone
from evergreen.evaluate import packaged, scoring
from evergreen.handovers.handover import TrackedRun
from evergreen.handovers.train import Candidate as Found
from evergreen.history import ledger, story
from evergreen.model import rows
from evergreen.model.families import columns_of
from evergreen.model.rows import Rows, predict
from evergreen.registry import artifacts, candidates, loading, pipelines, signatures, tracking
from evergreen.registry import records as registry
from evergreen.registry.contents import (
    GRAPH,
    PIPELINE,
    Evaluation,
    Evidence,
    Gates,
    Recipe,
    Reference,
    Refit,
    Sample,
    Trials,
)
from evergreen.registry.records import Candidate
from evergreen.registry.rules import REFIT, Version
from evergreen.registry.tags import Tag
from evergreen.reproduce import inputs, rules
from evergreen.reproduce.rules import Compared, Moved, Of, Reproduction
from evergreen.run import Run
from evergreen.runtime.exporting import export
from evergreen.spec.columns import EVENT
from evergreen.spec.schema import ModelSpec
from evergreen.train import backtesting, choosing, rebuilding, recipes, records, refitting, searching, selecting
from evergreen.train.rebuilding import Rebuilt
from evergreen.train.records import Record
from evergreen.train.rules import Proposal


@dataclass(frozen=True)
class Made:
    """A fit that was made once more.

    Attributes:
        learn: the rows that it may learn from.
        later: rows that it has not learned from; of a refit, those that were held out from the fit before it.
    """

    candidate: Candidate
    recipe: Recipe
    pipeline: Pipeline
    learn: Rows
    later: Rows


class Repetition:
    """A version that is made once more."""

    def __init__(self, model: str, number: int, *, search: bool = False) -> None:
        """Look up what is recorded of it.

        Raises:
            EvidenceMissing, ArtifactUntrusted: there is no such version, its signature does not hold, or a file of it
                is not what was recorded.
            ModelUnloadable: this release cannot read its spec.
        """
        self.version = registry.version(model, number)
        self.candidate = registry.candidate(self.version.run_id)
        signatures.check(model, self.version, self.candidate)
        self.spec = loading.declared(model, self.version)
        self._model, self._number, self._search = model, number, search
        self._gated = _gated(model, number, self.version)
        self._record = records.of(model, self.version)
        changed_at = tracking.tags(self.version.run_id).get(Tag.CHANGED_AT)
        self._run = Run(
            self.spec,
            self.spec.calendar.until(self._record.as_of),
            reason="reproduction",
            changed_at=None if changed_at is None else datetime.fromisoformat(changed_at),
        )
        self._compared: list[Compared] = []
        self._moved: list[Moved] = []
        self._clocked: list[str] = []
        self._unlooked: list[str] = []

    def made(self, now: ModelSpec | SpecError) -> Reproduction:
        """Make it, and compare.

        Args:
            now: what the model's folder declares by now.

        Raises:
            EvidenceMissing, ArtifactUntrusted: a file of it is not there, or not what was recorded.
            ServiceUnavailable: MLflow, Postgres or the lake's store does not answer.
        """
        self._moved += inputs.machine(self.candidate)
        for each in inputs.declared(self.candidate, self.spec, now):
            (self._moved if isinstance(each, Moved) else self._unlooked).append(each)  # type: ignore[arg-type]
        missing = self._fits()
        return Reproduction(
            self._model,
            self._number,
            self.version.run_id,
            self._record.as_of,
            tuple(self._compared),
            tuple(self._moved),
            missing,
            self._search,
            tuple(self._clocked),
            tuple(self._unlooked),
        )

    def _fits(self) -> str:
        """Make the fit that the gates judged, and its refit where the version is that; why it cannot be made."""
        key = self.version.key.removesuffix(REFIT)
        is_refit = self._gated != self.version.run_id
        record = self._record if not is_refit else records.find(key)
        if record is None:
            return f"nothing is recorded of the training set {key}, which the gated fit learned from"
        built = self._built(record, "gated fit")
        if isinstance(built, str) or built is None:
            return built or ""
        gated = self._made_gated(built)
        if is_refit:
            whole = self._built(self._record, "refit")
            if isinstance(whole, str) or whole is None:
                return whole or ""
            self._compare_refit(gated, whole, record)
        return ""

    def _built(self, record: Record, of: Of) -> Rebuilt | str | None:
        """A training set that is what was recorded; why there is none; None: it differs, which is told."""
        whose = f"the training set of the {of} of version {self._number} of {self._model}"
        try:
            built = rebuilding.again(self.spec, record, whose)
        except VersionGone as error:
            self._moved += inputs.gone(record)
            return error.found
        except EvidenceMissing as error:  # a whole table is gone
            self._moved += inputs.gone(record)
            return error.found
        told = "" if built.wrong is None else built.wrong.found
        self._compared.append(Compared("training set", of, record.content_hash, built.data.content_hash, told))
        if built.wrong is None:
            return built
        self._moved += list(inputs.erased(record)) or inputs.rewritten(record)
        return None

    def _made_gated(self, built: Rebuilt) -> Made:
        split, frame = built.record.split, built.data.rows.to_pandas()
        learn, later = (
            rows.of(self.spec, frame[frame[EVENT].between(*stretch)].reset_index(drop=True))
            for stretch in ((split.learn_from, split.learn_to), (split.evaluate_from, split.evaluate_to))
        )
        candidate = registry.candidate(self._gated)
        recipe = recipes.of(self.spec, candidate)
        self._compare_search(candidate, recipe, learn)
        pipeline, learned = recipes.fit(self.spec, recipe, learn)
        made = Made(candidate, recipe, pipeline, learned, later)
        self._compare_fit("gated fit", made)
        answers = candidates.compared_with(recipe.taking(self.spec), later, predict(pipeline, later.inputs))
        self._compared.append(
            _predictions(self.spec, artifacts.load(candidate, Reference).rows, candidates.kept(self.spec, answers).rows)
        )
        self._compare_gates(replace(made, learn=learn))
        return made

    def _compare_search(self, candidate: Candidate, recipe: Recipe, learn: Rows) -> None:
        """The recipe against the one that the recorded trials lead to, or those of the search made once more."""
        trials, family = artifacts.load(candidate, Trials).root, candidate.family
        if self._search:
            tried_first = [each for each in trials if each.proposed_by not in ("", "sampler")]
            first = [Proposal(dict(each.parameters), each.proposed_by) for each in tried_first]
            found = searching.search(self._run, family, learn, first=first)
            then, now = ({str(n): each for n, each in enumerate(_json(of))} for of in (Trials(trials), found.recorded))
            self._compared.append(rules.values("trials of the search", "gated fit", then, now))
            self._compared.append(rules.values("recipe", "gated fit", _json(recipe), _json(found.recipe)))
            return
        if recipe.selection is not None:
            parts = backtesting.fold(self._run, family, learn).parts
            selected = selecting.select(self._run, family, parts)
            then, now = ({} if each is None else _json(each) for each in (recipe.selection, selected))
            self._compared.append(rules.values("selection of features", "gated fit", then, now))
        ended = [each for each in trials if each.state == "COMPLETE" and each.folds]
        if not ended:
            self._unlooked.append("which trial is taken: an earlier release kept no scores of folds")
            return
        chosen = ended[choosing.choose([each.folds for each in ended], self.spec.search.measure)]
        self._compared.append(
            rules.values("parameters, by its trials", "gated fit", dict(recipe.parameters), dict(chosen.parameters))
        )

    def _compare_fit(self, of: Of, made: Made) -> None:
        """What was fitted, as its files have it."""
        recorded = artifacts.read(made.candidate, PIPELINE)
        then, now = (pipelines.content_digest(each) for each in (recorded, skops.io.dumps(made.pipeline)))
        self._compared.append(Compared("fitted numbers", of, then, now))
        if GRAPH in made.candidate.files:
            graph = export(made.pipeline, columns_of(made.recipe.taking(self.spec).feature_types))
            recorded_graph = made.candidate.files[GRAPH].sha256
            self._compared.append(Compared("graph that answers", of, recorded_graph, hashlib.sha256(graph).hexdigest()))
        sample = candidates.sample(self.spec, made.learn, predict(made.pipeline, made.learn.inputs))
        then_rows, now_rows = (
            {str(n): each for n, each in enumerate(_json(of_rows)["rows"])}
            for of_rows in (artifacts.load(made.candidate, Sample), sample)
        )
        self._compared.append(rules.values("predictions of the probe's rows", of, then_rows, now_rows))

    def _compare_gates(self, made: Made) -> None:
        """Scores on the evaluation rows, and what the gates said of them when the version was registered."""
        evaluation, gates = self._judged(made.candidate)
        if evaluation is None or gates is None:
            self._unlooked.append("scores and gates: none are recorded")
            return
        champion, lost = None, None
        if evaluation.champion is not None:
            lost = evaluation.champion.get("problem") or None
            try:
                champion = registry.version(self._model, int(evaluation.champion["version"]))
            except PermanentError as error:
                told = f"version {evaluation.champion['version']}, the champion of then: {error.found}"
                self._compared.append(Compared("verdicts of the gates", "gated fit", None, None, told))
                return
        evaluated = scoring.score(
            self._run,
            scoring.Scored(
                key=self.version.key.removesuffix(REFIT),
                learn=made.learn,
                later=made.later,
                candidates=(self._as_found(made),),
                fits={made.candidate.family: made.pipeline},
                champion=champion,
                lost=lost,
            ),
        )
        scored = scoring.evaluation(evaluated, evaluated.best)
        again = Evaluation.of_bytes(scored.to_bytes())
        there = evaluation.model_fields_set  # an earlier release recorded less
        then, now = ({k: v for k, v in _json(each).items() if k in there} for each in (evaluation, again))
        self._compared.append(rules.values("scores", "gated fit", then, now))
        _, judged = scoring.verdicts(self._run, evaluated)
        then, now = (_by_name(each) for each in (gates, Gates.of_bytes(judged.to_bytes())))
        if packaged.LATENCY in then:
            self._clocked.append(packaged.LATENCY)
            then.pop(packaged.LATENCY), now.pop(packaged.LATENCY, None)
        self._compared.append(rules.values("verdicts of the gates", "gated fit", then, now))

    def _judged(self, gated: Candidate) -> tuple[Evaluation | None, Gates | None]:
        """What was recorded with the version's card, which nothing writes anew; else of the fit."""
        if Evidence.NAME in self.candidate.files:
            evidence = artifacts.load(self.candidate, Evidence)
            return evidence.evaluation, evidence.gates
        return artifacts.find(gated, Evaluation), artifacts.find(gated, Gates)

    def _as_found(self, made: Made) -> Found:
        """As the search hands it over; how it compared with other families is no matter."""
        return Found(
            family=made.candidate.family,
            run=TrackedRun(id=made.candidate.run_id, page=""),
            search_score=0.0,
            trials=0,
            backtest=made.recipe.backtest,
            threshold=made.recipe.threshold,
            calibrated_on=None if made.recipe.calibration is None else made.recipe.calibration.rows,
            selection=made.recipe.selection,
        )

    def _compare_refit(self, gated: Made, whole: Rebuilt, record: Record) -> None:
        """The recipe of the gated fit on all mature rows, and how the two compare."""
        frame, split = whole.data.rows.to_pandas(), record.split
        learn = rows.of(self.spec, frame)
        held_out = frame[frame[EVENT].between(split.evaluate_from, split.evaluate_to)].reset_index(drop=True)
        later = rows.of(self.spec, held_out)
        recipe = recipes.of(self.spec, self.candidate)
        self._compared.append(rules.values("recipe, as the gated fit's", "refit", _json(gated.recipe), _json(recipe)))
        pipeline, learned = recipes.fit(self.spec, recipe, learn)
        self._compare_fit("refit", Made(self.candidate, recipe, pipeline, learned, later))
        evaluation, _ = self._judged(gated.candidate)
        if evaluation is None or Refit.NAME not in self.candidate.files:
            self._unlooked.append("how the refit compares with the gated fit: it is not recorded")
            return
        answers = (predict(each, later.inputs) for each in (gated.pipeline, pipeline))
        checks = refitting.checks(self._run, later, evaluation, *answers)
        then = {str(each["name"]): dict(each) for each in artifacts.load(self.candidate, Refit).checks}
        now = {check.name: asdict(check) for check in checks}
        self._compared.append(rules.values("checks against the gated fit", "refit", then, now))


def _gated(model: str, number: int, version: Version) -> str:
    """The MLflow run of the fit that the gates of a version judged."""
    return story.judged_run(ledger.entries(model, "registered"), number) or version.run_id


def _json(content: Any) -> Any:
    return content.model_dump(mode="json")


def _by_name(gates: Gates) -> dict[str, Mapping[str, Any]]:
    return {str(gate["name"]): dict(gate) for gate in gates.gates}


def _predictions(spec: ModelSpec, then: pd.DataFrame, now: pd.DataFrame) -> Compared:
    """Predictions of rows that were not learned from, to the last bit."""
    was, became = (np.ascontiguousarray(each[list(spec.problem.outputs)], np.float64) for each in (then, now))
    alike = was.shape == became.shape
    told = (
        f"up to {np.abs(was - became).max(initial=0.0):.3g} apart" if alike else f"{len(was)} rows, now {len(became)}"
    )
    digests = [hashlib.sha256(each.tobytes()).hexdigest() for each in (was, became)]
    return Compared("predictions of the evaluation rows", "gated fit", digests[0], digests[1], told)
