"""A folder becomes a `DatasetSpec` or a `ModelSpec`, or the list of all its mistakes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from evergreen.errors import SpecError
from evergreen.quoting import shown
from evergreen.spec import resolve, rules, source_query
from evergreen.spec.asked import noted
from evergreen.spec.asking import OnRequest
from evergreen.spec.columns import EVENT
from evergreen.spec.contract import Contract, read_contract
from evergreen.spec.dataset import DatasetSpec, Folder
from evergreen.spec.document import Document, read
from evergreen.spec.files import Budget, TooMuch, Unreadable, text
from evergreen.spec.keyed import NAME, Keyed
from evergreen.spec.mistakes import DATA_FILE, FILE, Mistake, nearest, one_of, spec_error
from evergreen.spec.partial import stated_or
from evergreen.spec.schema import ModelSpec, UsingModel
from evergreen.spec.shape import shaped

log = logging.getLogger(__name__)

Spec = TypeVar("Spec", ModelSpec, DatasetSpec)


@noted
def folders(models: Path) -> list[Path]:
    """The folders below `models` that declare a model, or try to, by name."""
    if not models.is_dir():
        return []
    return sorted(path for path in models.iterdir() if not path.name.startswith((".", "_")) and _is_folder(path))


@noted
def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it may be one; reading it says what is wrong
        return True


def names(models: Path) -> list[str]:
    """The names of the folders below `models` that a model may have."""
    return [path.name for path in folders(models) if re.fullmatch(NAME, path.name)]


@dataclass(frozen=True)
class Declared:
    """What the folders declare: each dataset and each model by its folder's name, or its error.

    The data of a model that declares both stands among the datasets too.
    """

    datasets: dict[str, DatasetSpec | SpecError]
    models: dict[str, ModelSpec | SpecError]

    @property
    def valid_datasets(self) -> list[DatasetSpec]:
        """The datasets without mistakes, by name."""
        return [each for _, each in sorted(self.datasets.items()) if isinstance(each, DatasetSpec)]

    @property
    def valid_models(self) -> list[ModelSpec]:
        """The models without mistakes, by name."""
        return [each for _, each in sorted(self.models.items()) if isinstance(each, ModelSpec)]

    @property
    def errors(self) -> list[SpecError]:
        """Of every folder that has mistakes."""
        return [each for each in (*self.datasets.values(), *self.models.values()) if isinstance(each, SpecError)]


def beside(models: Path) -> Path:
    """Where the datasets stand, unless somebody says otherwise: in the folder `data` beside that of the models."""
    return models.absolute().parent / "data"


def load(models: Path, data: Path | None = None, *, deep: bool = False) -> Declared:
    """What the folders below `models` and `data` declare; `deep` as in `load_spec`."""
    reader = _Reader(models, beside(models) if data is None else data, deep=deep)
    datasets = {folder.name: reader.dataset(folder.name) for folder in folders(reader.data)}
    specs = {folder.name: reader.model(folder.name) for folder in folders(models)}
    own = {
        name: spec.own_data()
        for name, spec in specs.items()
        if isinstance(spec, ModelSpec) and not spec.data and name not in datasets
    }
    valid = [each for each in (*datasets.values(), *own.values()) if isinstance(each, DatasetSpec)]
    agreed = _agreed(valid)
    for dataset in valid:
        if mistakes := list(_disagreements(dataset, agreed)):
            error = _error(dataset.folder, mistakes)
            if dataset.of_a_model:
                specs[dataset.name] = error
                del own[dataset.name]
            else:
                datasets[dataset.name] = error
    refused = {name for name, each in datasets.items() if isinstance(each, SpecError)}
    for name, spec in specs.items():
        if isinstance(spec, ModelSpec) and (wrong := sorted(refused & spec.data.keys())):
            specs[name] = _error(models / name, [resolve.refused(each) for each in wrong])
    return Declared({**datasets, **own}, specs)


def load_spec(folder: Path, data: Path | None = None, *, deep: bool = False) -> ModelSpec:
    """The model of one folder, with what it uses of its datasets.

    Args:
        folder: holds `model.yaml`, and the files that it names.
        data: where the datasets stand, if not `beside` the models.
        deep: also prepare every query, and ask Great Expectations about every expectation; takes seconds.

    Raises:
        SpecError: with every mistake of the folder.
    """
    reader = _Reader(folder.parent, beside(folder.parent) if data is None else data, deep=deep)
    return _or_raise(reader.model(folder.name))


def load_dataset(folder: Path, *, deep: bool = False) -> DatasetSpec:
    """The dataset of one folder, which holds `data.yaml` and the files that it names; else as `load_spec`."""
    return _or_raise(_Reader(beside(folder.parent), folder.parent, deep=deep).dataset(folder.name))


def _or_raise(outcome: Spec | SpecError) -> Spec:
    if isinstance(outcome, SpecError):
        raise outcome
    return outcome


@dataclass
class _Reader:
    """Reads each folder once, whoever uses it."""

    models: Path
    data: Path
    deep: bool
    _datasets: dict[str, DatasetSpec | SpecError] = field(default_factory=dict)
    _models: dict[str, ModelSpec | SpecError] = field(default_factory=dict)

    def dataset(self, name: str) -> DatasetSpec | SpecError:
        """The dataset of a folder of its own."""
        if name not in self._datasets:
            self._datasets[name] = _sheltered(self.data / name, DATA_FILE, self._dataset)
        return self._datasets[name]

    def model(self, name: str) -> ModelSpec | SpecError:
        """The model of a folder."""
        if name not in self._models:
            self._models[name] = _sheltered(self.models / name, FILE, self._model)
        return self._models[name]

    def _dataset(self, folder: Path) -> DatasetSpec:
        budget = Budget()
        document = _document(folder, DATA_FILE, budget)
        spec, misshapen = shaped(DatasetSpec, document)
        spec = spec.at(folder.absolute())
        mistakes = [*document.mistakes, *misshapen, *_of_data(spec)]
        findings = [_name(spec, "dataset", stated_or(spec, "dataset", None)), *_data_files(spec, budget)]
        _tell(folder, document, mistakes, findings, self._deeply(of_dataset=spec))
        return spec

    def _model(self, folder: Path) -> ModelSpec:
        budget = Budget()
        document = _document(folder, FILE, budget)
        if isinstance(document.content, dict) and "data" in document.content:
            declared, misshapen = shaped(UsingModel, document)
            spec, unresolved = self._resolved(declared.at(folder.absolute()))
            mistakes = [*document.mistakes, *misshapen, *unresolved, *rules.of_model(spec)]
            findings = [_name(spec, "model", stated_or(spec, "model", None)), *_model_files(spec, budget)]
            findings += [self._alone(spec)]
            _tell(folder, document, mistakes, findings, self._deeply(of_model=spec))
            return resolve.used(spec)
        spec, misshapen = shaped(ModelSpec, document)
        spec = spec.at(folder.absolute())
        own = spec.own_data()
        mistakes = [*document.mistakes, *misshapen, *_of_data(own), *rules.of_model(spec)]
        findings = [_name(spec, "model", stated_or(spec, "model", None)), *_data_files(own, budget)]
        findings += [*_model_files(spec, budget), self._alone(spec)]
        _tell(folder, document, mistakes, findings, self._deeply(of_dataset=own, of_model=spec))
        return spec

    def _resolved(self, model: UsingModel) -> tuple[ModelSpec, list[Mistake]]:
        named = stated_or(model, "data", {})
        return resolve.resolved(model, {name: each for name in named if (each := self._used(name))}, self._known)

    def _used(self, name: str) -> DatasetSpec | SpecError | None:
        """A dataset that a model names: of a folder of its own, or of another model's that declares both."""
        if _is_folder(self.data / name):
            return self.dataset(name)
        if not _declares_both(self.models / name):
            return None
        outcome = self.model(name)
        return outcome.own_data() if isinstance(outcome, ModelSpec) else outcome

    def _known(self) -> list[str]:
        both = [folder.name for folder in folders(self.models) if _declares_both(folder)]
        return sorted({*(folder.name for folder in folders(self.data)), *both})

    def _alone(self, spec: ModelSpec) -> Iterator[Mistake]:
        """Two folders of one name are a model and what it uses, or somebody else's tables."""
        name = spec.folder.name
        if name not in spec.data and _is_folder(self.data / name):
            allowed = "a name that no dataset has, but for one that the model uses"
            yield Mistake(FILE, "model", f"{name}, a dataset's name too", allowed, f"rename one, or use {name} in data")

    def _deeply(
        self, *, of_dataset: DatasetSpec | None = None, of_model: ModelSpec | None = None
    ) -> Iterator[Iterator[Mistake]]:
        if self.deep:
            from evergreen.spec import deep as deeply

            if of_dataset is not None:
                yield from deeply.of_dataset(of_dataset)
            if of_model is not None:
                yield from deeply.of_model(of_model)


