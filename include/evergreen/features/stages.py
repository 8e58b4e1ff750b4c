"""Features, labels and their way to the online store: what the ingest loop runs after a day is published.

A run works on every partition that its day touches, not only on its own: see `features.rules`. What is written is decided
under a lock on the partition, from the inputs that are published at that moment; so runs of different days may work side by
side, in any order, and a killed one is simply run again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from evergreen.errors import WriteConflict
from evergreen.features import rules
from evergreen.interval import Interval
from evergreen.lake.schema import FEATURES, LABELS, RAW, Partition, TableId, online
from evergreen.run import Run
from evergreen.spec import files
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pyarrow as pa

    from evergreen.lake import catalogue

log = logging.getLogger(__name__)

Json = dict[str, Any]
_ATTEMPTS = 5  # a partition whose inputs change while it is written is computed again; more than this is no coincidence


def compute(run: Run, published: Json | None = None) -> Json:
    """Compute every feature partition that looks back at the run's day, is complete, and whose inputs have changed.

    The results are candidates in staging; the feature contract decides about them before `publish`.

    Returns:
        `{"views": {view: {partition: {"rows", "content_hash", "inputs_hash", "staged": path}}}}`
    """
    from evergreen.features import compute as adapter
    from evergreen.lake import catalogue, staging

    views: dict[str, Json] = {}
    for view in run.spec.features:
        views[view] = {}
        for partition, due in _due_features(run, view).items():
            table = adapter.features(run.spec, view, due.window)
            file = staging.path(run.spec.model, run.interval.partition, f"features/{view}/{partition}")
            views[view][partition] = {
                "rows": table.num_rows,
                "content_hash": catalogue.content_hash(table),
                "inputs_hash": due.inputs_hash,
                "staged": staging.write(file, table),
            }
        log.info(
            "Features %s/%s: %s",
            run.spec.model,
            view,
            _summary(views[view], "nothing to compute (inputs incomplete, or unchanged)"),
        )
    return {"views": views}


def publish(run: Run, computed: Json) -> Json:
    """Write the candidates that met their contract to the lake, and say in the catalogue from which inputs they were computed.

    A candidate whose inputs have changed since it was computed (another run published a day that it looks back at) is not
    written but computed and validated again.

    Returns:
        `{"views": {view: {partition: {"rows", "content_hash", "version"}}}}`, what was written.

    Raises:
        WriteConflict: the inputs kept changing.
    """
    from evergreen.lake import staging
    from evergreen.validate.stages import validate_features

    written: dict[str, Json] = {view: {} for view in run.spec.features}
    for _ in range(_ATTEMPTS):
        for view, candidates in computed["views"].items():
            for partition, candidate in candidates.items():
                with _locked(FEATURES.of(run.spec.model, view).at(partition)):
                    due = _due_features(run, view).get(partition)
                    if due is not None and due.inputs_hash == candidate["inputs_hash"]:
                        written[view][partition] = _write(
                            FEATURES.of(run.spec.model, view), due, staging.read(candidate["staged"])
                        )
        stale = [
            f"{view} {partition}"
            for view, candidates in computed["views"].items()
            for partition in sorted(candidates.keys() & _due_features(run, view).keys())
        ]
        if not stale:
            for view, partitions in written.items():
                log.info("Published %s/%s: %s", run.spec.model, view, _summary(partitions, "nothing new"))
            return {"views": written}
        log.info("Computing again, since another run published a day that they look back at: %s", ", ".join(stale))
        computed = validate_features(run, compute(run))
    raise _conflict(run, "features")


def labels(run: Run, stored: Json | None = None) -> Json:
    """Compute and publish every label partition that the run's day completes or changes.

    A label's window is complete only when the batch that ends at cutoff + horizon is published, so a label that is written
    is mature; when it may be used, its own `known_at` says.

    Returns:
        `{"partitions": {partition: {"rows", "content_hash", "version", "without_outcome": requests}}}`, what was written.

    Raises:
        WriteConflict: the inputs kept changing.
    """
    from evergreen.features import compute as adapter

    outcomes = LABELS.of(run.spec.model, run.spec.label.name)
    written: Json = {}
    for _ in range(_ATTEMPTS):
        due = _due_labels(run)
        if not due:
            log.info(
                "Label %s/%s: %s", outcomes.model, outcomes.name, _summary(written, "no outcome matured or changed")
            )
            return {"partitions": written}
        for partition in due:
            with _locked(outcomes.at(partition)):
                if (now := _due_labels(run).get(partition)) is not None:
                    table, without = adapter.labels(run.spec, now.window)
                    written[partition] = {**_write(outcomes, now, table), "without_outcome": without}
                    if without:
                        log.info("%s: %d of %d requests have no outcome", partition, without, without + table.num_rows)
    raise _conflict(run, "labels")


def awaited(run: Run, now: datetime) -> list[str]:
    """What the ingestion of the run's day has still to do: what a scheduled training or monitoring of the same day waits for."""
    from evergreen.lake import catalogue

    spec, partition = run.spec, run.interval.partition
    raw = [name for name in spec.sources if not catalogue.published(RAW.of(spec.model, name), [partition])]
    views = [view for view in spec.features if _due_features(run, view)]
    labels = [spec.label.name] if _due_labels(run) else []
    return [f"{name} of {partition}" for name in (*raw, *views, *labels)]


