"""Follows what was written down of partitions, training sets and decisions: back to files, and forward from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from evergreen.errors import LineageUnknown
from evergreen.history import ledger, story
from evergreen.history.events import Decided
from evergreen.lake import publications
from evergreen.lake.publications import Publication
from evergreen.lake.schema import FEATURES, LABELS, PREDICTIONS, RAW, WINDOWS, TableId
from evergreen.lineage.graph import Backward, DecisionMade, Forward, OfTable, Training, of_tables
from evergreen.monitor import origins
from evergreen.quoting import shown
from evergreen.registry import records as registry
from evergreen.spec.mistakes import nearest
from evergreen.train import records
from evergreen.train.records import Record

_ORDER = {layer.layer: number for number, layer in enumerate((PREDICTIONS, LABELS, FEATURES, RAW))}


def of_version(model: str, number: int) -> Backward:
    """Where a version comes from: its training set, the partitions that the join could see, and their files.

    Raises:
        LineageUnknown: there is no such model or version.
        EvidenceMissing, ServiceUnavailable: of a version of an earlier release, as `train.records.of` does.
    """
    known = registry.numbers()
    doing = f"looking up where version {number} of {model} comes from"
    if model not in known:
        raise _unknown(doing, f"no version of a model {shown(model)}", model, known, "a model that has versions")
    if number not in known[model]:
        raise _unknown(doing, f"no version {number}", number, known[model], f"a version of {model}")
    version = registry.version(model, number)
    record = records.of(model, version)
    read = [each for table in record.pins for each in _used(record, table)]
    training = _training(record, number)
    return Backward(training, _back(read, record.versions))


def of_decision(model: str, decision_id: str) -> Backward:
    """What a recorded decision was made from; and whether what it read is still what was recorded.

    Raises:
        LineageUnknown: there is no such decision.
    """
    entries = ledger.entries(model, "decided")
    decided = {entry.event.decision_id: entry.event for entry in entries if isinstance(entry.event, Decided)}
    decided |= {event.decision_id: event for event in story.decisions(entries)}
    if decision_id not in decided:
        doing = f"looking up what decision {decision_id} of {model} was made from"
        raise _unknown(doing, f"no decision {shown(decision_id)}", decision_id, decided, f"a decision about {model}")
    event = decided[decision_id]
    parts = {TableId.parse(table): part for table, part in (event.made_from or {}).items()}
    changed = [
        str(table)
        for table, part in parts.items()
        if origins.made_from(table, part.version, part.first, part.last, event.end) != part
    ]
    read = [
        each
        for table, part in parts.items()
        if table.layer != WINDOWS.layer  # each of its rows names by a digest what it was made from
        for each in publications.of_stretch(table, part.version, part.first, part.last, event.end).values()
    ]
    return Backward(
        _decision(event), _back(read, {str(table): part.version for table, part in parts.items()}), tuple(changed)
    )


def of_batch(batch: str) -> Forward:
    """What became of a batch: a file by its name or sha256, or a partition (`dataset/source/partition`, or
    `dataset/layer/table/partition`).

    Raises:
        LineageUnknown: nothing of that name was published.
    """
    began = _named(batch)
    until = _Ends()
    made: dict[tuple[TableId, str, int], Publication] = {}
    ours, waiting = list(began), list(began)
    while waiting:
        later = [each for each in _made_of(waiting, until) if each.state not in made]
        made |= {each.state: each for each in later}
        ours, waiting = ours + later, later
    trainings = [_training(record, number) for record, number in _trainings() if _learned(record, ours, until)]
    decisions = [_decision(event) for event in _decided() if _decided_from(event, ours, until)]
    order = sorted(made.values(), key=lambda each: (-_ORDER.get(each.layer, len(_ORDER)), str(each.table)))
    return Forward(of_tables(began), of_tables(order), tuple(trainings), tuple(decisions))


def _used(record: Record, table: TableId) -> Iterator[Publication]:
    """What a training set could see of a table: of the labels the partitions of its cutoffs, of features all that were
    known at its last cutoff, since an entity's newest row may be old."""
    for each in publications.of_version(table, record.versions[str(table)]).values():
        if _joins(record, each):
            yield each


def _joins(record: Record, each: Publication) -> bool:
    if each.layer == LABELS.layer and record.partitions:
        return each.partition in record.partitions
    return each.layer == LABELS.layer or each.known_at <= record.split.evaluate_to


def _back(read: Sequence[Publication], versions: Mapping[str, int]) -> tuple[OfTable, ...]:
    """What was read, and all that it was made from."""
    every, waiting = list(read), list(read)
    while waiting:
        wanted: dict[str, dict[str, set[int]]] = {}
        for each in waiting:
            for table, of_table in (each.inputs.partitions if each.inputs else {}).items():
                for partition, version in of_table.items():
                    wanted.setdefault(table, {}).setdefault(partition, set()).add(version)
        waiting = [each for table, of_table in wanted.items() for each in _states(TableId.parse(table), of_table)]
        every += waiting
    ordered = sorted(every, key=lambda each: (_ORDER.get(each.layer, len(_ORDER)), str(each.table)))
    return of_tables(ordered, versions)


