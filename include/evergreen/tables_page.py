"""docs/tables.md: every table that Evergreen writes, with its columns and writers, out of the
declarations that the code itself uses."""

from __future__ import annotations

from collections.abc import Iterator

from evergreen.lake.schema import LAYERS, Column, Layer, LayerOfOne
from evergreen.spec.columns import PARTITION

_OPENING = """# What stands where

`evergreen tables` generates this page from the code's own declarations; a test fails when it drifts. Times are in UTC, in
microseconds.

## The lake

Delta tables, one folder per table: `<EVERGREEN_LAKE>/<model>/<layer>/<table>`. The column `partition`, the interval's day
(`2026-01-05`), divides a table into partitions. A partition is replaced whole: a reader sees all of its old rows or all of
its new ones. The catalogue (the table `partitions` in Postgres) says which partitions are published, with which content.
Every version of a table stays readable, since training sets are pinned by them.
"""


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([_OPENING, *(line for layer in LAYERS for line in _layer(layer))])


def _layer(layer: Layer | LayerOfOne) -> Iterator[str]:
    named = f"one per {layer.named}" if isinstance(layer, Layer) else f"`{layer.name}`"
    yield f"### {layer.layer}"
    yield ""
    yield f"Tables: {named}. One row per {layer.row_per}. Written by {layer.writer}."
    yield ""
    yield "| column | type | what it says |"
    yield "|---|---|---|"
    if layer.declared:
        yield f"| {layer.declared} | as declared | |"
    partition = Column(PARTITION, "string", "the day")
    for column in (*layer.columns, partition):
        yield f"| `{column.name}` | {column.kind} | {column.about} |"
    yield ""
