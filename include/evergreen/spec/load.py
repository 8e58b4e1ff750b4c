"""A model's folder becomes a `ModelSpec`, or the list of all its mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial as bound
from pathlib import Path

from evergreen.errors import SpecError
from evergreen.spec import rules
from evergreen.spec.contract import Contract, read_contract
from evergreen.spec.document import read
from evergreen.spec.mistakes import Mistake, nearest, one_of, spec_error
from evergreen.spec.rules import FILE
from evergreen.spec.schema import ModelSpec
from evergreen.spec.shape import shaped


def folders(models: Path) -> list[Path]:
    """The model folders below `models`, by name."""
    if not models.is_dir():
        return []
    return sorted(path for path in models.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))


def load_all(models: Path) -> tuple[list[ModelSpec], list[SpecError]]:
    """The valid specs of a folder of models, by name, and an error for each invalid one."""
    outcomes = load_each(models).values()
    return [o for o in outcomes if isinstance(o, ModelSpec)], [o for o in outcomes if isinstance(o, SpecError)]


def load_each(models: Path, *, deep: bool = False) -> dict[str, ModelSpec | SpecError]:
    """What becomes of each model folder, by the folder's name; `deep` as in `load_spec`."""
    outcomes: dict[str, ModelSpec | SpecError] = {}
    for folder in folders(models):
        try:
            spec = load_spec(folder, deep=deep)
            others = [other for other in outcomes.values() if isinstance(other, ModelSpec)]
            found = list(_disagreements(spec, others))
            outcomes[folder.name] = _error(folder, found) if found else spec
        except SpecError as error:
            outcomes[folder.name] = error
    return outcomes


def load_spec(folder: Path, *, deep: bool = False) -> ModelSpec:
    """The spec of one folder.

    Args:
        folder: holds `model.yaml`, and the files that it names.
        deep: also prepare every query, and ask Great Expectations about every expectation; takes seconds.

    Raises:
        SpecError: with every mistake of the folder.
    """
    if not folder.is_dir():
        names = [path.name for path in folders(folder.parent)]
        fix = nearest(folder.name, names, f"use one of them, or make the folder {folder}")
        raise _error(folder, [Mistake(folder.name, "", "no such folder", one_of(names), fix)])
    document = read(folder / FILE, FILE)
    if document.content is None:
        raise _error(folder, document.mistakes)
    spec, misshapen = shaped(ModelSpec, document)
    spec, partial = spec.at(folder.absolute()), bool(misshapen)
    found = [*document.mistakes, *misshapen, *rules.mistakes(spec, partial=partial)]
    found += rules.collected([_name(spec), *_queries(spec), *_contracts(spec)], partial=partial)
    if deep:
        from evergreen.spec import deep as deeply

        found += rules.collected(deeply.findings(spec), partial=partial)
    if found:
        told = [replace(m, line=document.line(m.key)) if m.file == FILE and m.line is None else m for m in found]
        raise _error(folder, sorted(told, key=lambda m: (m.file != FILE, m.file, m.line or 0)))
    return spec


def _error(folder: Path, found: list[Mistake]) -> SpecError:
    return spec_error(f"reading the spec {folder.absolute()}", folder.name, found)


def _disagreements(spec: ModelSpec, others: list[ModelSpec]) -> Iterator[Mistake]:
    """One entity has one key: all models share a Feast project."""
    for other in others:
        known = _entities(other)
        for name, (where, key, kind) in _entities(spec).items():
            if name in known and known[name][1:] != (key, kind):
                _, other_key, other_kind = known[name]
                allowed = f"{name} by {other_key} ({other_kind}), as in {other.model}"
                fix = "use the same key and type, or name the entity differently"
                yield Mistake(FILE, where, f"{name} by {key} ({kind})", allowed, fix)


def _entities(spec: ModelSpec) -> dict[str, tuple[str, str, str]]:
    """Name → where it is declared, key and type."""
    found: dict[str, tuple[str, str, str]] = {
        name: (f"references.{name}", other.key, other.type) for name, other in spec.references.items()
    }
    return found | {spec.entity.name: ("entity", spec.entity.key, spec.entity.type)}


def _name(spec: ModelSpec) -> Iterator[Mistake]:
    folder = spec.folder.name
    if spec.model != folder:
        yield Mistake(FILE, "model", spec.model, f"{folder}, the folder's name", f"write model: {folder}")


def _queries(spec: ModelSpec) -> Iterator[Iterator[Mistake]]:
    def missing(key: str, file_of: Callable[[], Path]) -> Iterator[Mistake]:
        if not (path := file_of()).is_file():
            file = spec.relative(path)
            yield Mistake(FILE, f"{key}.sql", f"no file {file}", "a file with one SELECT", f"add {file}")

    for view in getattr(spec, "features", ()):
        yield missing(f"features.{view}", bound(spec.view_sql, view))
    if getattr(spec, "request", None) is not None:
        yield missing("request", spec.request_sql)
    yield missing("label", spec.label_sql)
    for source in getattr(spec, "sources", ()):
        yield _source_query(spec, source)


def _source_query(spec: ModelSpec, source: str) -> Iterator[Mistake]:
    """The query of a source with a connection: there, in UTF-8, and bounded by the interval."""
    if spec.sources[source].connection is None:
        return
    path = spec.source_sql(source)
    file = spec.relative(path)
    try:
        query = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        yield Mistake(
            file, "", f"bytes that are not UTF-8 at position {error.start}", "SQL in UTF-8", "correct the file"
        )
    except OSError:
        yield Mistake(FILE, f"sources.{source}.sql", f"no file {file}", "a file with one SELECT", f"add {file}")
    else:
        yield from rules.source_query(file, query)


def _contracts(spec: ModelSpec) -> Iterator[Iterator[Mistake]]:
    for name in getattr(spec, "sources", ()):
        yield _contract(spec, name, lambda name: [*spec.sources[name].columns])
    for name in getattr(spec, "features", ()):
        yield _contract(
            spec, name, lambda name: [spec.entity_of(name).key, *spec.features[name].features, "event_timestamp"]
        )


def _contract(spec: ModelSpec, table: str, columns: Callable[[str], list[str]]) -> Iterator[Mistake]:
    path = spec.contract_file(table)
    file = spec.relative(path)
    if not path.is_file():
        fix = f"add {file}, with at least one expectation"
        yield Mistake(file, "", "no such file", f"the contract of {table}", fix)
        return
    contract, found = read_contract(path, file)
    yield from found
    if contract is not None:
        yield from _contract_columns(contract, file, columns(table))


def _contract_columns(contract: Contract, file: str, known: list[str]) -> Iterator[Mistake]:
    for number, expectation in enumerate(contract.expectations):
        for argument, column in expectation.columns:
            if column not in known:
                key, fix = f"expectations.{number}.{argument}", nearest(column, known, "name a column of the table")
                yield Mistake(file, key, column, one_of(known), fix)
