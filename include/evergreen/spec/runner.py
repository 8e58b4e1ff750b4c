"""The one runner of a model's queries: over the rows that a run has read, and over
empty tables when `evergreen check` looks.

A query sees one table per source that it declares, named like it, with the declared columns. The table holds each key
once, in the newest version known when the span is over, and of those the rows whose event time lies in the span. Times
are UTC, without a zone. Nothing else is in reach (`spec.query`): no file, no network, no extension, no clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb  # noqa: TID253 - running a query is what this is for; the deep pass alone imports it, inside a function
import pyarrow as pa  # noqa: TID253 - as above
import pyarrow.compute as pc  # noqa: TID253 - as above

from evergreen.quoting import listed
from evergreen.spec import visible
from evergreen.spec.asking import OnRequest
from evergreen.spec.columns import KNOWN_AT
from evergreen.spec.dataset import DatasetSpec, Source
from evergreen.spec.keyed import keys_of
from evergreen.spec.kinds import KINDS, KindName
from evergreen.spec.mistakes import nearest, one_of
from evergreen.spec.query import Refusal, connected, interrupted_after, refusals
from evergreen.spec.schema import ModelSpec
from evergreen.sql import quoted

# While a source is read: its rows, all versions of them, and the hashes of keys that may have several.
_VERSIONS, _PIECE, _SEVERAL = "__versions", "__piece", "__several"


class QueryRefused(Exception):
    """A query does not do what is declared; `refusals` say all that is wrong."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__("; ".join(refusal.found for refusal in refusals))
        self.refusals = refusals


@dataclass(frozen=True)
class Column:
    """A column that a query must return."""

    declared: str  # its type, as the folder's file says it
    place: str  # where that file declares it
    kinds: tuple[KindName, ...]  # the result's type may become one of these
    stored: KindName

    @classmethod
    def of(cls, kind: KindName, place: str) -> Column:
        """A column of a declared type."""
        return cls(kind, place, (kind,), kind)


@dataclass(frozen=True)
class Query:
    """A query of a dataset or a model: what it reads, and what it must return."""

    spec: ModelSpec | DatasetSpec  # whose folder it stands in
    file: Path
    sources: tuple[str, ...]
    parameters: tuple[str, ...]
    keys: tuple[str, ...]  # the columns that identify a row of the result
    columns: Mapping[str, Column]  # of the result, in order
    place: str | None  # where the folder's file takes further columns of the result; None: nowhere
    outcome: bool = True  # whether it sees the columns that are known only afterwards
    # an outcome with a moment of its own as it first became known, and that moment as the first at which we knew it
    as_decided: bool = False

    @classmethod
    def of_view(cls, spec: DatasetSpec, view: str) -> Query:
        """The query of a feature view."""
        declared, entity, place = spec.features[view], spec.entity_of(view), f"features.{view}.features"
        columns = {name: Column.of(kind, place) for name, kind in entity.columns.items()} | {
            name: Column.of(kind, f"{place}.{name}") for name, kind in declared.features.items()
        }
        return cls(spec, spec.view_sql(view), declared.sources, ("as_of",), (*entity.columns,), columns, place)

    @classmethod
    def of_label(cls, spec: ModelSpec) -> Query:
        """The query of the label."""
        label, entity, place = spec.label, spec.entity, "label.name"
        columns = {
            **{name: Column.of(kind, place) for name, kind in entity.columns.items()},
            label.name: Column(label.type, place, spec.problem.made_of, spec.problem.stored),
            **({} if label.weight is None else {label.weight: Column.of("float", "label.weight")}),
        }
        if label.known is not None:
            columns[label.known.column] = Column.of("timestamp", "label.known.column")
        keys, parameters = (*entity.columns,), ("cutoff", "horizon_end")
        as_decided = label.known is not None
        return cls(spec, spec.label_sql(), label.sources, parameters, keys, columns, None, as_decided=as_decided)

    @classmethod
    def of_requests(cls, asking: OnRequest) -> Query:
        """The query that replays requests."""
        place = "request.inputs"
        columns = {
            name: Column.of(kind, f"{place}.{name}" if name in asking.inputs else "request")
            for name, kind in asking.columns.items()
        }
        keys = (*asking.spec.entity.columns,)
        return cls(asking.spec, asking.file, asking.sources, ("start", "end"), keys, columns, place, outcome=False)

    @property
    def name(self) -> str:
        """How messages name its file."""
        return self.spec.relative(self.file)

    def visible(self, source: str) -> Mapping[str, KindName]:
        """The columns of a source that it sees, with their types."""
        return {**self.spec.sources[source].visible(outcome=self.outcome)}