def materialize(run: Run, labelled: Json | None = None) -> Json:
    """Bring the online store up to the feature partitions that the run's day touches.

    In order that is exactly the run's own interval (event_timestamp == as_of). A run that completes later windows brings those
    too, else the newest features of a history ingested backwards would never arrive. Older values never replace newer ones.

    Returns:
        `{"views": {view: {partition: rows}}}`, what was written.
    """
    from evergreen.features import store
    from evergreen.lake import catalogue, tables

    spec = run.spec
    store.ensure_applied(spec)
    written: dict[str, dict[str, int]] = {view: {} for view in spec.features}
    for view in spec.features:
        stored = FEATURES.of(spec.model, view)
        touched = [window.partition for window in rules.feature_windows(spec, view, run.interval)]
        for partition in _not_online(stored, touched):
            # One partition of a view at a time: what a corrected one withdraws depends on what is online of the earlier ones.
            with _locked(stored.at(partition)), _locked(online(stored).at("any")):
                for entry in _not_online(stored, [partition]).values():
                    # Until all is written nothing is known of the store: a kill may leave it between two contents.
                    catalogue.record(dataclasses.replace(entry, layer=online(stored).layer, content_hash=""))
                    rows = tables.read(stored, partitions=[partition])
                    if rows is not None:
                        _withdraw(run, view, partition, store.write_online(spec, view, rows))
                    catalogue.record(dataclasses.replace(entry, layer=online(stored).layer))
                    written[view][partition] = entry.rows
        log.info("Online %s/%s: %s", spec.model, view, _summary(written[view], "up to date"))
    return {"views": written}


def _withdraw(run: Run, view: str, partition: str, written: Sequence[bytes]) -> None:
    """Of an entity that a corrected partition no longer has, the newest earlier partition counts again."""
    from evergreen.features import store

    as_of = Interval.of_day(date.fromisoformat(partition)).as_of
    gone = store.others_online(run.spec, view, as_of, written)
    if gone:
        store.withdraw_online(run.spec, view, as_of, gone, _newest_before(run.spec, view, partition, gone))
        log.info("Online %s/%s: %d entities are no longer in %s", run.spec.model, view, len(gone), partition)


