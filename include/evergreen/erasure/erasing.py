"""Erases one entity: from the lake with its history, quarantine and predictions, from the prediction log, the online
store, the pages, MLflow's files and working files.

The order makes a kill harmless. What is to be said is said first: the ledger's events name the training sets that lose
rows, so that none is ever taken for one that somebody tampered with. The lake is last, since all else is found by it.
A second run goes on with the same id, and ends the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from evergreen import folders
from evergreen.erasure import artifacts, landing, learning, rules, traces, undeclared
from evergreen.erasure.learning import Unsearched
from evergreen.erasure.rules import Learned
from evergreen.errors import WriteConflict
from evergreen.history import erasures, events, ledger
from evergreen.lake import catalogue, rewriting, tables
from evergreen.lake.rewriting import Key
from evergreen.lake.schema import LAYERS, PREDICTIONS, TableId
from evergreen.monitor import kept_fits
from evergreen.settings import settings
from evergreen.spec.load import Declared
from evergreen.train.records import Record


@dataclass
class Report:
    """What is held of an entity; after an erasure, what was."""

    id: str | None  # the erasure's; None: nothing was erased
    places: dict[str, int] = field(default_factory=dict)  # where → rows, or files
    learned: list[Learned] = field(default_factory=list)
    landing: list[str] = field(default_factory=list)
    written: list[int] = field(default_factory=list)  # entries of the ledger: their reason or actor has the key
    unsearched: list[Unsearched] = field(default_factory=list)


def erase(declared: Declared, entity: str, key: str, *, actor: str, reason: str, apply: bool) -> Report:
    """Erase an entity, or look what is held of it.

    Args:
        declared: by the folders; models whose folder is gone are looked into too, as they were last trained.
        key: as text, as the sources have it; where several columns identify the entity, one of them: `column=value`.
        apply: erase; False: only look.

    Raises:
        ErasureRefused: nobody declares such an entity, or what is to be kept of the erasure would name it.
        WriteConflict: runs kept writing rows of it.
        ServiceUnavailable: the database, the object store or MLflow does not answer.
    """
    rules.check(entity, key, reason=reason, actor=actor)
    declared, unsearched = undeclared.with_them(declared)
    named = rules.keys(entity, key, declared.valid_datasets, declared.valid_models)
    keys = {name: Key(columns, value) for name, (columns, value) in named.items()}
    value = _everywhere(keys).value
    rules.check(entity, value, reason=reason, actor=actor)
    begun = erasures.begin(entity, key, actor=actor, reason=reason) if apply else None
    report = Report(None if begun is None else begun.id, unsearched=unsearched)
    report.written = [entry.number for entry in ledger.saying(value) if rules.written(value, entry.event)]
    held = _held(keys, declared)
    known = _learned(declared, keys, report)
    if begun is not None:
        _tell(begun, declared, keys, known, held)
    counted = partial(_count, report.places)
    for learned, record in known:
        for outcome in artifacts.erase(learned, record, keys[learned.model], apply=apply):
            if isinstance(outcome, Unsearched):
                report.unsearched.append(outcome)
            else:
                counted("rows in files of MLflow", outcome)
    rejected = list(traces.rejected({table: keys.get(table.of, _everywhere(keys)) for table in held}))
    for name, each in keys.items():
        mine = [learned for learned, _ in known if learned.model == name]
        answered = traces.predictions(name, _place(declared, name, each), value, apply=apply)
        counted(f"predictions in the log of {name}", answered)
        counted(f"working files of {name}", traces.working_files(name, each, apply=apply))
        intervals = [partition for of, partition in rejected if of == name]
        drawn = bool(mine or answered or PREDICTIONS.of(name) in held)
        counted(f"pages of {name}", traces.pages(name, value, intervals, drawn=drawn, apply=apply))
    counted("rows in the online store", traces.online(_everywhere(keys).columns, value, apply=apply))
    for dataset in (each for each in declared.valid_datasets if each.name in keys):
        released = traces.exemptions(dataset, keys[dataset.name], apply=apply)
        counted(f"released rows of {dataset.name}", released)
        report.landing += sorted(landing.holding(dataset, keys[dataset.name]))
    for table, each in _tables(keys, declared).items():
        counted(f"rows in the files of {table}", rewriting.erase(table, each) if apply else held.get(table, 0))
        if apply:
            catalogue.recount(table, tables.counts(table))
    if begun is not None:
        for name in keys:  # they learned from the rows that are gone; whoever needs one fits it anew
            kept_fits.forget(name)
        _nothing_left(keys, declared)
        erasures.end(begun)
    return report


def _count(places: dict[str, int], place: str, number: int) -> None:
    if number:
        places[place] = places.get(place, 0) + number


def _place(declared: Declared, name: str, key: Key) -> int | None:
    """Where the key stands among several of a model's entity."""
    columns = next(([*each.entity.columns] for each in declared.valid_models if each.name == name), [])
    return next((at for at, column in enumerate(columns) if column in key.columns), None) if len(columns) > 1 else None


