"""What only the real libraries can tell of a folder: what its queries return, and which expectations exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from evergreen.spec.contract import load_contract
from evergreen.spec.mistakes import Mistake, nearest, one_of
from evergreen.spec.schema import ModelSpec

_TYPES = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
}


def mistakes(spec: ModelSpec) -> Iterator[Mistake]:
    """Mistakes of the queries and contracts of a spec whose files are all there."""
    key = spec.entity.key
    for view, declared in spec.features.items():
        yield from _query_mistakes(
            spec, spec.view_sql(view), declared.sources, ["as_of"], {key, *declared.features}, f"features.{view}"
        )
    yield from _query_mistakes(
        spec, spec.label_sql(), spec.label.sources, ["cutoff", "horizon_end"], {key, spec.label.name}, "label"
    )
    known = _expectation_types()
    for table in (*spec.sources, *spec.features):
        path = spec.contract_file(table)
        for number, expectation in enumerate(load_contract(path).expectations):
            if expectation.type not in known:
                allowed = "an expectation of Great Expectations, in snake case"
                yield Mistake(
                    str(path.relative_to(spec.folder)),
                    f"expectations.{number}.type",
                    expectation.type,
                    allowed,
                    nearest(expectation.type, known),
                )


def _query_mistakes(
    spec: ModelSpec, file: Path, sources: Sequence[str], parameters: Sequence[str], expected: set[str], key: str
) -> Iterator[Mistake]:
    name = str(file.relative_to(spec.folder))
    try:
        returned = _columns(spec, file.read_text(encoding="utf-8"), sources, parameters)
    except (duckdb.Error, UnicodeDecodeError) as error:
        seen = one_of(f"{source}({', '.join(spec.sources[source].columns)})" for source in sources)
        yield Mistake(name, "", " ".join(str(error).split())[:300], f"one SELECT over {seen}", f"correct {name}")
        return
    for column in sorted(expected - returned.keys()):
        yield Mistake(
            "model.yaml",
            key,
            f"{column}, which {name} does not return",
            one_of(sorted(returned)),
            f"return {column} from {name}, or do not declare it",
        )
    for column in sorted(returned.keys() - expected):
        yield Mistake(
            name,
            "",
            f"returns {column}",
            one_of(sorted(expected)),
            f"declare {column} in model.yaml under {key}, or leave it out of the query",
        )


def _columns(spec: ModelSpec, query: str, sources: Sequence[str], parameters: Sequence[str]) -> Mapping[str, str]:
    """The columns that a query would return, asked of empty tables of the declared types."""
    with duckdb.connect(config={"enable_external_access": False, "autoinstall_known_extensions": False}) as connection:
        for source in sources:
            columns = ", ".join(f'"{name}" {_TYPES[kind]}' for name, kind in spec.sources[source].columns.items())
            connection.execute(f'create table "{source}" ({columns})')
        statements = connection.extract_statements(query)
        if len(statements) != 1:
            raise duckdb.ParserException(f"{len(statements)} statements")
        for name in parameters:  # `describe` takes no parameters
            query = query.replace(f"${name}", "TIMESTAMP '2026-01-01'")
        found = connection.execute(f"describe {query.rstrip().rstrip(';')}").fetchall()
    return {row[0]: row[1] for row in found}


def _expectation_types() -> set[str]:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    assert gxe is not None  # its import registers them
    return set(list_registered_expectation_implementations())