def _newest_before(spec: ModelSpec, view: str, partition: str, keys: Sequence[str | int]) -> Iterator[pa.Table]:
    """Each entity's newest row of the partitions before one, from the newest back: a long history is not read for a few of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from evergreen.lake import catalogue, tables

    key, wanted, stored = spec.entity_of(view).key, set(keys), FEATURES.of(spec.model, view)
    for earlier in sorted(catalogue.published(stored), reverse=True):
        if earlier < partition and wanted:
            rows = tables.read(stored, [earlier])
            if rows is not None:
                found = rows.filter(pc.is_in(rows[key], pa.array(sorted(wanted), rows[key].type)))
                wanted -= set(found[key].to_pylist())
                yield found


def _due_features(run: Run, view: str) -> dict[str, rules.Due]:
    """partition → what must be computed of it now."""
    sql = files.query(run.spec, run.spec.view_sql(view))
    windows = rules.feature_windows(run.spec, view, run.interval)
    declaration = rules.feature_declaration(run.spec, view, sql)
    return _due(FEATURES.of(run.spec.model, view), run.spec.features[view].sources, declaration, windows)


def _due_labels(run: Run) -> dict[str, rules.Due]:
    sql = files.query(run.spec, run.spec.label_sql())
    asking = [files.query(run.spec, file) for file in run.spec.asking.queries]
    declaration = rules.label_declaration(run.spec, sql, *asking)
    windows = rules.label_windows(run.spec, run.interval)
    return _due(LABELS.of(run.spec.model, run.spec.label.name), rules.label_sources(run.spec), declaration, windows)


def _due(
    table: TableId, sources: Sequence[str], declaration: str, windows: Sequence[rules.Window]
) -> dict[str, rules.Due]:
    from evergreen.lake import catalogue

    days = sorted({day for window in windows for day in window.days})
    raw = {
        source: {
            day: entry.content_hash for day, entry in catalogue.published(RAW.of(table.model, source), days).items()
        }
        for source in sources
    }
    entries = catalogue.published(table, [window.partition for window in windows])
    recorded = {partition: entry.inputs_hash for partition, entry in entries.items() if entry.inputs_hash is not None}
    return {due.window.partition: due for due in rules.due(windows, declaration, raw, recorded)}


def _write(table: TableId, due: rules.Due, rows: pa.Table) -> Json:
    """Replace one partition, then record it: a kill in between leaves the old record, and the retry writes again."""
    from evergreen.lake import catalogue, partitions

    replaced = table.at(due.window.partition)
    entry = partitions.replace(replaced, rows, known_at=due.window.end, inputs_hash=due.inputs_hash)
    catalogue.record(entry)
    return {"rows": entry.rows, "content_hash": entry.content_hash, "version": entry.table_version}


def _not_online(view: TableId, partitions: Sequence[str]) -> dict[str, catalogue.Entry]:
    """The catalogue entries of published feature partitions whose content the online store has not seen."""
    from evergreen.lake import catalogue

    seen = catalogue.published(online(view), partitions)
    stored = catalogue.published(view, partitions)
    return {
        partition: entry
        for partition, entry in sorted(stored.items())
        if partition not in seen or seen[partition].content_hash != entry.content_hash
    }


@contextmanager
def _locked(partition: Partition) -> Iterator[None]:
    """Only one run at a time decides about a partition and writes it; a killed run's lock goes with its connection."""
    from evergreen import database

    with database.locked(str(partition)):
        yield


def _summary(partitions: Mapping[str, Any], nothing: str) -> str:
    """`2026-01-05 (1000 rows), 2026-01-06 (998 rows)`, for the log."""
    rows = {partition: found["rows"] if isinstance(found, dict) else found for partition, found in partitions.items()}
    return ", ".join(f"{partition} ({count} rows)" for partition, count in sorted(rows.items())) or nothing


def _conflict(run: Run, what: str) -> WriteConflict:
    return WriteConflict(
        f"publishing the {what} of {run.subject}",
        found=f"other runs changed the days that they look back at {_ATTEMPTS} times meanwhile",
        expected="published days that hold still for a moment",
        next_step="none: the task is retried by itself",
    )
