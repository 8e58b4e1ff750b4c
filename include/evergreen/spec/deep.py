"""What only the real libraries can tell of a folder: what its queries return, and whether its expectations can be built."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb  # noqa: TID253 - the deep pass alone uses this; spec.load imports it inside a function

from evergreen.spec import query as queries
from evergreen.spec.asking import OnRequest
from evergreen.spec.backtracking import endless
from evergreen.spec.columns import EVENT
from evergreen.spec.contract import read_contract, refused
from evergreen.spec.files import Unreadable, text
from evergreen.spec.kinds import KINDS
from evergreen.spec.mistakes import Mistake, nearest, one_of
from evergreen.spec.rules import FILE
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pyarrow as pa

_SECONDS = 20.0  # a query over empty tables may take
_ANY_MOMENT = datetime(2026, 1, 1)


def findings(spec: ModelSpec) -> Iterator[Iterator[Mistake]]:
    """Mistakes of each query and of the contracts; one of a partial spec ends where it reads a key that is not set."""
    for view in getattr(spec, "features", ()):
        yield _view(spec, view)
    yield _request(spec)
    yield _label(spec)
    yield _expectations(spec)


def _view(spec: ModelSpec, view: str) -> Iterator[Mistake]:
    declared, entity = spec.features[view], spec.entity_of(view)
    expected = {entity.key: entity.type, **declared.features}
    yield from _query(spec, spec.view_sql(view), declared.sources, ["as_of"], expected, f"features.{view}.features")


def _request(spec: ModelSpec) -> Iterator[Mistake]:
    asking = spec.asking
    if isinstance(asking, OnRequest):
        yield from _query(
            spec,
            asking.file,
            asking.sources,
            ["start", "end"],
            asking.columns,
            "request.inputs",
            whole="request",
            outcome=False,
        )


def _label(spec: ModelSpec) -> Iterator[Mistake]:
    expected = {spec.entity.key: spec.entity.type, spec.label.name: spec.label.type}
    yield from _query(
        spec, spec.label_sql(), spec.label.sources, ["cutoff", "horizon_end"], expected, "label.name"
    )  # fmt: skip


def _query(
    spec: ModelSpec,
    path: Path,
    sources: Sequence[str],
    parameters: Sequence[str],
    expected: Mapping[str, Any],
    key: str,
    *,
    whole: str | None = None,
    outcome: bool = True,
) -> Iterator[Mistake]:
    """Mistakes of one query; without `outcome` it does not see the columns that are known only afterwards.

    Args:
        key: below which the columns are declared; `whole`: where those are that have no key of their own, by default `key`.
    """
    if not set(sources) <= spec.sources.keys():
        return  # told already
    file = spec.relative(path)
    try:
        query = text(path, spec.folder)
    except Unreadable:
        return  # told already
    seen = one_of(f"{source}({', '.join(spec.sources[source].visible(outcome=outcome))})" for source in sources)
    parts = one_of(f"${name}" for name in parameters)
    try:
        refused = queries.refusals(query, sources, parameters)
        returned = {} if refused else _returned(spec, query, sources, parameters, outcome)
    except duckdb.Error as error:
        for source in () if outcome else sources:
            for column in spec.sources[source].outcome:
                if re.search(rf"\b{column}\b", str(error).splitlines()[0]):
                    yield Mistake(
                        file, "", f"{column}, an outcome of {source}", "what is known when the prediction is asked for",
                        f"leave {column} out of {file}; features of the past may use it (features:)",
                    )  # fmt: skip
                    return
        yield Mistake(
            file, "", " ".join(str(error).split())[:400], f"one SELECT over {seen}, with {parts}", f"correct {file}"
        )
        return
    if refused:
        for refusal in refused:
            yield Mistake(file, "", refusal.found, refusal.allowed, refusal.fix, refusal.line)
        return
    for column, kind in expected.items():
        if column not in returned:
            fix = nearest(
                column, returned.keys() - expected.keys(), f"compute {column} in {file}, or do not declare it"
            )
            alone = column in (*spec.keys, EVENT, spec.label.name)
            yield Mistake(FILE, (whole or key) if alone else f"{key}.{column}",
                          f"{column}, which {file} does not return", one_of(returned), fix)  # fmt: skip
        elif not any(
            KINDS[of].returned(returned[column].arrow)
            for of in (spec.problem.made_of if kind == spec.label.type else [kind])
        ):
            yield Mistake(
                file,
                "",
                f"{column} is {returned[column].sql}",
                f"{kind}, as model.yaml declares it",
                f"cast {column} in {file}, or declare its type",
            )
    for column in returned.keys() - expected.keys():
        fix = f"declare {column} in model.yaml under {key}" if key != "label.name" else f"leave {column} out of {file}"
        yield Mistake(
            file,
            "",
            f"returns {column}, which is not declared",
            one_of(expected),
            nearest(column, expected.keys() - returned.keys(), fix),
        )


class _Returned(NamedTuple):
    """The type of a query's column."""

    sql: str  # as DuckDB calls it
    arrow: pa.DataType


