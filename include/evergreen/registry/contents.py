"""What the files of a candidate hold: a class per file, which alone knows its name and its form.

A file is written by `candidates` or `tracking`, which record its digest, and read by
`artifacts.load`, which lets nothing else through.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, RootModel

from evergreen.handovers.calibration import Calibration
from evergreen.handovers.explanation import ExplainedRow
from evergreen.handovers.fairness import Fair
from evergreen.handovers.selection import Importance, Selected
from evergreen.handovers.train import Backtest, LearningWindow, SliceScore
from evergreen.registry.papers import CardPage, CardText, ReportPage, ReportText
from evergreen.registry.tags import Tag
from evergreen.spec.problem import Answer
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

PIPELINE = "model.skops"  # the fitted pipeline, in MLflow's logged model; all others are the run's
GRAPH = "model.onnx"  # what answers for it, where it is as faithful and faster


class Content(Protocol):
    """What a file holds."""

    NAME: ClassVar[str]

    def to_bytes(self) -> bytes:
        """The file."""
        ...

    @classmethod
    def of_bytes(cls, content: bytes) -> Self:
        """What a file holds that this release or one before it has written."""
        ...


class _AsJson(BaseModel):
    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=1).encode()

    @classmethod
    def of_bytes(cls, content: bytes) -> Self:
        """Of JSON, in which moments, durations and tuples are written otherwise."""
        return cls.model_validate_json(content)


class _Json(_AsJson):
    # What a release after this one writes beside it is no mistake.
    model_config = ConfigDict(frozen=True, extra="ignore")


@dataclass(frozen=True)
class Reference:
    """What the monitor compares with."""

    NAME: ClassVar[str] = "reference.parquet"
    rows: pd.DataFrame
    """Rows that the candidate has not learned from, a sample where there are many: the features as the model takes
    them, its predictions, and in `event_timestamp` and `label` when they were made and what came true. Of an earlier
    release it is rows that the candidate learned from, and these two may not be there."""

    def to_bytes(self) -> bytes:
        """Parquet."""
        content: bytes = self.rows.to_parquet(None, index=False)
        return content

    @classmethod
    def of_bytes(cls, content: bytes) -> Self:
        """Of Parquet."""
        import pandas as pd

        return cls(pd.read_parquet(io.BytesIO(content)))


class SampleRow(BaseModel):
    """A row, and what was predicted of it."""

    model_config = ConfigDict(frozen=True)
    features: Mapping[str, Any]
    """null where one is missing."""
    prediction: Answer
    """To the last bit."""


class Sample(_Json):
    """What a fresh server is asked: it must answer as training did."""

    NAME: ClassVar[str] = "sample.json"
    rows: tuple[SampleRow, ...]


class Evaluation(_Json):
    """How a candidate did on the later rows. Of a file of an earlier release the value alone is sure to be there."""

    NAME: ClassVar[str] = "evaluation.json"
    value: float | None
    """Of the metric that is searched by; null: it is not defined on these rows."""
    metric: str = ""
    """Its name."""
    scores: Mapping[str, float | None] = {}
    """metric → value."""
    uncalibrated: Mapping[str, float | None] | None = None
    """The scores without the map of its probabilities; null: it has none."""
    rows: int = 0
    rows_of_class: Mapping[str, int] | None = None
    """class → rows; null: the label has none."""
    baseline: Mapping[str, float | None] = {}
    """The scores of the trivial answer, or of the baseline that the spec states."""
    baseline_is: str = ""
    """What that is."""
    champion: Mapping[str, Any] | None = None
    """The champion on the same rows; null: there was none."""
    slices: tuple[SliceScore, ...] = ()
    """How it does on parts of the rows, the worst first; of a candidate that is not the best none."""
    intervals: Mapping[str, tuple[float | None, float | None]] = {}
    """metric → lower and upper end of the score's interval; likewise."""
    fairness: tuple[Fair, ...] = ()
    """How alike it decides on the groups of each protected attribute; likewise."""
    importances: tuple[Importance, ...] = ()
    """Which inputs it leans on, the most important first; likewise."""

    @property
    def metrics(self) -> dict[str, float]:
        """As MLflow's metrics of the run."""
        return {f"evaluation_{name}": value for name, value in self.scores.items() if value is not None}


