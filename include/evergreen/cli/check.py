"""The command `check`: every mistake in the folders of models and datasets, and whom a change of a dataset breaks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.cli.parsing import Commands
from evergreen.errors import SpecError
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.load import Declared
    from evergreen.spec.schema import ModelSpec


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    check = commands.add_parser("check", help="list every mistake in the folders of models and datasets")
    check.add_argument("name", nargs="?", help="only this model or dataset")
    check.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="the folder of datasets as it is in use; also tell which models and owners the difference breaks",
    )
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.load import load, load_spec

    where = settings()
    declared = load(where.models, where.data, deep=not options.name)
    outcomes: dict[str, list[DatasetSpec | ModelSpec | SpecError]] = {}
    for name, outcome in (*declared.datasets.items(), *declared.models.items()):
        if not (isinstance(outcome, DatasetSpec) and outcome.of_a_model):
            outcomes.setdefault(name, []).append(outcome)
    if options.name:
        if options.name not in outcomes:
            load_spec(where.models / options.name, where.data)  # no such folder: the error says which there are
        outcomes = {options.name: [_deeply(outcome) for outcome in outcomes[options.name]]}
    if not outcomes:
        print(f"no folder of a model in {where.models}, nor of a dataset in {where.data}", file=sys.stderr)
    for name, each in outcomes.items():
        for outcome in each:
            if isinstance(outcome, SpecError):
                print(outcome, file=sys.stderr)
            elif isinstance(outcome, DatasetSpec):
                print(f"{name}: valid (dataset of {len(outcome.sources)} sources, {len(outcome.features)} views)")
            else:
                print(
                    f"{name}: valid ({len(outcome.sources)} sources, {len(outcome.feature_types)} features, "
                    f"{len(outcome.families)} families)"
                )
                if options.name:
                    for line in _normal(outcome):
                        print(line)
    breaks = _breaks(declared, options.against, options.name) if options.against else []
    for line in (*_users(declared, outcomes), *_foreseen(outcomes), *breaks):
        print(line)
    wrong = any(isinstance(outcome, SpecError) for each in outcomes.values() for outcome in each)
    return 1 if not outcomes or wrong or breaks else 0


def _normal(spec: ModelSpec) -> Iterator[str]:
    """The monitor's numbers: when it retrains, and what is normal to it, typed or learned from the reference of the
    version that serves."""
    from evergreen.errors import EvergreenError
    from evergreen.history import ledger
    from evergreen.lake import catalogue
    from evergreen.lake.schema import PREDICTIONS
    from evergreen.monitor import seeing
    from evergreen.registry import artifacts, contents, records
    from evergreen.spec.durations import duration_text

    monitoring = spec.monitoring
    for name, field in type(monitoring).model_fields.items():
        value = getattr(monitoring, name)
        if name != "retrain" and value is not None:
            said = duration_text(value) if isinstance(value, timedelta) else value
            said = f"{said:g}" if isinstance(said, int | float) else said
            stated = name in monitoring.model_fields_set
            yield f"  {name}: {said} ({f'typed in {spec.file}' if stated else f'default: {field.description}'})"
    if monitoring.window is None:
        yield f"  window: {duration_text(spec.window)} (default: one interval)"
    retrain = spec.monitoring.retrain
    cost = (
        f"{retrain.share:g} of what the first champion lost at first" if retrain.cost is None else f"{retrain.cost:g}"
    )
    yield (
        f"  retrain ({retrain.preset}): evidence {retrain.bound:g} that adds up quickly or {retrain.slow:g} slowly; a "
        f"retraining costs {cost}"
    )
    try:
        champion = ledger.standing(spec.model).champion  # not by the registry: a folder is checked without MLflow, too
        if champion is None:
            yield "  what is normal to the monitor is learned with the first version that serves"
            return
        run_id = records.version(spec.model, champion).run_id
        rows = artifacts.load(records.candidate(run_id), contents.Reference).rows
        newest = catalogue.newest(PREDICTIONS.of(spec.model))
        usual = None if newest is None else seeing.volume(spec, spec.calendar.after(spec.calendar.at(newest)))
    except EvergreenError as error:
        yield f"  what is normal to the monitor is not known now: {error.found}"
        return
    for cause, bound in seeing.normal(spec, rows).items():
        yield f"  {cause}: {bound:.3f} (learned from the reference of version {champion})"
    if usual is None:
        yield "  predictions of an interval: learned when five of them had some"
    else:
        (least, most), like = usual
        yield f"  predictions of the next interval: {least:.0f} to {most:.0f} (learned from {like})"


def _users(declared: Declared, names: Container[str]) -> Iterator[str]:
    """Who uses each dataset, and hears of it when its batches are broken."""
    for dataset in declared.valid_datasets:
        users = [model for model in declared.valid_models if dataset.name in model.data]
        if users and dataset.name in names:
            names_and_owners = ", ".join(f"{model.name} ({model.owner.name} <{model.owner.email}>)" for model in users)
            yield f"{dataset.name}: used by {names_and_owners}"


def _foreseen(outcomes: Mapping[str, Sequence[DatasetSpec | ModelSpec | SpecError]]) -> Iterator[str]:
    """Whether each model's evaluations have rows enough for its gates, by what the ledger and the lake have. Where they
    do not answer, what the spec alone says."""
    from evergreen.errors import EvergreenError, TransientError
    from evergreen.evaluate import foreseeing
    from evergreen.spec.schema import ModelSpec

    answers = True
    for spec in (each for of_name in outcomes.values() for each in of_name if isinstance(each, ModelSpec)):
        told = None
        if answers:
            try:
                told = foreseeing.line(spec)
            except TransientError:
                answers = False
            except EvergreenError as error:
                told = f"how many rows its gates need is not known: {error.found}"
        if told := told or foreseeing.of_spec(spec):
            yield f"{spec.model}: {told}"


def _breaks(declared: Declared, against: Path, name: str | None) -> list[str]:
    """Which models a change of a dataset breaks, with their owners, and why."""
    from evergreen.spec import deep, impact
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.load import load

    before = load(settings().models, against)
    breaks = []
    for dataset in before.valid_datasets:
        now = declared.datasets.get(dataset.name)
        if dataset.of_a_model or isinstance(now, SpecError) or name not in (None, dataset.name):
            continue  # what is wrong with it is told
        if now is not None and now.calendar != dataset.calendar:
            breaks.append(
                f"{dataset.name}: its calendar becomes {now.calendar.name}, and was {dataset.calendar.name}: once "
                "partitions are published, its runs are refused"
            )
        empty = DatasetSpec.of_model(dataset.folder, dataset=dataset.name, sources={}, features={}, entities={})
        changed = list(impact.changes(dataset, now or empty))
        for model in before.valid_models:
            for why in impact.broken(model, dataset.name, changed, partial(deep.reads, model)):
                breaks.append(
                    f"{dataset.name}: breaks the model {model.name} of {model.owner.name} <{model.owner.email}>: {why}"
                )
    return breaks


def _deeply(outcome: DatasetSpec | ModelSpec | SpecError) -> DatasetSpec | ModelSpec | SpecError:
    """A folder looked at again, with every query and expectation tried."""
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.load import load_dataset, load_spec

    if isinstance(outcome, SpecError):
        return outcome
    try:
        if isinstance(outcome, DatasetSpec):
            return load_dataset(outcome.folder, deep=True)
        return load_spec(outcome.folder, settings().data, deep=True)
    except SpecError as error:
        return error
