"""What both versions of an open rollout answered, out of the prediction log, as files between tasks and as tables."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.handovers.handover import Staged
from evergreen.history.rollouts import Rollout
from evergreen.lake import staging, tables
from evergreen.lake.schema import LABELS
from evergreen.lake.staging import WorkingFile
from evergreen.run import Run
from evergreen.serve import compared
from evergreen.spec.columns import EVENT, FEATURES_AT, KNOWN_AT, LABEL
from evergreen.spec.schema import ModelSpec

_BEFORE = 5_000  # answers of the champion before the rollout that are looked at
_MOMENT = pa.timestamp("us", "UTC")


def gather(run: Run, rollout: Rollout, task: str) -> tuple[Staged, Staged]:
    """What was answered in a rollout until the run's moment, and by its champion before it, as files."""
    model, opened = run.spec.model, rollout.opened
    since = compared.of_rollout(model, rollout.id, opened.as_of, run.as_of)
    before = compared.newest(model, opened.champion, opened.as_of, _BEFORE)
    folder = f"rollout-{run.as_of:%Y-%m-%dT%H%M%SZ}"
    answers, earlier = (
        staging.write(WorkingFile(of=model, run=folder, name=name), table, task=task)
        for name, table in (("answers", since), ("before", before))
    )
    return answers, earlier


def read(spec: ModelSpec, staged: Staged) -> pd.DataFrame:
    """The file as a table: with the columns of the entity's key, and `answer` as clients were given it."""
    frame: pd.DataFrame = staging.read(staged).to_pandas()
    keys = {entity: spec.entity.of_text(entity) for entity in frame["entity"].unique()}
    named = {
        column: frame["entity"].map({text: key[column] for text, key in keys.items()}) for column in spec.entity.columns
    }
    texts = frame["answer"].where(frame["answer"].notna(), "null")
    answers = json.loads(f"[{','.join(texts)}]")  # at once: a call for each takes ten times as long
    frame = frame.assign(**named, answer=pd.Series(answers, frame.index, dtype=object))
    answered = frame["answer"].notna()  # a version of another kind of label has answered nothing here
    return frame.loc[answered | frame["failed"]]


def labels(run: Run, version: int | None, rollout: Rollout) -> pd.DataFrame | None:
    """The outcomes of the rollout's answers that are known at the run's moment; None: none are."""
    spec = run.spec
    if version is None:
        return None
    calendar = spec.calendar
    within = [key for each in calendar.touching(rollout.opened.as_of, run.as_of) for key in spec.asking.outcomes(each)]
    known = tables.read(
        LABELS.of(spec.model, spec.label.name),
        sorted({*within}),
        version,
        columns=[*dict.fromkeys((*spec.entity.columns, EVENT, KNOWN_AT, spec.label.name))],
        where=pc.field(KNOWN_AT) <= pa.scalar(run.as_of, _MOMENT),
    )
    if known is None or known.num_rows == 0:
        return None
    frame: pd.DataFrame = known.to_pandas()
    return frame.rename(columns={spec.label.name: LABEL}).assign(**{FEATURES_AT: frame[EVENT]})
