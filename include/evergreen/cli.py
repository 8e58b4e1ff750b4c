"""The `evergreen` command."""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import sys
from collections.abc import Container, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from evergreen import (
    cli_correct,
    cli_erase,
    cli_history,
    cli_housekeeping,
    cli_lineage,
    cli_rebuild,
    cli_run,
    cli_stack,
    cli_status,
)
from evergreen.cli_history import Described
from evergreen.disk import raising_disk_full
from evergreen.errors import EvergreenError, SpecError
from evergreen.exposure import UMASK
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.load import Declared
    from evergreen.spec.schema import ModelSpec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. An error of ours is its message, never a traceback."""
    os.umask(UMASK)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["airflow"]:  # not argparse's to read: the options after it are Airflow's
            _airflow(arguments[1:])
        options = _parser().parse_args(arguments)
        with raising_disk_full(f"running evergreen {arguments[0]}"):
            status: int = options.command(options)
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evergreen", description="Continuous training on Apache Airflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", action=Described)

    check = commands.add_parser("check", help="list every mistake in the folders of models and datasets")
    check.add_argument("name", nargs="?", help="only this model or dataset")
    check.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="the folder of datasets as it is in use; also tell which models and owners the difference breaks",
    )
    check.set_defaults(command=_check)

    rollback = commands.add_parser("rollback", help="roll back to the last known good version")
    rollback.add_argument("model", help="the model's name")
    rollback.add_argument("--reason", default="by hand, no reason given", help="why; the ledger keeps it")
    rollback.add_argument(
        "--version",
        type=int,
        help="the version to roll back from; default: the champion, or a version that was deployed by hand",
    )
    rollback.add_argument("--actor", help="who does it; default: the system's user")
    rollback.set_defaults(command=_rollback)

    registry = commands.add_parser(
        "registry", help="set right what is recorded of versions: adopt, restore"
    ).add_subparsers(required=True, metavar="COMMAND", action=Described)
    adopt = registry.add_parser("adopt", help="record the digests of versions that an earlier release registered")
    adopt.add_argument("model", help="the model's name")
    adopt.add_argument("--version", type=int, help="only this version; default: every version without a digest")
    adopt.add_argument(
        "--actor",
        help="who vouches for them; default: the system's user, whom a container calls the same for everybody",
    )
    adopt.set_defaults(command=_adopt)
    cli_history.add(commands, registry)
    cli_lineage.add(commands)
    cli_rebuild.add(commands)
    cli_erase.add(commands)
    cli_housekeeping.add(commands)
    cli_status.add(commands)
    cli_correct.add(commands)

    commands.add_parser(
        "apply", help="migrate the database to this release, and apply every model's Feast objects"
    ).set_defaults(command=_apply)
    commands.add_parser("migrate", help="migrate the tables of the database evergreen to this release").set_defaults(
        command=_migrate
    )
    cli_run.add(commands)
    cli_stack.add(commands)
    commands.add_parser("airflow", help="run Airflow's own command on the local stack; what follows is Airflow's")
    for name, what in {
        "schema": "include/models/model.schema.json: the JSON Schema of model.yaml",
        "dataset-schema": "include/data/data.schema.json: the JSON Schema of data.yaml",
        "reference": "docs/model-spec.md: every key of model.yaml and data.yaml",
        "tables": "docs/tables.md: all tables and their columns",
        "loops": "docs/loops.md: all loops, and what travels between their tasks",
    }.items():
        commands.add_parser(name, help=f"write {what}").set_defaults(command=_generate, document=name)
    return parser


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
    breaks = _breaks(declared, options.against, options.name) if options.against else []
    for line in (*_users(declared, outcomes), *breaks):
        print(line)
    wrong = any(isinstance(outcome, SpecError) for each in outcomes.values() for outcome in each)
    return 1 if not outcomes or wrong or breaks else 0


def _users(declared: Declared, names: Container[str]) -> Iterator[str]:
    """Who uses each dataset, and hears of it when its batches are broken."""
    for dataset in declared.valid_datasets:
        users = [model for model in declared.valid_models if dataset.name in model.data]
        if users and dataset.name in names:
            names_and_owners = ", ".join(f"{model.name} ({model.owner.name} <{model.owner.email}>)" for model in users)
            yield f"{dataset.name}: used by {names_and_owners}"


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


def _rollback(options: argparse.Namespace) -> int:
    from evergreen.serve.rollback import rollback

    actor = options.actor or getpass.getuser()
    print(rollback(options.model, reason=options.reason, actor=actor, version=options.version).message)
    return 0


def _adopt(options: argparse.Namespace) -> int:
    from evergreen.registry.adoption import adopt

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    result = adopt(options.model, actor=options.actor or getpass.getuser(), number=options.version)
    adopted = ", ".join(f"version {number}" for number in result.adopted) or "nothing"
    print(f"{options.model}: adopted {adopted}{'' if result.adopted or result.refused else ', all have digests'}")
    for number, error in result.refused.items():
        print(f"{options.model}: version {number} was not adopted. {error}", file=sys.stderr)
    return 1 if result.refused else 0


def _apply(_: argparse.Namespace) -> int:
    from evergreen import database
    from evergreen.features.objects import ensure_applied
    from evergreen.spec.load import load

    database.migrate()  # before any other process of this release opens it
    declared = load(settings().models, settings().data)
    for dataset in declared.valid_datasets:
        print(f"{dataset.name}: {'applied' if ensure_applied(dataset) else 'up to date'} (dataset)")
    for spec in declared.valid_models:
        print(f"{spec.name}: {'applied' if ensure_applied(spec) else 'up to date'}")
    for error in declared.errors:
        print(error, file=sys.stderr)
    return 0


def _migrate(_: argparse.Namespace) -> int:
    from evergreen import database

    taken = database.migrate()
    print("\n".join(f"done: {name}" for name in taken) or "the tables are those of this release already")
    return 0


def _airflow(arguments: Sequence[str]) -> NoReturn:
    """Become Airflow's command, with the environment of the stack's processes."""
    from evergreen.local import environment

    command = [sys.executable, "-m", "airflow", *arguments]
    os.execve(command[0], command, environment.of_service("airflow", settings()))


def _generate(options: argparse.Namespace) -> int:
    from evergreen import tables_page
    from evergreen.loops import catalogue
    from evergreen.spec import export

    project = settings().project
    targets: dict[str, tuple[Path, str]] = {
        "schema": (project / "include" / "models" / "model.schema.json", export.json_schema()),
        "dataset-schema": (project / "include" / "data" / "data.schema.json", export.dataset_schema()),
        "reference": (project / "docs" / "model-spec.md", export.reference()),
        "tables": (project / "docs" / "tables.md", tables_page.page()),
        "loops": (project / "docs" / "loops.md", catalogue.page()),
    }
    path, text = targets[options.document]
    path.write_text(text, encoding="utf-8")
    print(path)
    return 0
