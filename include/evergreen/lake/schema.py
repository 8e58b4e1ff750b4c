"""The lake's tables: which layers there are, how their tables are named, who writes them,
and the columns that Evergreen gives them.

Whoever reads or writes a table takes its `TableId` from its layer: `tables.read(RAW.of(dataset, "departures"))`. What
the spec declares of a table's columns stands in the spec; docs/tables.md is made of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evergreen.spec.columns import (
    AS_OF,
    BATCH_DIGEST,
    EVENT,
    FEATURES_AT,
    KNOWN_AT,
    LOGGED_AT,
    PREDICTION,
    PROBABILITIES,
    REQUEST_ID,
    VERSION,
)
from evergreen.spec.kinds import KINDS, ColumnType

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableId:
    """Which table: `<dataset>/<layer>/<name>`, or `<model>/…` where it is a model's own."""

    of: str  # the dataset or the model
    layer: str
    name: str

    def seen_from(self, model: str) -> str:
        """How a model's records name it: `<layer>/<name>` where it is of that name, else with its dataset."""
        return f"{self.layer}/{self.name}" if self.of == model else str(self)

    def at(self, partition: str) -> Partition:
        """One of its partitions."""
        return Partition(self, partition)

    @classmethod
    def parse(cls, text: str) -> TableId:
        """Of its text, as `str` writes it."""
        of, layer, name = text.split("/")
        return cls(of, layer, name)

    def __str__(self) -> str:
        return f"{self.of}/{self.layer}/{self.name}"


@dataclass(frozen=True)
class Partition:
    """Which partition of which table."""

    table: TableId
    key: str  # 2026-01-05

    def __str__(self) -> str:
        return f"{self.table}/{self.key}"


@dataclass(frozen=True)
class Column:
    """A column that Evergreen gives to every table of a layer."""

    name: str
    kind: ColumnType
    about: str


@dataclass(frozen=True)
class _Described:
    layer: str
    row_per: str  # what there is one row for
    writer: str  # the stage
    declared: str  # the columns that the spec declares
    columns: tuple[Column, ...]  # and those that every table of the layer has

    @property
    def arrow(self) -> Mapping[str, pa.DataType]:
        """The Arrow types of the columns that every table has, but for its partition."""
        return {column.name: KINDS[column.kind].stored() for column in self.columns}


@dataclass(frozen=True)
class Layer(_Described):
    """A layer with a table per something that a dataset or a model names."""

    named: str  # what

    def of(self, whose: str, name: str) -> TableId:
        """One of its tables, of a dataset or model."""
        return TableId(whose, self.layer, name)


@dataclass(frozen=True)
class LayerOfOne(_Described):
    """A layer with one table per model."""

    name: str

    def of(self, model: str) -> TableId:
        """Its table."""
        return TableId(model, self.layer, self.name)


_KNOWN = Column(KNOWN_AT, "timestamp", "when the row became available: the end of the interval whose batch brought it")

