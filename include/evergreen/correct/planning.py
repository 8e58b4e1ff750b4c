"""What running an interval again would change, found without changing anything: the batches are read and judged, and
features and labels computed, as ingestion would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import pyarrow as pa

from evergreen.correct import comparing
from evergreen.correct import rules as correcting
from evergreen.errors import ContractBroken, EvidenceMissing
from evergreen.features import computing, due, online_values, rules
from evergreen.handovers.correct import Change, ChangedOnline, ChangedSource, Planned
from evergreen.history import ledger, story
from evergreen.ingest import batches, erased
from evergreen.ingest.rules import known_at
from evergreen.interval import Interval
from evergreen.lake import catalogue, hashing, tables
from evergreen.lake.schema import FEATURES, LABELS, QUARANTINE, RAW, Partition, online
from evergreen.registry import records as registry
from evergreen.run import DatasetRun
from evergreen.settings import settings
from evergreen.spec.keyed import Key
from evergreen.spec.load import load
from evergreen.spec.schema import ModelSpec
from evergreen.validate import judging
from evergreen.validate.exemptions import Exemption
from evergreen.validate.expectations import Judge
from evergreen.validate.rules import decide


def users(dataset: str) -> list[ModelSpec]:
    """The models that use a dataset, of those whose folders are valid."""
    return [model for model in load(settings().models, settings().data).valid_models if dataset in model.datasets]


def label_spans(model: ModelSpec, run: DatasetRun, instead: due.EntriesInstead = due.NOTHING) -> list[rules.Span]:
    """The label partitions that a run's interval is part of, and which are there; the others the model's own loops
    compute as they mature."""
    spans = rules.label_spans(model, run.interval, due.label_reach(model, run.interval, instead))
    there = catalogue.published(LABELS.of(model.model, model.label.name), [span.partition for span in spans])
    return [span for span in spans if span.partition in there]


def plan(run: DatasetRun, exempt: Mapping[str, Sequence[Exemption]] = MappingProxyType({})) -> Planned:
    """What running an interval again would change, now.

    Args:
        exempt: source → rows that may pass, in place of those that are recorded.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: as `extract` does.
        ContractBroken: of a source or of a computed view; ingestion would stop there.
        PermanentError: a query of a view or a label, as its stage does.
    """
    return _Plan(run, exempt).planned()


@dataclass(frozen=True)
class _Feature:
    """A feature partition as it would be."""

    change: Change
    content_hash: str
    difference: comparing.Difference


class _Plan:
    def __init__(self, run: DatasetRun, exempt: Mapping[str, Sequence[Exemption]]) -> None:
        self._run, self._spec, self._exempt = run, run.spec, exempt
        self._lacking: dict[Partition, catalogue.Lacking] = {}  # of the interval's, what an erasure left
        self._rows: dict[Partition, pa.Table] = {}  # of the raw partitions whose content would be another
        self._entries: dict[Partition, catalogue.Entry] = {}  # and what the catalogue would say of them
        self._judge = Judge()

    def planned(self) -> Planned:
        sources = self._sources()  # first: the others depend on the rows
        features = {view: self._features(view) for view in self._spec.features}
        labels = {model.model: self._labels(model) for model in self._users}
        new_rows = not all(each.published.same for each in sources.values())
        touched = new_rows or any((*features.values(), *labels.values()))
        return Planned(
            partition=self._run.interval.partition,
            sources=sources,
            features={
                view: {partition: each.change for partition, each in of_view.items()}
                for view, of_view in features.items()
                if of_view
            },
            online={
                view: changed
                for view, of_view in features.items()
                if (changed := self._online(view, of_view)) is not None
            },
            labels={model: changes for model, changes in labels.items() if changes},
            models=tuple(
                model.model
                for model in self._users
                if labels[model.model] or any(features.get(view) for view in self._used(model))
            ),
            versions={
                model.model: versions
                for model in self._users
                if (versions := self._versions(model, features, labels[model.model]))
            },
            decisions={
                model.model: decisions for model in self._users if touched and (decisions := self._decisions(model))
            },
            erasures=self._erasures() if any(each.back for each in sources.values()) else (),
        )

    @cached_property
    def _users(self) -> list[ModelSpec]:
        return users(self._spec.name)

    def _sources(self) -> dict[str, ChangedSource]:
        sources, broken = {}, []
        found = {name: each for name in self._spec.sources if (each := batches.found(self._run, name)) is not None}
        keys = {interval.partition for _, interval in found.values()}
        self._lacking = catalogue.lacking(self._spec.name, keys)
        for name, (batch, interval) in found.items():
            judged = judging.batch(self._run, interval, name, batch.rows, self._judge, self._exempt.get(name))
            broken += [f"{name}: {problem}" for problem in judged.decision.broken]
            contents = batches.contents(self._run, interval, name, batch.digest, judged.accepted, judged.rejected)
            sources[name] = self._source(name, interval, contents, judged)
        self._stop(broken, "nothing would be published", "the batch upstream, or the contract if the world has changed")
        return sources

    def _stop(self, broken: Sequence[str], consequence: str, what: str) -> None:
        if broken:
            raise ContractBroken(
                f"looking what correcting {self._run.subject} would change",
                found="\n    ".join(["", *broken]) if len(broken) > 1 else broken[0],
                expected=f"every critical expectation met; {consequence}",
                next_step=f"correct {what}, and look again",
            )

    def _source(
        self, name: str, interval: Interval, contents: Mapping[Partition, pa.Table], judged: judging.Judged
    ) -> ChangedSource:
        key = interval.partition
        raw, quarantine = (layer.of(self._spec.name, name).at(key) for layer in (RAW, QUARANTINE))
        hashes = {partition: hashing.content_hash(rows) for partition, rows in contents.items()}
        published = catalogue.published(raw.table, [key]).get(key)
        quarantined = catalogue.published(quarantine.table, [key]).get(key)
        if published is None or published.content_hash != hashes[raw]:
            self._rows[raw] = contents[raw]
            self._entries[raw] = catalogue.Entry(
                model=raw.table.of,
                layer=raw.table.layer,
                name=name,
                partition=key,
                rows=contents[raw].num_rows,
                content_hash=hashes[raw],
                inputs_hash=None,
                table_version=-1,
                known_at=known_at(interval),
                reaches=batches.reaches(self._run, name, judged.accepted),
            )
        return ChangedSource(
            published=_change(published, contents[raw].num_rows, hashes[raw]),
            quarantined=Change(before=None, rows=0, same=True)
            if quarantine not in contents
            else _change(quarantined, contents[quarantine].num_rows, hashes[quarantine]),
            released=judged.released,
            replaces=None if published is None else published.table_version,
            content_hash=" ".join(hashes[partition] for partition in (raw, quarantine) if partition in hashes),
            erased=sum(self._lacking[partition].gone for partition in contents if partition in self._lacking),
            back=sum(
                erased.coming_back(self._spec, self._lacking[partition], rows)
                for partition, rows in contents.items()
                if partition in self._lacking and not erased.stays(self._lacking[partition], rows)
            ),
        )

    def _erasures(self) -> tuple[str, ...]:
        """Those of the models that use the dataset, since the oldest publication of what lacks rows."""
        since = min(each.since for each in self._lacking.values())
        return tuple(ledger.erasures([model.model for model in self._users], since))

    def _features(self, view: str) -> dict[str, _Feature]:
        stored = FEATURES.of(self._spec.name, view)
        wanted = due.of_view(self._spec, view, self._run.interval, self._entries)
        before = catalogue.published(stored, list(wanted))
        features, broken, suite = {}, [], judging.suite(self._run, view)
        for partition, each in wanted.items():
            rows = computing.features(self._spec, view, each.span, self._rows)
            content_hash = hashing.content_hash(rows)
            change = _change(before.get(partition), rows.num_rows, content_hash)
            old = None if change.same or partition not in before else tables.read(stored, [partition])
            difference = comparing.rows(self._keys(view), rows if change.same else old, rows)
            features[partition] = _Feature(change, content_hash, difference)
            name = f"{view} of {partition}"
            findings, _ = self._judge(suite, rows, range(rows.num_rows), name, self._run.as_of)
            broken += [f"{name}: {problem}" for problem in decide(rows.num_rows, {}, findings, quarantine=False).broken]
        self._stop(
            broken, "no feature would be published", "the view's query, or its contract if the world has changed"
        )
        return features

    def _online(self, view: str, features: Mapping[str, _Feature]) -> ChangedOnline | None:
        """What `materialize` would find outdated, and whose values it would change."""
        stored = FEATURES.of(self._spec.name, view)
        reach = due.reach(self._spec, view, self._run.interval, self._entries)
        touched = [span.partition for span in rules.feature_spans(self._spec, view, self._run.interval, reach)]
        published, seen = catalogue.published(stored, touched), catalogue.published(online(stored), touched)
        outdated: dict[str, comparing.Difference] = {}
        for partition in sorted(published.keys() | features.keys()):
            there = published.get(partition)
            content_hash = features[partition].content_hash if partition in features else there and there.content_hash
            of_store = seen.get(partition)
            if of_store is not None and of_store.content_hash == content_hash:
                continue
            known = of_store is not None and there is not None and of_store.content_hash == there.content_hash
            if known and partition in features:
                outdated[partition] = features[partition].difference
            else:  # what the store has of it is not known: any of its entities may be another
                outdated[partition] = self._all(view, partition, features)
        if not outdated:
            return None
        changed: set[Key] = set()
        for partition, difference in outdated.items():
            as_of = self._spec.calendar.at(partition).as_of
            keys = sorted({*difference.written, *difference.gone})
            for key, at in zip(keys, online_values.moments(self._spec, view, keys), strict=True):
                newer = key in difference.written and (at is None or at <= as_of)
                if newer or (key in difference.gone and at == as_of):
                    changed.add(key)
        return ChangedOnline(partitions=tuple(outdated), entities=len(changed))

    def _all(self, view: str, partition: str, features: Mapping[str, _Feature]) -> comparing.Difference:
        if partition in features and features[partition].change.before is None:
            return features[partition].difference
        rows = tables.read(FEATURES.of(self._spec.name, view), [partition])
        of_lake = comparing.Difference(frozenset(), frozenset(), frozenset())
        if rows is not None:
            of_lake = comparing.rows(self._keys(view), None, rows)
        if partition not in features:
            return of_lake
        new = features[partition].difference
        return replace(of_lake, written=(of_lake.written - new.gone) | new.written, gone=new.gone)

    def _labels(self, model: ModelSpec) -> dict[str, Change]:
        stored = LABELS.of(model.model, model.label.name)
        wanted = due.of_label(model, label_spans(model, self._run, self._entries), self._entries)
        before = catalogue.published(stored, list(wanted))
        changes = {}
        for partition, each in wanted.items():
            rows, _ = computing.labels(model, each.span, self._rows)
            changes[partition] = _change(before.get(partition), rows.num_rows, hashing.content_hash(rows))
        return changes

    def _versions(
        self, model: ModelSpec, features: Mapping[str, Mapping[str, _Feature]], labels: Mapping[str, Change]
    ) -> dict[str, tuple[str, ...]]:
        """The registered versions whose training sets have rows that change, and by which days."""
        days = {partition for partition, change in labels.items() if not change.same}
        for view in self._used(model):
            declared = model.features[view]
            for partition, each in features.get(view, {}).items():
                if not each.change.same and each.difference.features & set(declared.features):
                    days.update(correcting.cutoffs(model, model.calendar.at(partition)))
        if not days:
            return {}
        from evergreen.train import records  # which loads MLflow

        versions = {}
        for number in sorted(registry.numbers().get(model.model, ())):
            try:
                record = records.of(model.model, registry.version(model.model, number))
            except EvidenceMissing:
                continue  # of an earlier release, whose data nobody wrote down
            trained_on = set(record.partitions) or {
                day
                for day in days
                if record.split.learn_from <= model.calendar.at(day).as_of <= record.split.evaluate_to
            }
            if differing := sorted(days & trained_on):
                versions[str(number)] = tuple(differing)
        return versions

    def _decisions(self, model: ModelSpec) -> tuple[str, ...]:
        entries = ledger.entries(model.model, "decided", "trained")
        events = [entry.event for entry in entries]
        return tuple(correcting.open_decisions(story.decisions(entries), events, self._run.interval.start))

    def _used(self, model: ModelSpec) -> list[str]:
        """The dataset's views that a model uses."""
        return [view for view in model.features if model.dataset_of(view) == self._spec.name]

    def _keys(self, view: str) -> list[str]:
        return [*self._spec.entity_of(view).columns]


def _change(before: catalogue.Entry | None, rows: int, content_hash: str) -> Change:
    if before is None:
        return Change(before=None, rows=rows, same=False)
    return Change(before=before.rows, rows=rows, same=before.content_hash == content_hash)