def schema(source: Source) -> pa.Schema:
    """The columns of a source's raw rows, as they are given to a query: times have no zone."""
    columns = {name: KINDS[kind].queried() for name, kind in source.types.items()}
    return pa.schema(columns | {KNOWN_AT: KINDS["timestamp"].queried()})


@dataclass
class Tables:
    """The newest known rows of a query's sources, as tables of a connection."""

    query: Query
    _connection: duckdb.DuckDBPyConnection

    def cut(self, source: str, moment: datetime) -> None:
        """Leave out the rows of a source from after a moment."""
        spec, at = self.query.spec, f"timestamp '{_naive(moment).isoformat()}'"
        columns, which = visible.until(spec, spec.sources[source], at)
        self.show(source, columns, f"where {which}")

    def show(self, source: str, columns: str = "*", which: str = "") -> None:
        """Let the query see a source's rows, or some of them."""
        self._connection.execute(
            f"create or replace temp view {quoted(source)} as select {columns} from {quoted('_' + source)} {which}"
        )

    def open_outcomes(self, until: datetime) -> bool:
        """Whether there are rows whose outcomes are not known at a moment."""
        return any(
            self._connection.sql(f"select 1 from {quoted('_' + source)} where not ({known}) limit 1").fetchall()
            for source in self.query.sources
            for _, known in self._outcomes(source, until)
        )

    def settle(self, value: Literal["min", "max"], until: datetime) -> None:
        """Let the query see, in place of each outcome that is not known at a moment, the least or the greatest one that
        is; of bool, false or true."""
        for source in self.query.sources:
            declared, kinds, known_rows = (
                self.query.spec.sources[source],
                self.query.visible(source),
                quoted(f"_{source}"),
            )
            settled = [  # as if it became known just then: what comes after the span is no reason to change either
                f"case when {quoted(moment)} is not null then {quoted(moment)} else"
                f" timestamp '{_naive(until + datetime.resolution).isoformat()}' end as {quoted(moment)}"
                for moment in declared.moments
                if moment != declared.event_time
            ] + [
                f"case when {known} then {quoted(name)} else "
                + (
                    str(value == "max")
                    if kinds[name] == "bool"
                    else f"(select {value}({quoted(name)}) from {known_rows})"
                )
                + f" end as {quoted(name)}"
                for name, known in self._outcomes(source, until)
            ]
            if settled:
                self._connection.execute(
                    f"create or replace temp view {quoted(source)} as"
                    f" select * replace ({', '.join(settled)}) from {known_rows}"
                )

    def _outcomes(self, source: str, until: datetime) -> list[tuple[str, str]]:
        """The outcomes of a source that the query sees, each with the condition that it is known at a moment."""
        declared, at = self.query.spec.sources[source], f"timestamp '{_naive(until).isoformat()}'"
        # A moment of its own is null in these rows until it is known.
        return [
            (column, f"{quoted(own)} is not null" if isinstance(own, str) else visible.is_known(declared, column, at))
            for column, own in declared.outcome.items()
            if column in self.query.visible(source)
        ]

    def run(self, text: str, parameters: Mapping[str, datetime], *, seconds: float) -> pa.Table:
        """The rows that the query returns: the declared columns in their order and types, sorted by key.

        Args:
            text: what the query's file says.
            parameters: its moments, by name.
            seconds: after so long it is stopped.

        Raises:
            QueryRefused: it is not allowed, fails or lasts too long; it returns other columns than declared, a value
                that does not fit its type, or a key that is null or repeated.
        """
        try:
            if refused := refusals(text, self.query.sources, self.query.parameters):
                raise QueryRefused(refused)
            (statement,) = self._connection.extract_statements(text)
            used = {name: _naive(moment) for name, moment in parameters.items() if name in statement.named_parameters}
            with interrupted_after(self._connection, seconds):
                result = self._connection.sql(statement, params=used)
                types = [(name, str(kind)) for name, kind in zip(result.columns, result.types, strict=True)]
                rows = result.to_arrow_table()
        except duckdb.InterruptException as error:
            lasted = f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
            refusal = Refusal(f"no result after {lasted}", "a query that ends sooner", f"make {self.query.name} faster")
            raise QueryRefused([refusal]) from error
        except duckdb.OutOfMemoryException as error:
            fix = f"make {self.query.name} hold less, or set EVERGREEN_QUERY_MEMORY_MB higher"
            refusal = Refusal("no result within the memory that it may take", "a query that holds less at a time", fix)
            raise QueryRefused([refusal]) from error
        except duckdb.Error as error:
            raise QueryRefused([self._failure(error)]) from error
        return self._typed(rows, types)

    def _failure(self, error: duckdb.Error) -> Refusal:
        """An error of DuckDB's; a column that the query must not see is named as one."""
        query = self.query
        text = str(error)
        for source in () if query.outcome else query.sources:
            declared = query.spec.sources[source]
            for column in (*declared.outcome, *declared.moments):
                if re.search(rf"\b{column}\b", text.splitlines()[0]):
                    return Refusal(
                        f"{column}, an outcome of {source}",
                        "what is known when the prediction is asked for",
                        f"leave {column} out of {query.name}; features of the past may use it (features:)",
                    )
        tables = one_of(f"{source}({', '.join(query.visible(source))})" for source in query.sources)
        moments = one_of(f"${name}" for name in query.parameters)
        return Refusal(
            " ".join(text.split())[:400], f"one SELECT over {tables}, with {moments}", f"correct {query.name}"
        )

    def _typed(self, rows: pa.Table, types: Sequence[tuple[str, str]]) -> pa.Table:
        if refusals := [*self._other_columns([name for name, _ in types]), *self._other_types(rows, dict(types))]:
            raise QueryRefused(refusals)
        columns = {}
        for name, column in self.query.columns.items():
            try:
                columns[name] = KINDS[column.stored].of_result(rows[name])
            except pa.ArrowInvalid as error:
                raise QueryRefused([self._other_type(name, f"{dict(types)[name]}: {error}")]) from error
        keys = [*self.query.keys]
        typed = pa.table(columns).sort_by([(name, "ascending") for name in keys])
        for name in keys:
            if typed[name].null_count:
                keyless = f"{typed[name].null_count} rows without `{name}`"
                raise QueryRefused([Refusal(keyless, "a key in every row", f"correct {self.query.name}")])
        counts = typed.select(keys).group_by(keys).aggregate([([], "count_all")])
        if repeated := [*keys_of(keys, counts.filter(pc.greater(counts["count_all"], 1)))]:
            named = ", ".join(keys)
            repeats = f"{len(repeated)} values of `{named}` more than once: {listed(repeated)}"
            raise QueryRefused([Refusal(repeats, f"one row per `{named}`", f"correct {self.query.name}")])
        return typed

    def _other_columns(self, returned: Sequence[str]) -> Iterator[Refusal]:
        """Columns that are missing, not declared, or returned more than once."""
        query, declared = self.query, self.query.columns
        for name in (name for name in declared if name not in returned):
            fix = f"compute {name} in {query.name}, or do not declare it"
            yield Refusal(
                f"{name}, which {query.name} does not return",
                one_of(returned),
                nearest(name, set(returned) - declared.keys(), fix),
                key=declared[name].place,
            )
        for name, times in Counter(returned).items():
            if name not in declared:
                fix = f"declare {name} in {query.spec.file} under {query.place}"
                fix = f"leave {name} out of {query.name}" if query.place is None else fix
                fix = nearest(name, declared.keys() - set(returned), fix)
                yield Refusal(f"returns {name}, which is not declared", one_of(declared), fix)
            elif times > 1:
                yield Refusal(f"returns {name} {times} times", "each column once", f"leave one {name} out")

    def _other_types(self, rows: pa.Table, types: Mapping[str, str]) -> Iterator[Refusal]:
        """Columns of a type that cannot become the declared one."""
        for name, column in self.query.columns.items():
            if name in types and rows.column_names.count(name) == 1:
                returned = rows.schema.field(name).type
                if not any(KINDS[kind].returned(returned) for kind in column.kinds):
                    yield self._other_type(name, types[name])

    def _other_type(self, name: str, found: str) -> Refusal:
        allowed = f"{self.query.columns[name].declared}, as {self.query.spec.file} declares it"
        return Refusal(f"{name} is {found}", allowed, f"cast {name} in {self.query.name}, or declare its type")


