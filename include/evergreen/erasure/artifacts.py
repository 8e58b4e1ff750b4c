"""MLflow's files that quote rows which models learned from: the reference of the monitor and the sample of the probe.

A row there has no key. It is found by its values: all rows that a model took as exactly this one go. A file is written
anew without them, and its digest in Postgres with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pandas as pd

from evergreen.erasure import learning
from evergreen.erasure.learning import Unsearched
from evergreen.erasure.rules import Learned
from evergreen.errors import PermanentError
from evergreen.lake.rewriting import Key
from evergreen.registry import artifacts, loading, records, tracking
from evergreen.registry.contents import Content, Reference, Sample, SpecCopy
from evergreen.registry.records import Candidate, Digest
from evergreen.train.records import Record


def erase(learned: Learned, record: Record, key: Key, *, apply: bool) -> Iterator[int | Unsearched]:
    """Remove the rows of a key from the files of every candidate of a training.

    Returns:
        how many rows each file had of them, or why a file could not be looked into.

    Raises:
        ServiceUnavailable: MLflow or the database does not answer.
    """
    for run_id in tracking.run_ids(learned.model, learned.key):
        candidate = records.find_candidate(run_id)
        if candidate is None:
            continue
        try:
            spec = loading.parse_spec(artifacts.read(candidate, SpecCopy.NAME), f"MLflow run {run_id}")
            rows = learning.inputs(loading.taking(spec, candidate), record, key)
        except PermanentError as error:
            yield Unsearched(f"the files of MLflow run {run_id} of {learned.model}", error.found)
            continue
        for kind in (Reference, Sample):
            try:
                yield _clean(candidate, kind, rows, apply=apply)
            except PermanentError as error:
                yield Unsearched(f"{kind.NAME} of MLflow run {run_id} of {learned.model}", error.found)


def _clean(candidate: Candidate, kind: type[Reference | Sample], rows: pd.DataFrame, *, apply: bool) -> int:
    content = artifacts.download(candidate.run_id, candidate.model_id, kind.NAME)
    left, gone = _without(kind.of_bytes(content), rows)
    cleaned = left.to_bytes()
    if Digest.of(content) != candidate.files.get(kind.NAME) and Digest.of(cleaned) != candidate.files.get(kind.NAME):
        # not what was recorded, nor what a killed erasure was about to write: whose it is nobody knows
        artifacts.check(candidate, kind.NAME, content, "MLflow")
    if gone and apply:
        records.add_file(candidate.run_id, kind.NAME, cleaned)
        tracking.replace(candidate.run_id, kind.NAME, cleaned)
    return gone


def _without(content: Reference | Sample, rows: pd.DataFrame) -> tuple[Content, int]:
    """What a file holds, without some rows, and how many went."""
    if isinstance(content, Reference):
        alike = _hashes(content.rows[list(rows.columns)]).isin(_hashes(rows))
        others = content.rows[~alike.to_numpy()].reset_index(drop=True)
        return dataclasses.replace(content, rows=others), int(alike.sum())
    sample = pd.DataFrame([dict(row.features) for row in content.rows], columns=list(rows.columns))
    alike = _hashes(sample.astype(rows.dtypes.to_dict())).isin(_hashes(rows))
    kept = tuple(row for row, gone in zip(content.rows, alike, strict=True) if not gone)
    return content.model_copy(update={"rows": kept}), int(alike.sum())


def _hashes(frame: pd.DataFrame) -> pd.Series[int]:
    """A number per row; equal rows have equal ones. Of a missing text None and NaN are one."""
    alike = frame.copy()
    for name in frame.select_dtypes(object):
        alike[name] = frame[name].where(frame[name].notna(), None)
    return pd.util.hash_pandas_object(alike, index=False)
