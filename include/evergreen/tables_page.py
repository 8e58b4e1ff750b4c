"""docs/tables.md: every table that Evergreen writes, with its columns and writers, out of the
declarations that the code itself uses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from evergreen import markdown
from evergreen.lake.schema import LAYERS, Column, Layer, LayerOfOne
from evergreen.spec.columns import PARTITION

if TYPE_CHECKING:
    from evergreen.database import Table

_OPENING = """# What stands where

`evergreen tables` generates this page from the code's own declarations; a test fails when the page is old. Times are in
UTC, in microseconds.

## The lake

Delta tables, one folder per table: `<EVERGREEN_LAKE>/<model>/<layer>/<table>`. The column `partition`, the
interval's key (`2026-01-05`), divides a table into partitions. A partition is replaced whole: a reader sees all of
its old rows or all of its new ones. The catalogue (the table `partitions` in Postgres) says which partitions are
published, with which content. Every version of a table stays readable, since training sets are pinned by them.
"""


_DATABASE = """## The database

Postgres, the database `evergreen`: what must be exact, small and shared.
Its tables follow a release by numbered migrations.
"""
_MLFLOW = """## MLflow

A candidate is one run, with these files beside the fitted pipeline. Whoever reads one compares it with the digest in
the table `candidates`.
"""
_TAGS = (
    "The tags of its runs and versions are for people, and for finding a run again; nothing that is loaded is chosen by"
    " them:"
)
_HEADS = ("column", "type", "what it says")
# a field of a row, with the comment above it or behind it
_COMMENT = re.compile(r"^(?:    # (?P<above>.+)\n)?    (?P<field>\w+): .*?(?:  # (?P<behind>.+))?$", re.MULTILINE)


def page() -> str:
    """The page, in Markdown."""
    lines = [_OPENING, *(line for layer in LAYERS for line in _layer(layer)), _DATABASE]
    for table, writers in _tables():
        lines += _table(table, writers)
    return "\n".join([*lines, *_mlflow(), ""])


def _tables() -> tuple[tuple[Table[Any], str], ...]:
    """The tables of Postgres, and who writes them."""
    from evergreen.history import erasures, ledger
    from evergreen.lake import calendars, catalogue, publications
    from evergreen.monitor import kept_fits
    from evergreen.registry import records
    from evergreen.serve import idempotency, keys, predictions, replicas
    from evergreen.status import alarms
    from evergreen.train import records as training_sets
    from evergreen.validate import exemptions

    return (
        (catalogue.TABLE, "every stage that writes a partition of the lake, and `features.materialize`"),
        (publications.TABLE, "the same stages but `features.materialize`, in the same transaction"),
        (calendars.TABLE, "`ingest.extract`, before the first partition of a dataset"),
        (records.CANDIDATES, "`train.tune`, `evaluate.evaluate`, `evaluate.gates`; `evergreen registry adopt`"),
        (records.VERSIONS, "`registry.register`; `evergreen registry adopt`"),
        (training_sets.TABLE, "`train.build`; of versions of an earlier release, whoever first asks for it"),
        (predictions.TABLE, "the model server, before it answers"),
        (idempotency.TABLE, "the model server, with the predictions of the answer"),
        (replicas.REPLICAS, "each model server, every second; read by `serve.deploy` and `serve.roll_back`"),
        (replicas.LOADINGS, "the same"),
        (keys.TABLE, "`evergreen keys`; read by each model server, every second"),
        (kept_fits.TABLE, "`monitor.compare`, for the next window; `evergreen erase --apply` empties it of a model's"),
        (exemptions.TABLE, "`evergreen quarantine release`; read by `validate.validate`"),
        (alarms.TABLE, "the run that noticed it, once it has told the owner"),
        (erasures.TABLE, "`evergreen erase --apply`, which deletes it at its end"),
        (ledger.TABLE, "whoever does something in a model's life: stages, commands; rows are only ever added"),
    )


def _table(table: Table[Any], writers: str) -> Iterator[str]:
    about = {
        found["field"]: found["above"] or found["behind"] for found in _COMMENT.finditer(inspect.getsource(table.row))
    }
    yield f"### {table.name}"
    yield ""
    doc = " ".join((table.row.__doc__ or "").split())
    yield f"{doc} Key: {', '.join(f'`{name}`' for name in table.key)}. Written by {writers}."
    yield ""
    yield from markdown.table(
        _HEADS,
        (
            (f"`{column.name}`", f"{column.kind}{' or null' if column.nullable else ''}", about[column.name])
            for column in table.columns
        ),
    )
    yield ""


def _mlflow() -> Iterator[str]:
    from evergreen.registry import contents, papers
    from evergreen.registry.tags import Tag

    yield _MLFLOW
    yield from markdown.table(
        ("file", "what it holds"),
        (
            (f"`{vars(kind)['NAME']}`", " ".join((kind.__doc__ or "").split()))
            for kind in (vars(papers) | vars(contents)).values()
            if isinstance(kind, type) and isinstance(vars(kind).get("NAME"), str)
        ),
    )
    yield ""
    yield f"{_TAGS} {', '.join(f'`{tag}`' for tag in Tag)}."


def _layer(layer: Layer | LayerOfOne) -> Iterator[str]:
    named = f"one per {layer.named}" if isinstance(layer, Layer) else f"`{layer.name}`"
    yield f"### {layer.layer}"
    yield ""
    yield f"Tables: {named}. One row per {layer.row_per}. Written by {layer.writer}."
    yield ""
    declared = (
        [(layer.declared, "as declared", "what `data.yaml` or `model.yaml` says of them")] if layer.declared else []
    )
    columns = (*layer.columns, Column(PARTITION, "string", "the interval's day, such as `2026-01-05`"))
    given = [(f"`{column.name}`", column.kind, column.about) for column in columns]
    yield from markdown.table(_HEADS, [*declared, *given])
    yield ""
