"""What each stage reads and writes, as names of datasets: what the spec declares before it ran, and what it handed over
after it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evergreen.challenge import stages as challenging
from evergreen.correct import stages as correction
from evergreen.evaluate import stages as evaluation
from evergreen.features import rules
from evergreen.features import stages as features
from evergreen.govern import stages as governing
from evergreen.handovers.correct import Relabelled
from evergreen.handovers.ingest import (
    Batch,
    Extracted,
    Online,
    Published,
    PublishedFeatures,
    Validated,
    WrittenPartition,
)
from evergreen.handovers.labels import Labelled
from evergreen.handovers.monitor import Collected, Compared, Decided
from evergreen.handovers.rollback import RolledBack
from evergreen.handovers.rollout import Moved
from evergreen.handovers.train import Candidate, Deployed, Refitted, Registered, TrainingSet
from evergreen.ingest import stages as ingestion
from evergreen.labels import stages as labelling
from evergreen.lake.schema import FEATURES, LABELS, PREDICTIONS, RAW, WINDOWS, TableId
from evergreen.loops.wire import Result, Stage
from evergreen.monitor import stages as monitoring
from evergreen.object_store import SCHEME
from evergreen.orchestration.reading import Dataset, ReadAndWritten
from evergreen.registry import stages as registry
from evergreen.serve import stages as serving
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages as training
from evergreen.validate import stages as validation

Given = Mapping[str, Result]
Says = Callable[[Any, Given, Any], ReadAndWritten]


def of(stage: Stage, spec: DatasetSpec | ModelSpec, given: Given, result: Any) -> ReadAndWritten:
    """What a stage reads and writes.

    Args:
        given: the hand-overs that it took; none before it has run.
        result: its own; None likewise.
    """
    return STAGES[stage](spec, given, result)


def _lake() -> str:
    lake = settings().lake.rstrip("/")
    return lake if lake.startswith(SCHEME) else f"file://{lake}"


def _table(table: TableId, columns: Mapping[str, str], **more: Any) -> Dataset:
    return Dataset(_lake(), str(table), columns, **more)


def _raw(spec: DatasetSpec | ModelSpec, source: str) -> Dataset:
    return _table(RAW.of(spec.dataset_of(source), source), spec.sources[source].types)


def _features(spec: DatasetSpec | ModelSpec, view: str) -> Dataset:
    about = spec.datasets[spec.dataset_of(view)].entity_of(view)
    return _table(FEATURES.of(spec.dataset_of(view), view), {**about.columns, **spec.features[view].features})


def _online(spec: DatasetSpec, view: str) -> Dataset:
    return replace(_features(spec, view), namespace="evergreen://online")


def _label(spec: ModelSpec) -> Dataset:
    label = LABELS.of(spec.model, spec.label.name)
    return _table(label, {**spec.keys, **spec.asking.inputs, spec.label.name: spec.problem.kind})


def _predictions(spec: ModelSpec) -> Dataset:
    return _table(PREDICTIONS.of(spec.model), {**spec.keys, **spec.feature_types})


def _training_set(spec: ModelSpec) -> Dataset:
    columns = {**spec.keys, **spec.feature_types, spec.label.name: spec.problem.kind}
    return Dataset("evergreen://training", f"{spec.model}/training_set", columns)


def _model(spec: ModelSpec) -> Dataset:
    return Dataset(settings().mlflow_url, spec.model)


def _served(spec: ModelSpec) -> Dataset:
    return Dataset(settings().server_url, spec.model)


def _decisions(spec: ModelSpec) -> Dataset:
    return Dataset("evergreen://ledger", f"{spec.model}/decisions")


def _files(batches: Mapping[str, Batch], spec: DatasetSpec) -> dict[str, list[Dataset]]:
    """Source → the files or the query that its batch was read from."""
    return {name: list(_batch(batch, spec.sources[name].types)) for name, batch in batches.items()}


def _batch(batch: Batch, columns: Mapping[str, str]) -> Iterator[Dataset]:
    if batch.query is not None:
        yield Dataset("evergreen://connections", batch.query.connection, columns, version=batch.query.content_hash)
    for file in batch.files:
        scheme, there, place = file.name.partition("://")
        if there:
            store, _, key = place.partition("/")
            bucket = store.rpartition("@")[2]  # a connection is how it is opened, and not where it is
            yield Dataset(f"{scheme}://{bucket}", key, columns, version=file.sha256)
        else:
            yield Dataset("file", file.name, columns, version=file.sha256)


def _written(dataset: Dataset, partitions: Mapping[str, WrittenPartition]) -> Dataset:
    """A table after some of its partitions were written."""
    if not partitions:
        return dataset
    return replace(
        dataset,
        version=str(max(written.version for written in partitions.values())),
        rows=sum(written.rows for written in partitions.values()),
        partitions={partition: written.content_hash for partition, written in partitions.items()},
    )


def _extract(spec: DatasetSpec, given: Given, result: Extracted | None) -> ReadAndWritten:
    return ReadAndWritten(_all(_files(result.sources, spec).values()) if result else ())


def _validate(spec: DatasetSpec, given: Given, result: Any) -> ReadAndWritten:
    extracted = given.get("extracted")
    return ReadAndWritten(_all(_files(extracted.sources, spec).values()) if isinstance(extracted, Extracted) else ())


def _publish(spec: DatasetSpec, given: Given, result: Published | None) -> ReadAndWritten:
    validated = given.get("validated")
    if not isinstance(validated, Validated) or result is None:
        return ReadAndWritten((), [_raw(spec, name) for name in spec.sources])
    files = _files({name: parted.batch for name, parted in validated.sources.items()}, spec)
    return ReadAndWritten(
        _all(files.values()),
        [
            replace(
                _raw(spec, name),
                version=str(source.version),
                rows=source.rows,
                partitions={_kept_under(spec, validated.sources[name].batch): source.content_hash},
                same_as={column: (files[name][0], column) for column in spec.sources[name].columns if files[name]},
            )
            for name, source in result.sources.items()
        ],
    )


def _kept_under(spec: DatasetSpec, batch: Batch) -> str:
    """The partition of a batch: the run's, but for a table for all intervals."""
    return spec.calendar.until(batch.known_at).partition


