"""A model's folder becomes a `ModelSpec`, or the list of all its mistakes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from evergreen.errors import SpecError
from evergreen.quoting import shown
from evergreen.spec import rules, source_query
from evergreen.spec.asking import OnRequest
from evergreen.spec.columns import EVENT
from evergreen.spec.contract import Contract, read_contract
from evergreen.spec.document import read
from evergreen.spec.files import Budget, TooMuch, Unreadable, text
from evergreen.spec.mistakes import FILE, Mistake, nearest, one_of, spec_error
from evergreen.spec.partial import stated_or
from evergreen.spec.schema import NAME, ModelSpec
from evergreen.spec.shape import shaped

log = logging.getLogger(__name__)


def folders(models: Path) -> list[Path]:
    """The folders below `models` that declare a model, or try to, by name."""
    if not models.is_dir():
        return []
    return sorted(path for path in models.iterdir() if not path.name.startswith((".", "_")) and _is_folder(path))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it may be one; reading it says what is wrong
        return True


def names(models: Path) -> list[str]:
    """The names of the folders below `models` that a model may have."""
    return [path.name for path in folders(models) if re.fullmatch(NAME, path.name)]


def load_all(models: Path) -> tuple[list[ModelSpec], list[SpecError]]:
    """The valid specs of a folder of models, by name, and an error for each invalid one."""
    outcomes = load_each(models).values()
    return [o for o in outcomes if isinstance(o, ModelSpec)], [o for o in outcomes if isinstance(o, SpecError)]


def load_each(models: Path, *, deep: bool = False) -> dict[str, ModelSpec | SpecError]:
    """What becomes of each model folder, by the folder's name; `deep` as in `load_spec`."""
    outcomes: dict[str, ModelSpec | SpecError] = {}
    for folder in folders(models):
        try:
            outcomes[folder.name] = load_spec(folder, deep=deep)
        except SpecError as error:
            outcomes[folder.name] = error
    agreed = _agreed([outcome for outcome in outcomes.values() if isinstance(outcome, ModelSpec)])
    for name, outcome in outcomes.items():
        if isinstance(outcome, ModelSpec) and (mistakes := list(_disagreements(outcome, agreed))):
            outcomes[name] = _error(models / name, mistakes)
    return outcomes


def load_spec(folder: Path, *, deep: bool = False) -> ModelSpec:
    """The spec of one folder.

    Args:
        folder: holds `model.yaml`, and the files that it names.
        deep: also prepare every query, and ask Great Expectations about every expectation; takes seconds.

    Raises:
        SpecError: with every mistake of the folder.
    """
    try:
        return _loaded(folder, deep=deep)
    except SpecError:
        raise
    except Exception as error:  # whatever is in a folder costs that folder alone: its DAGs are not the others'
        log.exception("reading %s", shown(str(folder)))
        failure = f"{type(error).__name__}: {error}"
        fix = "look into the folder's files; when they are sound, report this with the traceback in the log above"
        raise _error(folder, [Mistake(FILE, "", failure, "a folder that can be read", fix)]) from error


def _loaded(folder: Path, *, deep: bool) -> ModelSpec:
    if not _is_folder(folder):
        known = [path.name for path in folders(folder.parent)]
        fix = nearest(folder.name, known, f"use one of them, or make the folder {folder}")
        raise _error(folder, [Mistake(folder.name, "", "no such folder", one_of(known), fix)])
    budget = Budget()
    document = read(folder / FILE, FILE, folder, budget)
    if document.content is None:
        raise _error(folder, document.mistakes)
    spec, misshapen = shaped(ModelSpec, document)
    spec = spec.at(folder.absolute())
    mistakes = [*document.mistakes, *misshapen, *rules.mistakes(spec)]
    try:
        checks = [_name(spec), *_queries(spec, budget), *_contracts(spec, budget)]
        mistakes += rules.collected(checks)
    except TooMuch as error:
        fix = "write less, or make several models"
        raise _error(folder, [Mistake(folder.name, "", error.found, error.allowed, fix), *mistakes]) from error
    if deep:
        from evergreen.spec.deep import findings

        mistakes += rules.collected(findings(spec))
    if mistakes:
        located = [replace(m, line=document.line(m.key)) if m.file == FILE and m.line is None else m for m in mistakes]
        raise _error(folder, sorted(located, key=lambda m: (m.file != FILE, m.file, m.line or 0)))
    return spec


def _error(folder: Path, mistakes: list[Mistake]) -> SpecError:
    return spec_error(f"reading the spec {folder.absolute()}", folder.name, mistakes)


