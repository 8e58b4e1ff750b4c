"""One row for each window of predictions whose labels have matured: what its champion lost, and its understudies.

A row follows from what the lake has of its window and of what was mature as it began, and from who was the champion
then: not from when, nor in which order it is made. One that was made from other data is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa

from evergreen import database
from evergreen.features import objects
from evergreen.handovers.monitor import Compared
from evergreen.history import ledger, story
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, tables
from evergreen.lake.schema import FEATURES, LABELS, PREDICTIONS, WINDOWS, TableId
from evergreen.monitor import live
from evergreen.monitor.evidence import Row
from evergreen.monitor.understudies import Champion
from evergreen.run import Run
from evergreen.spec.columns import KNOWN_AT, PARTITION
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

_MOST = 30  # rows that a run makes: after an erasure all are made anew, the newest first
_SHAPE = 2  # of what a row is made from, and how: another one makes every row anew


def read(spec: ModelSpec, version: int | None = None) -> dict[datetime, Row]:
    """The rows of a model by the start of their window, the oldest first; of a version of their table, or of now."""
    table = tables.read(WINDOWS.of(spec.model), version=version)
    rows = [] if table is None else table.drop_columns([PARTITION]).to_pylist()
    return {row["window"]: Row(**row) for row in sorted(rows, key=lambda row: row["window"])}


def known(run: Run, version: int | None) -> list[Row]:
    """The rows that were known at the run's moment.

    Args:
        version: of their table, as `compare` hands it over; None: there was none.
    """
    rows = [] if version is None else read(run.spec, version).values()
    return [row for row in rows if row.known_at <= run.as_of]


@dataclass(frozen=True)
class _Due:
    """A window whose row is to be made.

    Attributes:
        refits: the moments as of which its understudies are fitted, each with a digest of what is learned from; the
            newest first.
        made_from: a digest of all that the row follows from.
    """

    interval: Interval
    champion: int
    replaced: int | None
    refits: Mapping[datetime, str]
    made_from: str


def compare(run: Run, predictions_version: int | None) -> Compared:
    """Make the rows of the windows whose labels are mature at the run's moment, and whose row is missing or was made
    from other data.

    Args:
        predictions_version: of the table of predictions that is read; None: the newest.
    """
    spec = run.spec
    stored = read(spec)
    due = [each for each in _mature(run) if _is_new(each, stored.get(each.interval.start))]
    now = due[-_MOST:]
    if now:
        objects.ensure_applied(spec)
    asked = {number for each in now for number in (each.champion, each.replaced) if number is not None}
    champions = {number: Champion(spec, number) for number in asked}
    made = [_row(spec, each, champions, predictions_version) for each in now]
    if made:
        _write(spec, made)
        champions[now[-1].champion].keep(now[-1].refits)
    for row in made:
        log.info("%s: %s", spec.calendar.shown(row.window), _told(row))
    log.info("%d windows compared, %d left for the next run", len(made), len(due) - len(now))
    return Compared(
        windows=tuple(each.interval.partition for each in now),
        left=len(due) - len(now),
        table_version=tables.version(WINDOWS.of(spec.model)),
    )


def _is_new(due: _Due, row: Row | None) -> bool:
    return row is None or row.made_from != due.made_from


def _told(row: Row) -> str:
    if row.champion is None or row.understudy is None:
        return f"{row.rows} labelled rows of version {row.version}, nothing to compare"
    return (
        f"version {row.version} lost {row.champion:.4f} on {row.rows} rows, its understudy {row.understudy:.4f}; "
        f"they are {row.apart} intervals apart"
    )


def _mature(run: Run) -> list[_Due]:
    """The windows of the last `split.window` whose labels are mature, and what their rows are made from. Older ones
    stay as they are: so it costs the same however long a model has served."""
    spec, calendar = run.spec, run.spec.calendar
    reach = calendar.earlier(calendar.earlier(run.as_of, spec.split.window), spec.asking.label_delay)
    recent = calendar.between(calendar.interval_of(reach), run.interval)
    mature = [each for each in recent if spec.asking.mature_at(each) <= run.as_of]
    predicted = catalogue.published(PREDICTIONS.of(spec.model), [each.partition for each in mature])
    served = [each for each in mature if each.partition in predicted and predicted[each.partition].rows]
    moves = _moves(spec.model, [each.end for each in served])
    content = _Content(spec, served)
    due = []
    for each in served:
        champion = story.champion_as_of(moves, each.end)
        if champion is not None:
            replaced = story.champion_before(moves, each.end)
            made_from = content.digest(each, champion, replaced)
            due.append(_Due(each, champion, replaced, content.refits(each), made_from))
    return due


def _moves(model: str, ends: Sequence[datetime]) -> list[story.Entry]:
    """The promotions, rollbacks and retirements that tell who was the champion of the windows that end then, and whom
    it replaced. They are read from the newest back, until older ones would change nothing."""
    moves: list[story.Entry] = []
    for page in ledger.back(model, *story.CROWNING, "retired") if ends else ():
        moves[:0] = page
        if all(story.tells_both(moves, end) for end in ends):
            break
    return moves


class _Content:
    """Digests of all that the rows of some windows are made from."""

    def __init__(self, spec: ModelSpec, windows: Sequence[Interval]) -> None:
        self._spec = spec
        read: list[TableId] = [
            PREDICTIONS.of(spec.model),
            LABELS.of(spec.model, spec.label.name),
            *(FEATURES.of(spec.dataset_of(view), view) for view in spec.features),
        ]
        self._learned: dict[Interval, list[str]] = {each: self._stretch(each) for each in windows}
        wanted = {key for keys in self._learned.values() for key in keys}
        wanted |= {key for each in windows for key in (each.partition, *spec.asking.outcomes(each))}
        self._hashes: dict[TableId, Mapping[str, str]] = {
            table: {key: entry.content_hash for key, entry in catalogue.published(table, sorted(wanted)).items()}
            for table in read
        }

    def _stretch(self, window: Interval) -> list[str]:
        """The partitions that its understudies may learn from."""
        return self._between(_refits(self._spec, window)[1], window)

    def _between(self, earliest: datetime, until: Interval) -> list[str]:
        """The partitions that fits as of a moment and after it, until an interval begins, may learn from."""
        calendar = self._spec.calendar
        first = calendar.interval_of(calendar.earlier(earliest, self._spec.split.window))
        return [each.partition for each in calendar.between(first, calendar.before(until))]

    def refits(self, window: Interval) -> dict[datetime, str]:
        """The moments of its understudies, the newest first, each with a digest of what is learned from."""
        _, *tables = self._hashes.values()
        found = {}
        for moment in _refits(self._spec, window):
            keys = self._between(moment, self._spec.calendar.interval_of(moment))
            found[moment] = _digest([_of(table, keys) for table in tables])
        return found

    def digest(self, window: Interval, champion: int, replaced: int | None) -> str:
        """Of a window's row."""
        predictions, labels, *views = self._hashes.values()
        spec = self._spec
        parts = [
            _SHAPE,
            [champion, replaced],
            [spec.monitoring.retrain.understudy_every, spec.first_day.isoformat()],
            [spec.split.model_dump(mode="json"), spec.refit],
            predictions.get(window.partition),
            _of(labels, spec.asking.outcomes(window)),
            *(_of(table, self._learned[window]) for table in (labels, *views)),
        ]
        return _digest(parts)


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _of(hashes: Mapping[str, str], keys: Iterable[str]) -> list[str | None]:
    return [hashes.get(key) for key in keys]