def _sources(spec: DatasetSpec, views: Iterable[str]) -> list[Dataset]:
    return [_raw(spec, source) for source in dict.fromkeys(s for view in views for s in spec.features[view].sources)]


def _read(spec: DatasetSpec | ModelSpec, sources: Iterable[str], file: Path) -> tuple[Dataset, ...]:
    """The sources of a query, with the columns that it names."""
    from evergreen.spec import files, query

    named = query.columns(files.query(spec, file))
    return tuple(
        replace(each, columns={name: kind for name, kind in each.columns.items() if named is None or name in named})
        for each in (_raw(spec, source) for source in sources)
    )


def _compute(spec: DatasetSpec, given: Given, result: Any) -> ReadAndWritten:
    return ReadAndWritten(_sources(spec, spec.features))


def _publish_features(spec: DatasetSpec, given: Given, result: PublishedFeatures | None) -> ReadAndWritten:
    views = spec.features if result is None else [view for view, written in result.views.items() if written]
    outputs = [
        replace(
            _written(_features(spec, view), {} if result is None else result.views[view]),
            made_of=_read(spec, spec.features[view].sources, spec.view_sql(view)),
        )
        for view in views
    ]
    return ReadAndWritten(_sources(spec, views), outputs)


def _materialize(spec: DatasetSpec, given: Given, result: Online | None) -> ReadAndWritten:
    views = spec.features if result is None else [view for view, rows in result.views.items() if rows]
    outputs = [
        replace(_online(spec, view), rows=None if result is None else sum(result.views[view].values()))
        for view in views
    ]
    return ReadAndWritten([_features(spec, view) for view in views], outputs)


def _labels(spec: ModelSpec, given: Given, result: Labelled | None) -> ReadAndWritten:
    read = [_raw(spec, source) for source in rules.label_sources(spec)]
    if result is not None and not result.partitions:
        return ReadAndWritten(read)
    written = _written(_label(spec), {} if result is None else result.partitions)
    return ReadAndWritten(read, [replace(written, made_of=_read(spec, spec.label.sources, spec.label_sql()))])


def _relabel(spec: DatasetSpec, given: Given, result: Relabelled | None) -> ReadAndWritten:
    from evergreen.correct import planning

    written = {} if result is None else result.models
    labels = [_written(_label(model), written.get(model.model, {})) for model in planning.users(spec.name)]
    return ReadAndWritten([_raw(spec, source) for source in spec.sources], labels)


def _build(spec: ModelSpec, given: Given, result: TrainingSet | None) -> ReadAndWritten:
    label, views = _label(spec), {view: _features(spec, view) for view in spec.features}
    same_as = {feature: (views[view], feature) for view in views for feature in spec.features[view].features}
    same_as[spec.label.name] = (label, spec.label.name)
    built = _training_set(spec)
    built = replace(built, same_as={name: of for name, of in same_as.items() if name in built.columns})
    if result is None:
        return ReadAndWritten([label, *views.values()], [built])
    versions = {**result.versions}
    read = []
    for each in (label, *views.values()):
        named = TableId.parse(each.name).seen_from(spec.model)
        read.append(replace(each, version=str(versions[named])) if named in versions else each)
    rows = result.learn.rows + result.evaluate.rows
    return ReadAndWritten(read, [replace(built, version=result.key, rows=rows, content_hash=result.content_hash)])


def _learned_from(spec: ModelSpec, given: Given) -> list[Dataset]:
    data = next((each for each in given.values() if isinstance(each, TrainingSet)), None)
    if data is None:
        return [_training_set(spec)]
    return [replace(_training_set(spec), version=data.key, content_hash=data.content_hash)]


def _reads_training_set(spec: ModelSpec, given: Given, result: Any) -> ReadAndWritten:
    return ReadAndWritten(_learned_from(spec, given))