def _returned(
    spec: ModelSpec, query: str, sources: Sequence[str], parameters: Sequence[str], outcome: bool
) -> dict[str, _Returned]:
    """Column → type of the query's result over empty tables of the declared types."""
    import pyarrow as pa

    with queries.connected() as connection, queries.interrupted_after(connection, _SECONDS):
        for source in sources:
            columns = spec.sources[source].visible(outcome=outcome)
            schema = pa.schema({name: KINDS[kind].queried() for name, kind in columns.items()})
            connection.register(source, schema.empty_table())
        (statement,) = connection.extract_statements(query)
        used = {name: _ANY_MOMENT for name in parameters if name in statement.named_parameters}
        result = connection.sql(statement, params=used)
        names = dict(zip(result.columns, map(str, result.types), strict=True))
        schema = result.to_arrow_table().schema
        return {name: _Returned(sql, schema.field(name).type) for name, sql in names.items()}


def _expectations(spec: ModelSpec) -> Iterator[Mistake]:
    """Expectations that Great Expectations does not know, or whose arguments it refuses."""
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # its import tells of every registered metric
    import great_expectations.expectations as registers
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    assert registers is not None  # the import fills the registry
    known: list[str] = list_registered_expectation_implementations()
    for table in (*getattr(spec, "sources", ()), *getattr(spec, "features", ())):
        path = spec.contract_file(table)
        file = spec.relative(path)
        contract, _ = read_contract(spec, table)
        for number, expectation in enumerate(contract.expectations if contract else ()):
            key = f"expectations.{number}"
            if expectation.type not in known:
                fix = nearest(expectation.type, known, "use one of its expectations: greatexpectations.io/expectations")
                yield Mistake(file, f"{key}.type", expectation.type, "an expectation of Great Expectations", fix)
                continue
            yield from _patterns(file, key, expectation.arguments)
            kind: Any = get_expectation_impl(expectation.type)
            try:
                kind(**expectation.arguments, severity=expectation.severity)
            except ValidationError as error:
                for found, allowed in refused(expectation, error.errors()):
                    yield Mistake(file, key, found, allowed, f"correct the arguments of {expectation.type}")


def _patterns(file: str, key: str, arguments: Mapping[str, Any]) -> Iterator[Mistake]:
    """Regular expressions that are none, or that a cell of upstream's can make run without end."""
    for name in ("regex", "regex_list"):
        stated = arguments.get(name, [])
        for pattern in stated if isinstance(stated, list) else [stated]:
            try:
                if isinstance(pattern, str) and endless(pattern):
                    allowed = "a pattern that no text keeps busy: no repeat within a repeat of the same"
                    yield Mistake(file, f"{key}.{name}", pattern, allowed, "write (a+)+ as a+, for one")
            except re.error as error:
                yield Mistake(
                    file, f"{key}.{name}", f"{pattern}: {error}", "a regular expression of Python", "correct it"
                )
