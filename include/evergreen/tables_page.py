"""docs/tables.md: every table that Evergreen writes, with its columns and writers, out of the
declarations that the code itself uses."""

from __future__ import annotations

from collections.abc import Iterator

from evergreen.lake.schema import LAYERS, Column, Layer, LayerOfOne
from evergreen.spec.columns import PARTITION

_OPENING = """# What stands where

Generated from the code's own declarations by `evergreen tables`; a test fails when it drifts. Times are in UTC, in microseconds.

## The lake

Delta tables, one folder per table: `<EVERGREEN_LAKE>/<model>/<layer>/<table>`. A table is parted by `partition`, the interval's day
(`2026-01-05`); a partition is replaced whole, and a reader sees all of its old rows or all of its new ones. Which partitions are published,
with which content, stands in the catalogue: the table `partitions` in Postgres. Every version of a table stays readable, since training sets are pinned
by them.
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