RAW = Layer(
    "raw",
    "row of the interval's batch that met the source's contract",
    "`ingest.publish`",
    "the source's columns",
    (_KNOWN,),
    named="source",
)
UNPARSED = Column(
    "_unparsed", "string", "`column=value; …`: the cells that did not fit their declared type, which are null"
)
ROW = Column("_row", "int", "the row's place, from 0: in the batch, over all its files; in a history, in the file")
PLACE = Column(
    "_place",
    "string",
    "where a row with such a cell stands: `line 7`, `part-2.csv, line 7`, of Parquet and queries `row 5`",
)
REASONS = Column("_reasons", "string", "`reason; …`: why the row was rejected")
BATCH = Column(BATCH_DIGEST, "string", "digest of the batch that brought it")
QUARANTINE = Layer(
    "quarantine",
    "row of the interval's batch that the contract rejected; there is no table until one is",
    "`ingest.publish`",
    "the source's columns",
    (UNPARSED, ROW, PLACE, REASONS, BATCH, _KNOWN),
    named="source",
)
FEATURES = Layer(
    "features",
    "entity: its features at the interval's end",
    "`features.publish`",
    "the entity's key and the view's features",
    (
        Column(EVENT, "timestamp", "the interval's end: the moment for which the features were computed"),
        Column(KNOWN_AT, "timestamp", "the same moment: nothing that was known later went into them"),
    ),
    named="feature view",
)
LABELS = Layer(
    "labels",
    "outcome that has matured; with `label.known` per prediction, of which the open ones have no label",
    "`labels.labels`",
    "the entity's key, the request's inputs (of a model that is asked on request) and the label",
    (
        Column(
            EVENT, "timestamp", "the cutoff: the moment at which the prediction would have been made, or was asked for"
        ),
        Column(
            KNOWN_AT,
            "timestamp",
            "when the outcome became known; nothing may learn from it or be scored on it before; null: it is open",
        ),
    ),
    named="label",
)
PREDICTIONS = LayerOfOne(
    "predictions",
    "prediction that the server answered in the interval, with the features that it was made from",
    "`monitor.collect`",
    "the entity's key, and the features as the model took them: numbers as floats, categories as text",
    (
        Column(REQUEST_ID, "string", "id of the request, which its answer has too"),
        Column(VERSION, "int", "number of the version that answered"),
        Column(AS_OF, "timestamp", "the moment of the prediction"),
        Column(
            FEATURES_AT, "timestamp", f"`{EVENT}` of the newest features that it was made from; null: there were none"
        ),
        Column(
            PREDICTION,
            "float",
            "P(1), from 0 to 1, of a `binary` label; the number, in the label's unit, of a `numeric` one; null of a"
            " `multiclass` one",
        ),
        Column(
            PROBABILITIES,
            "string",
            "JSON of a `multiclass` label: class → its probability, from 0 to 1; null of any other label",
        ),
        Column(
            LOGGED_AT,
            "timestamp",
            "when the server logged it, by the database's clock; null: an earlier release collected it",
        ),
        Column(KNOWN_AT, "timestamp", "the end of the interval that collected it"),
    ),
    name="live",
)
WINDOWS = LayerOfOne(
    "windows",
    "interval of predictions whose labels have matured: what the champion lost on it, and what fresh fits of its recipe"
    " would have; a partition is a month of such intervals",
    "`monitor.compare`",
    "none",
    (
        Column("window", "timestamp", "the interval's start"),
        Column(VERSION, "int", "number of the champion"),
        Column("rows", "int", "its predictions whose outcome is known; 0: none, and no losses"),
        Column(
            "usual", "float", "mean rows of an interval of those that the understudy learned from; null: no understudy"
        ),
        Column(
            "champion", "float", "mean loss of the champion: log loss of classes, squared or absolute error of numbers"
        ),
        Column(
            "understudy",
            "float",
            "mean loss, on the same rows, of the champion's recipe fitted on what was mature as the interval began;"
            " null: too few rows to fit it",
        ),
        Column("earlier", "float", "the same of the understudy one refit before; null: there was none"),
        Column(
            "replaced",
            "float",
            "mean loss, on the same rows, of the version that the champion replaced; null: there was none, or it cannot"
            " be asked any more",
        ),
        Column(
            "apart",
            "int",
            "intervals between the newest that the champion learned from and the newest that the understudy did",
        ),
        Column("made_from", "string", "digest of the predictions, labels and features that it was made from"),
        Column(KNOWN_AT, "timestamp", "when its labels were mature"),
    ),
    name="compared",
)
LAYERS: tuple[Layer | LayerOfOne, ...] = (RAW, QUARANTINE, FEATURES, LABELS, PREDICTIONS, WINDOWS)


ONLINE = "online"


def online(view: TableId) -> TableId:
    """The catalogue's entries that say which content of a feature view the online store has; no table of the lake."""
    return TableId(view.of, ONLINE, view.name)