def _agreed(specs: list[ModelSpec]) -> dict[str, tuple[str, str, str]]:
    """Entity → key, type, and a model that says so: what most models say, so that one
    folder cannot take an entity from several."""
    declarations: dict[str, dict[tuple[str, str], list[str]]] = {}
    for spec in specs:
        for name, (_, key, kind) in _entities(spec).items():
            declarations.setdefault(name, {}).setdefault((key, kind), []).append(spec.model)
    return {
        name: (*way, models[0])
        for name, ways in declarations.items()
        for way, models in [max(ways.items(), key=lambda each: len(each[1]))]
    }


def _disagreements(spec: ModelSpec, agreed: dict[str, tuple[str, str, str]]) -> Iterator[Mistake]:
    """One entity has one key: all models share a Feast project."""
    for name, (where, key, kind) in _entities(spec).items():
        agreed_key, agreed_kind, model = agreed[name]
        if (key, kind) != (agreed_key, agreed_kind):
            allowed = f"{name} by {agreed_key} ({agreed_kind}), as in {model}"
            fix = "use the same key and type, or name the entity differently"
            yield Mistake(FILE, where, f"{name} by {key} ({kind})", allowed, fix)


def _entities(spec: ModelSpec) -> dict[str, tuple[str, str, str]]:
    """Name → where it is declared, key and type."""
    references: dict[str, tuple[str, str, str]] = {
        name: (f"references.{name}", other.key, other.type) for name, other in spec.references.items()
    }
    return references | {spec.entity.name: ("entity", spec.entity.key, spec.entity.type)}


def _name(spec: ModelSpec) -> Iterator[Mistake]:
    folder = spec.folder.name
    if spec.model != folder:
        yield Mistake(FILE, "model", spec.model, f"{folder}, the folder's name", f"write model: {folder}")


def _queries(spec: ModelSpec, budget: Budget) -> Iterator[Iterator[Mistake]]:
    for view in stated_or(spec, "features", ()):
        yield _query(spec, budget, f"features.{view}", partial(spec.view_sql, view))
    if (request := stated_or(spec, "request", None)) is not None:
        yield _query(spec, budget, "request", lambda: OnRequest(spec, request).file)
    yield _query(spec, budget, "label", spec.label_sql)
    for source in stated_or(spec, "sources", ()):
        yield _source_query(spec, budget, source)


def _source_query(spec: ModelSpec, budget: Budget, source: str) -> Iterator[Mistake]:
    if spec.sources[source].connection is not None:
        yield from _query(spec, budget, f"sources.{source}", partial(spec.source_sql, source), source_query.mistakes)


def _query(
    spec: ModelSpec,
    budget: Budget,
    key: str,
    file_of: Callable[[], Path],
    check: Callable[[str, str], Iterator[Mistake]] = lambda file, query: iter(()),
) -> Iterator[Mistake]:
    """The file of a query can be read, and `check` may find mistakes in its text."""
    path = file_of()
    file = spec.relative(path)
    try:
        query = text(path, spec.folder, budget)
    except Unreadable as error:
        if error.missing:
            yield Mistake(FILE, f"{key}.sql", f"no file {file}", "a file with one SELECT", f"add {file}")
        else:
            yield Mistake(file, "", error.found, "SQL in UTF-8", "correct the file")
    else:
        yield from check(file, query)


def _contracts(spec: ModelSpec, budget: Budget) -> Iterator[Iterator[Mistake]]:
    for name in stated_or(spec, "sources", ()):
        yield _contract(spec, budget, name, lambda name: [*spec.sources[name].columns])
    for name in stated_or(spec, "features", ()):
        yield _contract(
            spec,
            budget,
            name,
            lambda name: [spec.entity_of(name).key, *spec.features[name].features, EVENT],
        )


def _contract(spec: ModelSpec, budget: Budget, table: str, columns: Callable[[str], list[str]]) -> Iterator[Mistake]:
    contract, mistakes = read_contract(spec, table, budget)
    yield from mistakes
    if contract is not None:
        yield from _contract_columns(contract, spec.relative(spec.contract_file(table)), columns(table))


def _contract_columns(contract: Contract, file: str, known: list[str]) -> Iterator[Mistake]:
    columns = frozenset(known)
    for number, expectation in enumerate(contract.expectations):
        for argument, column in expectation.columns:
            if column not in columns:
                key, fix = f"expectations.{number}.{argument}", nearest(column, known, "name a column of the table")
                yield Mistake(file, key, column, one_of(known), fix)