def _declares_both(folder: Path) -> bool:
    """Whether a model's folder declares its data too, as far as can be seen without judging it."""
    document = read(folder / FILE, FILE, folder, Budget())
    return isinstance(document.content, dict) and "data" not in document.content


def _sheltered(folder: Path, file: str, read_it: Callable[[Path], Spec]) -> Spec | SpecError:
    """What a folder declares, or its error: whatever is in it costs that folder alone."""
    try:
        return read_it(folder)
    except SpecError as error:
        return error
    except Exception as error:  # its DAGs are not the others'
        log.exception("reading %s", shown(str(folder)))
        failure = f"{type(error).__name__}: {error}"
        fix = "look into the folder's files; when they are sound, report this with the traceback in the log above"
        return _error(folder, [Mistake(file, "", failure, "a folder that can be read", fix)])


def _document(folder: Path, file: str, budget: Budget) -> Document:
    """The file at the head of a folder."""
    if not _is_folder(folder):
        known = [path.name for path in folders(folder.parent)]
        fix = nearest(folder.name, known, f"use one of them, or make the folder {folder}")
        raise _error(folder, [Mistake(folder.name, "", "no such folder", one_of(known), fix)])
    document = read(folder / file, file, folder, budget)
    if document.content is None:
        raise _error(folder, document.mistakes)
    return document


