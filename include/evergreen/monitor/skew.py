"""Training-serving skew: what answers were made from, held against what the offline store has of the same entity at the
same moment. A training learns from the one, the server answers by the other; so they are equal, value for value, or it
is counted.

The store may have changed since an answer: a correction came, or the newest features only after it. So a value that is
not what the store has now is held against what it had when the answer was logged (docs/adr/0022): both moments are of
Postgres' clock. Of a model of requests the log has the request's own key alone. Its other entities, and what it should
have said of itself, stand with its label, so these answers are compared when their labels become known.

It costs what a sample of answers and two months of features cost, however many answers and days there are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from deltalake.exceptions import TableNotFoundError

from evergreen.features import historical
from evergreen.handovers.monitor import Skewed
from evergreen.lake import publications, tables
from evergreen.lake.schema import FEATURES, LABELS
from evergreen.monitor import live, recorded
from evergreen.run import Run
from evergreen.spec import ago
from evergreen.spec.columns import AS_OF, EVENT, KNOWN_AT, LOGGED_AT, REQUEST_ID
from evergreen.spec.kinds import KINDS
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

ROWS = 2_000  # answers that are compared, at most: the stated sample
_REACH = timedelta(days=62)  # a feature row that is older than this at the answer's moment is not looked for
_STATES = 8  # of a view, at most, that the store had while it answered what it has no longer
_STORED = "stored "  # before a feature's name: the value of the offline store; no feature has a blank in its name

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Compared:
    """Answers beside the store as it is now.

    Attributes:
        rows: keys, `event_timestamp` (the moment of the answer), the features as they were served, when it was logged.
        stored: the features as the store has them.
    """

    rows: pd.DataFrame
    stored: pd.DataFrame

    def differs(self, name: str) -> Mask:
        """Whether a feature was served otherwise than it is stored."""
        ours, theirs = self.rows[name], self.stored[name]
        unlike: Mask = (ours.to_numpy() != theirs.to_numpy()) & ~(ours.isna().to_numpy() & theirs.isna().to_numpy())
        return unlike


def measure(run: Run, window: pd.DataFrame, labels_version: int | None) -> dict[str, Skewed]:
    """Feature or input → how the answers of an interval differ from the offline store; of a model of requests those
    whose labels became known in the interval. Without what the store has no table of.

    Args:
        window: the interval's own answers.
        labels_version: of the label's table; None: there is none.
    """
    spec, inputs = run.spec, run.spec.asking.inputs
    rows = _of_requests(run, labels_version) if spec.asking.named_by_request else window
    if rows is None or rows.empty:
        return {}
    rows = rows.sample(ROWS, random_state=0) if len(rows) > ROWS else rows
    rows = rows.reset_index(drop=True)
    found: dict[str, Skewed] = {}
    if inputs:
        said = rows[[f"{_STORED}{name}" for name in inputs]].set_axis([*inputs], axis=1)
        bare = spec.model_copy(update={"features": {}})
        compared = _Compared(rows, _modelled(bare, said.assign(**{EVENT: rows[AS_OF]}), [*inputs]))
        found = {name: _counted(compared, name, np.zeros(len(rows), bool)) for name in inputs}
    for view in spec.features:
        found |= _of_view(spec, view, rows.assign(**{EVENT: rows[AS_OF]}))
    for name, each in found.items():
        if each.different or each.since or each.nothing:
            log.info("%-28s %s", name, each.model_dump(exclude_none=True))
    return found


def _of_requests(run: Run, labels_version: int | None) -> pd.DataFrame | None:
    """The first answer of each request whose label became known within the run's interval, with the keys of its other
    entities, and beside each input what the request should have said."""
    spec = run.spec
    partitions, own = spec.asking.logged(run.interval), [*spec.asking.outcome_keys]
    answered = live.read(spec, partitions)
    columns = [*spec.keys, *spec.asking.inputs, KNOWN_AT]
    known = (
        None
        if labels_version is None
        else tables.read(LABELS.of(spec.model, spec.label.name), partitions, labels_version, columns)
    )
    if answered is None or known is None:
        return None
    labels = known.to_pandas()
    labels = labels[(labels[KNOWN_AT] > run.interval.start) & (labels[KNOWN_AT] <= run.as_of)]
    labels = labels.drop(columns=KNOWN_AT).rename(columns={name: f"{_STORED}{name}" for name in spec.asking.inputs})
    first = answered.sort_values([AS_OF, REQUEST_ID]).drop_duplicates(own)
    first = first[first["version"].map(recorded.logs(spec)).astype(bool)]
    merged: pd.DataFrame = first.merge(labels, on=own)
    return merged


def _of_view(spec: ModelSpec, view: str, rows: pd.DataFrame) -> dict[str, Skewed]:
    """The features of a view, of those that the answers have."""
    alone = _with_one(spec, view)
    names = [name for name in alone.feature_types if name in rows]
    try:
        stored = _join(alone, rows)
    except TableNotFoundError:
        return {}
    compared = _Compared(rows, _modelled(alone, stored, names))
    nothing = compared.stored[names].isna().all(axis=1).to_numpy() & rows[names].notna().any(axis=1).to_numpy()
    if not names or (nothing.all() and len(rows)):
        return {}  # what it had of so long ago was let go, or was never published
    unlike: Mask = np.any([compared.differs(name) for name in names], axis=0) & ~nothing
    since = {name: np.zeros(len(rows), bool) for name in names}
    left_out = np.zeros(len(rows), bool)
    for places, then in _earlier(alone, view, rows, unlike):
        if then is None:
            left_out[places] = True
            continue
        before = _Compared(rows.iloc[places], _modelled(alone, then, names))
        for name in names:
            since[name][places] = compared.differs(name)[places] & ~before.differs(name)
    return {name: _counted(compared, name, nothing, since[name], left_out) for name in names}


def _join(spec: ModelSpec, rows: pd.DataFrame) -> pd.DataFrame:
    (view,) = spec.features
    return historical.read_as_declared(spec, rows[[*spec.entity_of(view).columns, EVENT]], _REACH)


def _with_one(spec: ModelSpec, view: str) -> ModelSpec:
    """The model as if it had one view, and no inputs."""
    data = {name: each.model_copy(update={"views": (view,)}) for name, each in spec.data.items() if view in each.views}
    alone: ModelSpec = spec.model_copy(update={"features": {view: spec.features[view]}, "request": None, "data": data})
    return alone


def _modelled(spec: ModelSpec, frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """What is stored, as the model would take it at the moment of the answer."""
    taken = ago.of_frame(spec, frame)
    return pd.DataFrame({name: KINDS[spec.feature_types[name]].modelled(taken[name]) for name in names})


def _earlier(
    spec: ModelSpec, view: str, rows: pd.DataFrame, unlike: Mask
) -> Iterator[tuple[npt.NDArray[np.int64], pd.DataFrame | None]]:
    """Rows that differ from the store as it is, and what it had when they were logged, where that was something else;
    None: nobody can say."""
    table = FEATURES.of(spec.dataset_of(view), view)
    if not unlike.any() or LOGGED_AT not in rows:
        return
    logged = rows[LOGGED_AT]
    places = np.flatnonzero(unlike & logged.notna().to_numpy())
    if not len(places):
        return
    first = pd.Timestamp(logged.iloc[places].min()).to_pydatetime()
    states = publications.since(table, first)
    if len(states) < 2:  # it has not changed since
        return
    moments = pd.DatetimeIndex([at for at, _ in states]).as_unit("us")
    stood = np.searchsorted(moments, pd.DatetimeIndex(logged.iloc[places]).as_unit("us"), side="right") - 1
    numbers, counts = np.unique(stood[stood < len(states) - 1], return_counts=True)
    for rank, number in enumerate(numbers[np.argsort(-counts, kind="stable")]):
        those = places[stood == number]
        if number < 0:  # before there was anything
            yield those, None
            continue
        version = states[number][1]
        if rank >= _STATES or tables.missing(table, version):
            yield those, None
            continue
        with tables.pinned({table: version}):
            yield those, _join(spec, rows.iloc[those])


def _counted(
    compared: _Compared, name: str, nothing: Mask, since: Mask | None = None, left_out: Mask | None = None
) -> Skewed:
    """What a person is told of a feature."""
    unlike = compared.differs(name) & ~nothing
    since = np.zeros(len(unlike), bool) if since is None else since
    left_out = np.zeros(len(unlike), bool) if left_out is None else left_out & unlike
    different = unlike & ~since & ~left_out
    largest = None
    ours, theirs = compared.rows[name][different], compared.stored[name][different]
    if pd.api.types.is_numeric_dtype(theirs) and len(theirs):
        apart = (ours.astype("float64") - theirs).abs().dropna()
        largest = float(apart.max()) if len(apart) and np.isfinite(apart.max()) else None
    return Skewed(
        rows=int((~left_out).sum()),
        different=int(different.sum()),
        since=int((unlike & since).sum()),
        nothing=int(nothing.sum()),
        largest=largest,
    )