def _row(spec: ModelSpec, due: _Due, champions: Mapping[int, Champion], predictions_version: int | None) -> Row:
    window, champion = due.interval, champions[due.champion]
    known_at = spec.asking.mature_at(window)
    labelled = _labelled(spec, window, known_at, predictions_version)
    lost = champion.loss(labelled) if len(labelled) else None
    understudy = earlier = replaced = None
    if lost is not None:
        understudy, earlier = (champion.understudy(moment, learned) for moment, learned in due.refits.items())
        replaced = None if due.replaced is None else champions[due.replaced].loss(labelled)
    return Row(
        window=window.start,
        version=due.champion,
        rows=len(labelled),
        usual=None if understudy is None else understudy.usual,
        champion=lost,
        understudy=champion.loss_of(understudy, labelled),
        earlier=champion.loss_of(earlier, labelled),
        replaced=replaced,
        apart=champion.apart(understudy),
        made_from=due.made_from,
        known_at=known_at,
    )


def _refits(spec: ModelSpec, window: Interval) -> tuple[datetime, datetime]:
    """As of when the newest understudy of a window is fitted, and the one before it: with every so many intervals,
    counted from the first day of data."""
    calendar, every = spec.calendar, spec.monitoring.retrain.understudy_every
    first = calendar.first_of(spec.first_day)
    past = (len(calendar.between(first, window)) - 1) % every if every > 1 else 0
    newest = window
    for _ in range(past):
        newest = calendar.before(newest)
    earlier = newest
    for _ in range(every):
        earlier = calendar.before(earlier)
    return newest.start, earlier.start


def _labelled(spec: ModelSpec, window: Interval, known_at: datetime, version: int | None) -> pd.DataFrame:
    """The window's predictions with the outcomes that were known when all of them were waited for."""
    made = live.read(spec, [window.partition], version)
    labels = tables.read(LABELS.of(spec.model, spec.label.name), spec.asking.outcomes(window))
    if made is None or labels is None:
        return pd.DataFrame()
    known = labels.to_pandas()
    return live.with_labels(spec, made, known[known[KNOWN_AT] <= known_at])


def _write(spec: ModelSpec, made: Sequence[Row]) -> None:
    """Put rows in the place of those of the same windows. A partition has many, so whoever writes one waits for who
    does already."""
    table, zone = WINDOWS.of(spec.model), ZoneInfo(spec.calendar.zone)
    with database.connect() as connection:
        database.alone(connection, str(table))
        rows = read(spec) | {row.window: row for row in made}
        months: dict[str, list[Row]] = {}
        for start, row in rows.items():
            months.setdefault(f"{start.astimezone(zone):%Y-%m}", []).append(row)
        for month in sorted({f"{row.window.astimezone(zone):%Y-%m}" for row in made}):
            kept = sorted(months[month], key=lambda row: row.window)
            content = pa.Table.from_pylist([asdict(row) for row in kept], pa.schema(WINDOWS.arrow))
            known_at = max(row.known_at for row in kept)
            catalogue.record(partitions.replace(table.at(month), content, known_at=known_at))