def _of_data(spec: DatasetSpec) -> list[Mistake]:
    return [replace(each, file=spec.file) for each in rules.of_dataset(spec)]


def _tell(
    folder: Path,
    document: Document,
    mistakes: list[Mistake],
    findings: Iterable[Iterator[Mistake]],
    deeply: Iterable[Iterator[Mistake]],
) -> None:
    """Raises `SpecError` with all that is wrong, if anything is."""
    try:
        mistakes += rules.collected(findings)
    except TooMuch as error:
        fix = "write less, or make several models"
        raise _error(folder, [Mistake(folder.name, "", error.found, error.allowed, fix), *mistakes]) from error
    mistakes += rules.collected(deeply)
    if mistakes:
        head = document.file
        located = [replace(m, line=document.line(m.key)) if m.file == head and m.line is None else m for m in mistakes]
        raise _error(folder, sorted(located, key=lambda m: (m.file != head, m.file, m.line or 0)))


def _error(folder: Path, mistakes: list[Mistake]) -> SpecError:
    return spec_error(f"reading the spec {folder.absolute()}", folder.name, mistakes)


def _agreed(datasets: list[DatasetSpec]) -> dict[str, tuple[Keyed, str]]:
    """Entity → its key, and a dataset that says so: what most of them say, so that one folder cannot take an entity
    from several."""
    declarations: dict[str, dict[str, list[tuple[Keyed, str]]]] = {}
    for spec in datasets:
        for name, entity in spec.entities.items():
            declarations.setdefault(name, {}).setdefault(entity.described, []).append((entity, spec.name))
    return {name: max(ways.values(), key=len)[0] for name, ways in declarations.items()}


def _disagreements(spec: DatasetSpec, agreed: dict[str, tuple[Keyed, str]]) -> Iterator[Mistake]:
    """One entity has one key: all datasets share a Feast project."""
    for number, (name, entity) in enumerate(spec.entities.items()):
        way, other = agreed[name]
        if entity.described != way.described:
            where = f"entities.{name}" if not spec.of_a_model else "entity" if number == 0 else f"references.{name}"
            allowed = f"{name} by {way.described}, as in {other}"
            fix = "use the same key and type, or name the entity differently"
            yield Mistake(spec.file, where, f"{name} by {entity.described}", allowed, fix)


def _name(spec: Folder, key: str, stated: str | None) -> Iterator[Mistake]:
    folder = spec.folder.name
    if stated is not None and stated != folder:
        yield Mistake(spec.file, key, stated, f"{folder}, the folder's name", f"write {key}: {folder}")


def _data_files(spec: DatasetSpec, budget: Budget) -> Iterator[Iterator[Mistake]]:
    for view in stated_or(spec, "features", ()):
        yield _query(spec, budget, f"features.{view}", partial(spec.view_sql, view))
    for source in stated_or(spec, "sources", ()):
        yield _source_query(spec, budget, source)
    yield from _contracts(spec, budget)


def _model_files(spec: ModelSpec, budget: Budget) -> Iterator[Iterator[Mistake]]:
    if (request := stated_or(spec, "request", None)) is not None:
        yield _query(spec, budget, "request", lambda: OnRequest(spec, request).file)
    yield _query(spec, budget, "label", spec.label_sql)


def _source_query(spec: DatasetSpec, budget: Budget, source: str) -> Iterator[Mistake]:
    declared = spec.sources[source]
    if declared.connection is not None:
        check = partial(source_query.mistakes, whole=declared.whole)
        yield from _query(spec, budget, f"sources.{source}", partial(spec.source_sql, source), check)


def _query(
    spec: Folder,
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
            yield Mistake(spec.file, f"{key}.sql", f"no file {file}", "a file with one SELECT", f"add {file}")
        else:
            yield Mistake(file, "", error.found, "SQL in UTF-8", "correct the file")
    else:
        yield from check(file, query)


def _contracts(spec: DatasetSpec, budget: Budget) -> Iterator[Iterator[Mistake]]:
    for name in stated_or(spec, "sources", ()):
        yield _contract(spec, budget, name, lambda name: [*spec.sources[name].columns])
    for name in stated_or(spec, "features", ()):
        yield _contract(
            spec,
            budget,
            name,
            lambda name: [*spec.entity_of(name).columns, *spec.features[name].features, EVENT],
        )


def _contract(spec: DatasetSpec, budget: Budget, table: str, columns: Callable[[str], list[str]]) -> Iterator[Mistake]:
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