def _states(table: TableId, wanted: Mapping[str, set[int]]) -> Iterator[Publication]:
    """The states of partitions in the versions in which they were read: as a rule one each."""
    left = {partition: sorted(versions) for partition, versions in wanted.items()}
    while left:
        yield from publications.of_partitions(
            table, {partition: versions[-1] for partition, versions in left.items()}
        ).values()
        left = {partition: versions[:-1] for partition, versions in left.items() if len(versions) > 1}


class _Ends:
    """Until which version of its table a state lasts: up to the next publication of its partition."""

    def __init__(self) -> None:
        self._known: dict[TableId, dict[str, list[int]]] = {}

    def has(self, each: Publication, version: int) -> bool:
        """Whether a version of the table has this state of the partition."""
        if each.table not in self._known:
            versions: dict[str, list[int]] = {}
            for one in publications.of_table(each.table):
                versions.setdefault(one.partition, []).append(one.table_version)
            self._known[each.table] = versions
        later = [one for one in self._known[each.table][each.partition] if one > each.table_version]
        return each.table_version <= version and not any(one <= version for one in later)


def _made_of(began: Iterable[Publication], until: _Ends) -> Iterator[Publication]:
    by_table: dict[TableId, dict[str, list[Publication]]] = {}
    for each in began:
        by_table.setdefault(each.table, {}).setdefault(each.partition, []).append(each)
    for table, states in by_table.items():
        for later in publications.reading(table, list(states)):
            assert later.inputs is not None
            read = later.inputs.partitions[str(table)]
            if any(until.has(each, read[each.partition]) for p in states.keys() & read.keys() for each in states[p]):
                yield later


def _trainings() -> list[tuple[Record, int | None]]:
    numbers = {(model, key): number for model, number, key in registry.trainings()}
    return [(record, numbers.get((record.model, record.key))) for record in records.every()]


def _learned(record: Record, ours: Iterable[Publication], until: _Ends) -> bool:
    return any(
        str(each.table) in record.versions
        and until.has(each, record.versions[str(each.table)])
        and _joins(record, each)
        for each in ours
    )


def _decided() -> list[Decided]:
    return [event for each in ledger.models() for event in story.decisions(ledger.entries(each, "decided"))]


def _decided_from(event: Decided, ours: Iterable[Publication], until: _Ends) -> bool:
    made_from = event.made_from or {}
    return any(
        (part := made_from.get(str(each.table))) is not None
        and part.first <= each.partition <= part.last
        and each.known_at <= event.end
        and until.has(each, part.version)
        for each in ours
    )


def _named(batch: str) -> list[Publication]:
    """The publications that a batch's name means."""
    *above, partition = batch.strip("/").split("/")
    if len(above) in (2, 3):
        table = TableId(above[0], RAW.layer, above[1]) if len(above) == 2 else TableId(*above)
        of_table = [each for each in publications.of_table(table) if each.partition == partition]
        if of_table:
            return of_table
    if of_file := publications.with_file(batch):
        return of_file
    raise _unknown(
        f"looking up what became of {shown(batch, 200)}",
        "nothing that was made from it",
        batch,
        [*publications.file_names(), *_partition_names(above)],
        "a file (its name, or eight digits of its sha256), or a partition such as churn/usage/2026-01-05",
    )


def _partition_names(above: Sequence[str]) -> list[str]:
    """What a partition's name might have been: of its table if there is one, else one of each table."""
    tables = publications.of_layers(RAW.layer, FEATURES.layer, LABELS.layer, PREDICTIONS.layer)
    named = {f"{table.of}/{table.name}" if table.layer == RAW.layer else str(table): table for table in tables}
    table = named.get("/".join(above))
    if table is not None:
        return [f"{'/'.join(above)}/{each.partition}" for each in publications.of_table(table)]
    return [f"{name}/{publications.of_table(each)[-1].partition}" for name, each in named.items()]


def _training(record: Record, number: int | None) -> Training:
    return Training(record.model, number, record.key, record.as_of, record.content_hash, record.taken_over)


def _decision(event: Decided) -> DecisionMade:
    return DecisionMade(event.model, event.decision_id, event.start, event.action, event.version, event.made_from)


def _unknown(doing: str, found: str, name: object, known: Iterable[object], expected: str) -> LineageUnknown:
    some = sorted(map(str, known))
    return LineageUnknown(
        doing,
        found=found,
        expected=expected,
        next_step=nearest(name, some, f"write one of {', '.join(some[:5])}" if some else "publish something first"),
    )