class Fitting(_Json):
    """What the search and the fit of a candidate cost, and on how many rows; of a refit, that fit."""

    NAME: ClassVar[str] = "fitting.json"
    rows: int
    """How many rows it learned from."""
    cpu_seconds: float
    """Of the processor, with child processes."""
    wall_seconds: float
    """By the clock."""
    peak_memory_mb: float
    """The most that the process had since it began, in MB."""

    @property
    def metrics(self) -> dict[str, float]:
        """As MLflow's metrics of the run."""
        return {f"training_{name}": float(value) for name, value in self.model_dump().items()}


class GateReport(BaseModel):
    """The gate report, which says for people what the gates said."""

    model_config = ConfigDict(frozen=True)
    text: str
    """In Markdown."""
    page: str
    """As a page."""


class Gates(_Json):
    """What the gates said of the best candidate."""

    NAME: ClassVar[str] = "gates.json"
    verdict: str
    reason: str
    gates: tuple[Mapping[str, Any], ...]
    """Name, observed value, bound, verdict and reason of each."""
    report: GateReport | None = None
    """What people were shown; null: an earlier release did not keep it, or it stands beside this file."""

    @property
    def tags(self) -> dict[str, str]:
        """As tags of the run."""
        return {Tag.VERDICT: self.verdict, Tag.VERDICT_REASON: self.reason}


class Refit(_Json):
    """How a refit compares with the fit that the gates judged; both runs have it."""

    NAME: ClassVar[str] = "refit.json"
    gated: str
    """The MLflow run of the fit that the gates judged."""
    refit: str
    """The refit's."""
    chosen: bool
    """Whether the refit is what is registered; else the gated fit is."""
    reason: str
    rows: int
    """How many rows the refit learned from."""
    learned_to: str
    """The last cutoff that it may have learned from."""
    checks: tuple[Mapping[str, Any], ...]
    """Name, observed value, bound, verdict and reason of each."""


@dataclass(frozen=True)
class SpecCopy:
    """The spec that a candidate was trained with."""

    NAME: ClassVar[str] = "spec.json"
    spec: ModelSpec

    def to_bytes(self) -> bytes:
        """JSON."""
        return json.dumps(self.spec.model_dump(mode="json"), indent=1).encode()

    @classmethod
    def of_bytes(cls, content: bytes) -> Self:
        """Of JSON; keys that this release no longer knows are left out.

        Raises:
            pydantic.ValidationError: this release cannot read it.
        """
        return cls(ModelSpec.model_validate_json(content, extra="ignore"))


class Trial(BaseModel):
    """A trial of the search."""

    model_config = ConfigDict(frozen=True)
    state: str
    score: float | None
    parameters: Mapping[str, Any]
    proposed_by: str = ""
    """Whether the sampler, the library's defaults, the family or an earlier study; empty: an earlier release did not
    say."""
    folds: tuple[float, ...] = ()
    """The score of each time fold, of one that came to its end; of an earlier release none."""
    taken: bool = False
    """Whether the candidate is made of it; of an earlier release none is, and the one with the best score was."""


class Explanations(_Json):
    """What a few answers to evaluation rows are made of, as the card has it; nothing says whose rows they are."""

    NAME: ClassVar[str] = "explanations.json"
    rows: tuple[ExplainedRow, ...]
    """By their answers, the highest first."""
    reason: str = ""
    """Why there is none; empty: there is."""


class Trials(_AsJson, RootModel[tuple[Trial, ...]]):
    """The trials of the search, in order."""

    NAME: ClassVar[str] = "trials.json"


