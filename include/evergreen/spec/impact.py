"""What a change of a dataset means to the models that use it: which break, and why; and what each misses when a batch
is broken. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from evergreen.spec.asking import OnRequest
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

Reads = Callable[[str, str, str], bool]  # whether a query (`label`, `request`) reads a column of a source


@dataclass(frozen=True)
class Change:
    """Something that a dataset no longer has as it was."""

    table: str  # the source or view
    column: str | None  # of it, or the feature; None: the whole table
    words: str


def changes(old: DatasetSpec, new: DatasetSpec) -> Iterator[Change]:
    """What is gone or of another type since; what was added breaks nobody."""
    for source, declared in old.sources.items():
        now = new.sources.get(source)
        if now is None:
            yield Change(source, None, f"the source {source} is gone")
        else:
            yield from _columns(source, "column", declared.types, now.types)
    for view, features in old.features.items():
        new_view = new.features.get(view)
        if new_view is None:
            yield Change(view, None, f"the view {view} is gone")
            continue
        was, becomes = old.entity_of(view), new.entity_of(view)
        if [*was.columns.items()] != [*becomes.columns.items()]:
            words = f"the view {view} is about {becomes.described}, and was about {was.described}"
            yield Change(view, None, words)
        yield from _columns(view, "feature", features.features, new_view.features)


def _columns(table: str, kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name, was in old.items():
        if name not in new:
            yield Change(table, name, f"the {kind} {name} of {table} is gone")
        elif new[name] != was:
            yield Change(table, name, f"the {kind} {name} of {table} becomes {new[name]}, and was {was}")


def broken(model: ModelSpec, dataset: str, changed: Iterable[Change], reads: Reads) -> Iterator[str]:
    """Why a model, as it was before, breaks by the changes of a dataset; empty: it does not."""
    if dataset not in model.datasets:
        return
    queries = {"label": model.label.sources, "request": model.asking.sources}
    for change in changed:
        if change.table in model.features and model.dataset_of(change.table) == dataset:
            used = model.features[change.table].features
            if change.column is None or change.column in used:
                yield f"{change.words}: the model learns from {change.column or ', '.join(used)}"
        for query, sources in queries.items():
            concerns = change.table in sources and model.dataset_of(change.table) == dataset
            if concerns and (change.column is None or reads(query, change.table, change.column)):
                yield f"{change.words}: {file_of(model, query)} reads it"


def file_of(model: ModelSpec, query: str) -> str:
    """How messages name a query of a model."""
    if query == "request" and isinstance(model.asking, OnRequest):
        return model.relative(model.asking.file)
    return model.relative(model.label_sql())


def missed(model: ModelSpec, dataset: str) -> str:
    """What a model has of a dataset, and misses while its batches are broken."""
    views = [view for view in model.features if model.dataset_of(view) == dataset]
    read = dict.fromkeys((*model.label.sources, *model.asking.sources))
    rows = [source for source in read if model.dataset_of(source) == dataset]
    parts = [f"the features of {', '.join(views)}"] if views else []
    parts += [f"the rows of {', '.join(rows)} for its label{' and requests' if model.request else ''}"] if rows else []
    return f"the model {model.name} misses {' and '.join(parts)}"