@contextmanager
def opened(
    query: Query,
    rows: Callable[[str], Iterable[pa.Table]],
    start: datetime,
    end: datetime,
    known_at: datetime,
    database: AbstractContextManager[duckdb.DuckDBPyConnection] | None = None,
) -> Iterator[Tables]:
    """The tables that a query sees of a span of time.

    Args:
        rows: the raw rows of a source, all versions of them, in one piece or several with the columns of its `schema`;
            one piece is held at a time.
        start: the first event time that is seen.
        end: the first that is not.
        known_at: the newest `known_at` that is.
        database: an empty one, as `spec.query.connected` opens it; by default a new one, of no bounds.
    """
    bounds = {"start": _naive(start), "stop": _naive(end), "known": _naive(known_at)}
    with connected() if database is None else database as connection:
        tables = Tables(query, connection)
        for source in query.sources:
            declared = query.spec.sources[source]
            _take(connection, schema(declared), rows(source))
            if declared.whole:
                shown = visible.whole(declared, _VERSIONS)
                stop = {"stop": bounds["stop"]} if declared.valid_from else {}
                connection.execute(f"create temp table {quoted('_' + source)} as {shown}", stop)
                connection.execute(f"drop table {_VERSIONS}")
                tables.show(source)
                continue
            keys, span = ", ".join(map(quoted, declared.keys)), visible.within(query.spec, declared)
            unidentified = " or ".join(f"{quoted(key)} is null" for key in declared.keys)
            names = [*query.visible(source)]
            columns = ", ".join(visible.known(declared, name, query.as_decided) for name in names)
            columns += f", {KNOWN_AT}" if query.as_decided else ""
            of_row = f"{keys}, case when {unidentified} then rowid end"
            decided = visible.decided(declared, of_row) if query.as_decided else ""
            several = "true" if decided else _several(connection, keys, bounds["known"])
            # The newest known version of a key counts even where it moved the event out of the span: so rank first.
            # A row without a complete key is the version of no other, as for quarantine. Then in an order of their
            # own: a float sum depends on it, and the order of the files on which day was ingested first. It is that by
            # all columns, for which those up to the key's last one are enough where every row has a complete key.
            order = _order(connection, declared.keys, names, unidentified)
            connection.execute(
                f"create temp table {quoted('_' + source)} as select {columns} from ("
                f" select *, row_number() over (partition by {keys} order by {KNOWN_AT} desc) as _rank{decided}"
                f" from {_VERSIONS} where {KNOWN_AT} <= $known and {several}"
                f" union all by name select * from {_VERSIONS} where {KNOWN_AT} <= $known and not {several}"
                f") where (coalesce(_rank, 1) = 1 or {unidentified}) and {span}"
                f" order by {order}",
                bounds,
            )
            connection.execute(f"drop table {_VERSIONS}; drop table if exists {_SEVERAL}")
            tables.show(source)
        yield tables