class Recipe(_Json):
    """How a candidate was fitted: with the same rows, the same fit."""

    NAME: ClassVar[str] = "recipe.json"
    family: str
    parameters: Mapping[str, Any]
    """Hyperparameter → value; no family of ours stops early, so the rounds, trees and epochs are among them."""
    seed: int
    backtest: Backtest | None = None
    """Which rows it learns from after a change of the world, and why; null: no change was told."""
    threshold: float | None = None
    """The operating threshold, chosen by `label.business_value` on the time folds; null: the spec says it."""
    calibration: Calibration | None = None
    """The map of its probabilities, which a fit on other rows has too; null: the spec asks for none."""
    selection: Selected | None = None
    """Which features it takes; null: the spec asks for no selection, and it takes them all."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """The features that it does not take."""
        return () if self.selection is None else self.selection.dropped

    def taking(self, spec: ModelSpec) -> ModelSpec:
        """The spec that it was trained with, without the features that it does not take."""
        return spec.without(self.dropped) if self.dropped else spec

    @property
    def window(self) -> LearningWindow:
        """Which of the rows it learns from."""
        return LearningWindow(way="full") if self.backtest is None else self.backtest.window

    @property
    def metrics(self) -> dict[str, float]:
        """As MLflow's metrics of the run."""
        chosen = {} if self.threshold is None else {"operating_threshold": self.threshold}
        ways = {} if self.backtest is None else self.backtest.scores
        if self.calibration is not None:
            chosen["calibration_rows"] = float(self.calibration.rows)
        selected = {} if self.selection is None else {"features_dropped": float(len(self.dropped))}
        return chosen | selected | {f"window_{way}": value for way, value in ways.items()}


class Packaging(_Json):
    """What a version answers with."""

    NAME: ClassVar[str] = "packaging.json"
    runtime: Literal["graph", "pipeline"]
    reason: str
    rows: int = 0
    """On how many rows both were asked."""
    difference: float | None = None
    """The largest between two answers; null: there is no graph, or one answer was no number."""
    tolerance: float | None = None
    """What was allowed."""
    speed_up: float | None = None
    """How many times as fast as the pipeline the graph answers one row."""


class Evidence(_Json):
    """What the gates of a version looked at and said when it got its card: a later run of the same training writes
    `evaluation.json` and `gates.json` anew."""

    NAME: ClassVar[str] = "evidence.json"
    evaluation: Evaluation
    gates: Gates
    refit: Refit | None


class Queries(_AsJson, RootModel[Mapping[str, str]]):
    """The text of each query that is part of the spec, by its file: `<folder>/<file>`."""

    NAME: ClassVar[str] = "queries.json"


class Environment(_AsJson, RootModel[Mapping[str, str]]):
    """What a result depends on beside data and recipe: package → version; also Python's, the platform's, the
    processor's, the code's. Of an earlier release only some of them."""

    NAME: ClassVar[str] = "environment.json"
    MACHINE: ClassVar = ("python", "platform", "processor", "cores", "blas", "code")

    @property
    def packages(self) -> dict[str, str]:
        """Package → version."""
        return {name: each for name, each in self.root.items() if name not in self.MACHINE}


# By a later run of the same training. Versions signed before importances stood in the evaluation have them in a file.
REWRITTEN = (Evaluation.NAME, Gates.NAME, Refit.NAME, "importances.json")
# What is written after a version was signed, or by an erasure: the digests in Postgres and the ledger hold these alone.
_NOT_SIGNED = {
    *REWRITTEN,
    *(each.NAME for each in (Evidence, Explanations, CardText, CardPage, ReportText, ReportPage, Reference, Sample)),
}
NEEDED = (PIPELINE, SpecCopy.NAME, Sample.NAME, Reference.NAME)  # of every candidate; its evaluation comes later


def signed(name: str) -> bool:
    """Whether a file is part of what a version's signature is of: all that says what it answers and how it was made."""
    return name not in _NOT_SIGNED


def needed(recorded: Collection[str]) -> tuple[str, ...]:
    """The files without which a candidate is none.

    Args:
        recorded: the names of all that it was recorded with.
    """
    return (*NEEDED, *({GRAPH} & {*recorded}))