def _tune(spec: ModelSpec, given: Given, result: Candidate | None) -> ReadAndWritten:
    if result is None:
        return ReadAndWritten(_learned_from(spec, given))
    candidate = Dataset(settings().mlflow_url, f"{spec.model}/candidates/{result.family}", version=result.run.id)
    return ReadAndWritten(_learned_from(spec, given), [candidate])


def _refit(spec: ModelSpec, given: Given, result: Refitted | None) -> ReadAndWritten:
    if result is None or result.refit is None:
        return ReadAndWritten(_learned_from(spec, given))
    fitted = Dataset(settings().mlflow_url, f"{spec.model}/candidates/{result.family}", version=result.refit.run.id)
    return ReadAndWritten(_learned_from(spec, given), [fitted])


def _register(spec: ModelSpec, given: Given, result: Registered | None) -> ReadAndWritten:
    return ReadAndWritten((), [_numbered(_model(spec), result)])


def _probe(spec: ModelSpec, given: Given, result: Registered | None) -> ReadAndWritten:
    return ReadAndWritten([_numbered(_model(spec), result)])


def _deploy(spec: ModelSpec, given: Given, result: Deployed | RolledBack | Moved | None) -> ReadAndWritten:
    return ReadAndWritten([_numbered(_model(spec), result)], [_numbered(_served(spec), result)])


def _collect(spec: ModelSpec, given: Given, result: Collected | None) -> ReadAndWritten:
    written = _predictions(spec)
    if result is not None:
        written = replace(written, version=str(result.table_version), rows=result.rows)
    return ReadAndWritten([_numbered(_served(spec), result)], [written])


def _window(spec: ModelSpec, given: Given, result: Any) -> ReadAndWritten:
    return ReadAndWritten([_collected(spec, given)])


def _performance(spec: ModelSpec, given: Given, result: Any) -> ReadAndWritten:
    return ReadAndWritten([_collected(spec, given), _label(spec)])


def _compare(spec: ModelSpec, given: Given, result: Compared | None) -> ReadAndWritten:
    version = None if result is None or result.table_version is None else str(result.table_version)
    read = [_collected(spec, given), _label(spec), *(_features(spec, view) for view in spec.features)]
    return ReadAndWritten(read, [_table(WINDOWS.of(spec.model), {}, version=version)])


def _decide(spec: ModelSpec, given: Given, result: Decided | None) -> ReadAndWritten:
    made = replace(_decisions(spec), version=None if result is None else result.decision_id)
    return ReadAndWritten([_collected(spec, given), _label(spec)], [made])


def _decided(spec: ModelSpec, given: Given, result: Any) -> ReadAndWritten:
    decision = given.get("decision")
    version = decision.decision_id if isinstance(decision, Decided) else None
    return ReadAndWritten([replace(_decisions(spec), version=version)])


def _report(spec: ModelSpec, given: Given, result: Any) -> ReadAndWritten:
    compared = given.get("compared")
    version = compared.table_version if isinstance(compared, Compared) else None
    read = _table(WINDOWS.of(spec.model), {}, version=None if version is None else str(version))
    return ReadAndWritten([_collected(spec, given), _label(spec), read, *_decided(spec, given, result).inputs])


def _collected(spec: ModelSpec, given: Given) -> Dataset:
    collected = given.get("collected")
    version = collected.table_version if isinstance(collected, Collected) else None
    return replace(_predictions(spec), version=None if version is None else str(version))


def _nothing(spec: Any, given: Given, result: Any) -> ReadAndWritten:
    return ReadAndWritten()  # of a stage that decides, or whose tables are another task's to tell


def _numbered(dataset: Dataset, result: Any) -> Dataset:
    version = getattr(result, "version", None)
    return replace(dataset, version=None if version is None else str(version))


def _all(datasets: Iterable[Iterable[Dataset]]) -> list[Dataset]:
    return [each for some in datasets for each in some]


STAGES: Mapping[Stage, Says] = {
    ingestion.extract: _extract,
    validation.validate: _validate,
    ingestion.publish: _publish,
    features.compute: _compute,
    validation.validate_features: _compute,
    features.publish: _publish_features,
    features.materialize: _materialize,
    labelling.labels: _labels,
    training.build: _build,
    validation.validate_training: _reads_training_set,
    training.tune: _tune,
    evaluation.evaluate: _reads_training_set,
    evaluation.gates: _nothing,
    evaluation.describe: _reads_training_set,
    governing.approve: _nothing,
    training.refit: _refit,
    registry.register: _register,
    governing.card: _probe,
    serving.probe: _probe,
    serving.deploy: _deploy,
    serving.roll_back: _deploy,
    monitoring.collect: _collect,
    monitoring.quality: _window,
    monitoring.drift: _window,
    monitoring.performance: _performance,
    monitoring.compare: _compare,
    monitoring.decide: _decide,
    monitoring.retrain_wanted: _decided,
    monitoring.alert: _decided,
    monitoring.fall_back: _deploy,
    monitoring.report: _report,
    challenging.collect: _nothing,
    challenging.compare: _nothing,
    challenging.move: _deploy,
    correction.plan: _nothing,
    correction.begin: _nothing,
    correction.relabel: _relabel,
}