def _take(connection: duckdb.DuckDBPyConnection, columns: pa.Schema, rows: Iterable[pa.Table]) -> None:
    """Take raw rows over into a table of the connection, which has room on the disk for them."""
    connection.register(_PIECE, columns.empty_table())
    connection.execute(f"create temp table {_VERSIONS} as select * from {_PIECE}")
    for piece in rows:
        connection.register(_PIECE, piece)
        connection.execute(f"insert into {_VERSIONS} select * from {_PIECE}")
    connection.unregister(_PIECE)


def _several(connection: duckdb.DuckDBPyConnection, keys: str, known: datetime) -> str:
    """The condition that a row's key may have several versions. They are found by their hashes: to rank all rows takes
    as long as to sort them, and most keys have one. Where more than a tenth has several, all are ranked."""
    connection.execute(
        f"create temp table {_SEVERAL} as select hash({keys}) as it from {_VERSIONS} where {KNOWN_AT} <= $known"
        " group by it having count(*) > 1",
        {"known": known},
    )
    counted = f"select (select count(*) from {_SEVERAL}), count(*) from {_VERSIONS}"
    [(several, rows)] = connection.execute(counted).fetchall()
    if several * 10 > rows or not several:
        return "true" if several else "false"
    return f"hash({keys}) in (select it from {_SEVERAL})"


def _order(connection: duckdb.DuckDBPyConnection, keys: Sequence[str], shown: Sequence[str], unidentified: str) -> str:
    """The columns to order rows by, so that they stand as by all of them."""
    without = connection.execute(f"select 1 from {_VERSIONS} where {unidentified} limit 1").fetchall()
    if without or not {*keys} <= {*shown}:
        return "all"
    return ", ".join(map(quoted, shown[: 1 + max(map(shown.index, keys))]))


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