def _everywhere(keys: Mapping[str, Key]) -> Key:
    """The key by every name that it has somewhere."""
    (value,) = {key.value for key in keys.values()}
    return Key(frozenset().union(*(key.columns for key in keys.values())), value)


def _tables(keys: Mapping[str, Key], declared: Declared) -> dict[TableId, Key]:
    """Every table of the lake that may hold the entity: those of whoever declares it, and those of a name that nobody
    declares any more."""
    lake = settings().lake.rstrip("/")
    others = {*declared.datasets, *declared.models} - keys.keys()
    layers = {layer.layer for layer in LAYERS}
    tables_of: dict[TableId, Key] = {}
    for file in folders.below(lake, tables.SETTING):
        of, layer, name, *below = (*file.removeprefix(f"{lake}/").split("/"), *[""] * 3)
        if any(below) and layer in layers and of not in others:
            tables_of[TableId(of, layer, name)] = keys.get(of, _everywhere(keys))
    return tables_of


def _held(keys: Mapping[str, Key], declared: Declared) -> dict[TableId, int]:
    """How many rows of the entity the files of each table have, of those that have any."""
    counts = {table: sum(rewriting.held(table, key).values()) for table, key in _tables(keys, declared).items()}
    return {table: rows for table, rows in counts.items() if rows}


def _learned(declared: Declared, keys: Mapping[str, Key], report: Report) -> list[tuple[Learned, Record]]:
    known = []
    for model in declared.valid_models:
        if model.name in keys:
            for outcome in learning.look(model, keys[model.name]):
                if isinstance(outcome, Unsearched):
                    report.unsearched.append(outcome)
                else:
                    known.append(outcome)
                    report.learned.append(outcome[0])
    return known


def _tell(
    begun: erasures.Begun,
    declared: Declared,
    keys: Mapping[str, Key],
    known: list[tuple[Learned, Record]],
    held: Mapping[TableId, int],
) -> None:
    """Let the ledger say of every model what it loses, before it does; once, whatever was killed after it."""
    added: list[events.Erased] = []
    for model in declared.valid_models:
        if any(event.erasure == begun.id for event in ledger.erased(model.name)):
            continue
        mine = [learned for learned, _ in known if learned.model == model.name]
        left = {
            learned.key: learning.left(record, learned.versions[-1], keys[learned.model])
            for learned, record in known
            if learned.model == model.name and learned.versions
        }
        if mine or any(table.of in {model.name, *model.datasets} for table in held):
            added.append(
                events.Erased(
                    id=f"erased/{begun.id}/{model.name}",
                    model=model.name,
                    as_of=None,
                    actor=begun.actor,
                    reason=begun.reason,
                    erasure=begun.id,
                    rows={learned.key: learned.rows for learned in mine},
                    versions={str(number): learned.rows for learned in mine for number in learned.versions},
                    left={training: digest for training, digest in left.items() if digest is not None},
                )
            )
    ledger.append(*added)


def _nothing_left(keys: Mapping[str, Key], declared: Declared) -> None:
    """A run that read the rows before may have written them after: look again.

    Raises:
        WriteConflict: one has.
    """
    left = [str(table) for table in _held(keys, declared)]
    if left:
        raise WriteConflict(
            "looking whether anything is left after an erasure",
            found=f"new rows in {', '.join(left)}",
            expected="nobody who writes such rows meanwhile",
            next_step="let the runs of these tables end, then run the command again: it goes on where it was",
        )
