"""A query of features, label or requests: one SELECT whose result depends on its sources and parameters alone.

What such a query may do is decided here, for `evergreen check` and for each run alike, by DuckDB's own parser: no
clock, no chance, no settings, and no table but those of `sources`. So a backfill gives what the day itself would have
given, and a query reads no file.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import duckdb  # noqa: TID253 - for the deep pass and for adapters; no other module of spec imports this one

from evergreen.spec.mistakes import nearest, one_of
from evergreen.spec.rules.queries import TABLE_FUNCTIONS

_OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # with more, a float sum depends on timing, and the same inputs would not give the same bytes
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "TimeZone": "UTC",  # and not the machine's, where a query casts to a time with a zone
    "python_enable_replacements": False,  # a misspelt source must not find a Python variable
    "memory_limit": "50%",  # of the machine's or the container's
    "lock_configuration": True,
}
_CLOCKS = frozenset(
    {
        "ago",
        "current_date",
        "current_localtime",
        "current_localtimestamp",
        "current_time",
        "current_timestamp",
        "get_current_time",
        "get_current_timestamp",
        "localtime",
        "localtimestamp",
        "now",
        "today",
        "transaction_timestamp",
    }
)
# Written without parentheses, these are functions wherever no column has the name.
_KEYWORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
_MISLABELLED = frozenset({"current_localtime", "current_localtimestamp"})  # DuckDB calls them consistent
_HARMLESS = frozenset({"error"})  # volatile for the optimizer alone: it raises


@dataclass(frozen=True)
class Refusal:
    """Why a query is not run, or its result not taken."""

    found: str
    allowed: str
    fix: str
    line: int | None = None
    key: str | None = None  # of model.yaml, where the cause is declared; None: it stands in the query's file


@dataclass(frozen=True)
class Room:
    """What a query and the rows that it sees may take."""

    memory: int  # bytes
    folder: Path  # where the rest of them is put


def connected(room: Room | None = None) -> duckdb.DuckDBPyConnection:
    """A database in memory from which no file, network, extension or setting can be reached; what it has no room for
    it puts aside by itself."""
    bounds = {"memory_limit": f"{room.memory}B", "temp_directory": str(room.folder)} if room else {}
    return duckdb.connect(config=_OPTIONS | bounds)


@contextmanager
def interrupted_after(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """What runs on the connection for longer ends with duckdb.InterruptException."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def refusals(text: str, sources: Iterable[str], parameters: Iterable[str]) -> list[Refusal]:
    """All that is wrong with a query before it meets its tables; nothing of it is run.

    Raises:
        duckdb.Error: it is not SQL.
    """
    return list(_refusals(text, tuple(sources), tuple(parameters)))


def row_by_row(text: str, table: str) -> list[Refusal]:
    """All that is wrong with a SELECT that is to say of each row of a table what follows from that row alone.

    Raises:
        duckdb.Error: it is not SQL.
    """
    found = refusals(text, (table,), ())
    if not found:
        with connected() as connection:
            classes = {str(node.get("class")) for node in _nodes(_parsed(connection, text))}
        for kind in sorted(classes & {"WINDOW", "SUBQUERY"}):
            found.append(Refusal(f"a {kind.lower()}, which looks at other rows", "one row's columns", "leave it out"))
    return found


@lru_cache(maxsize=256)  # a run asks for each of a view's partitions
def _refusals(text: str, sources: Sequence[str], parameters: Sequence[str]) -> tuple[Refusal, ...]:
    with connected() as connection:
        return tuple(_looked_through(connection, text, sources, parameters))


def _looked_through(
    connection: duckdb.DuckDBPyConnection, text: str, sources: Sequence[str], parameters: Sequence[str]
) -> Iterator[Refusal]:
    statements = connection.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        yield Refusal(f"the file holds {kinds}", "one SELECT", "write one SELECT")
        return
    moments = one_of(f"${name}" for name in parameters)
    if unknown := statements[0].named_parameters - set(parameters):
        unknown_parameters = f"unknown parameters {one_of(f'${name}' for name in sorted(unknown))}"
        yield Refusal(unknown_parameters, f"one SELECT, with {moments}", f"use {moments}")
        return
    try:
        nodes = list(_nodes(_parsed(connection, text)))
    except RecursionError:
        yield Refusal("expressions nested too deep to look through", "a flatter query", "split it by WITH")
        return
    # A name that WITH gives is one everywhere here; where it is out of its scope, DuckDB finds no such table.
    named = {str(each["key"]).lower() for node in nodes if "cte_map" in node for each in node["cte_map"]["map"]}
    seen = set()
    for node in nodes:
        refusal = _refusal(node, text, sources, named, moments)
        if refusal is not None and refusal.found not in seen:
            seen.add(refusal.found)
            yield refusal


@lru_cache(maxsize=256)
def columns(text: str) -> frozenset[str] | None:
    """The columns that a query names, of whichever table, in lower case; None: all of some table (`*`)."""
    with connected() as connection:
        nodes = list(_nodes(_parsed(connection, text)))
    if any(node.get("class") == "STAR" for node in nodes):
        return None
    named = (node["column_names"][-1] for node in nodes if node.get("class") == "COLUMN_REF")
    return frozenset(str(name).lower() for name in named)


def _parsed(connection: duckdb.DuckDBPyConnection, text: str) -> Any:
    row = connection.execute("select json_serialize_sql($1::varchar)", [text]).fetchone()
    parsed = json.loads(row[0]) if row else {}
    if parsed.get("error", True):
        raise duckdb.ParserException(str(parsed.get("error_message", "it cannot be looked through")))
    return parsed["statements"]


def _nodes(parsed: Any) -> Iterator[dict[str, Any]]:
    """Every object of a parsed statement, those within others too."""
    waiting = [parsed]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _refusal(
    node: dict[str, Any], text: str, sources: Collection[str], named: Collection[str], moments: str
) -> Refusal | None:
    place, written = node.get("query_location", 0), text.encode()
    line = written[:place].count(b"\n") + 1 if place < len(written) else None
    if (name := _volatile(node)) is not None:
        call = name if node.get("class") == "COLUMN_REF" else f"{name}()"
        if name in _CLOCKS:
            fix = f"write {moments} in place of {call}"
        else:
            fix = (
                f"write age(a, b), with {moments}"
                if name == "age"
                else f"remove {call}; hash(key) is the same each time"
            )
        return Refusal(f"{call}, which is another at each run", f"what rows and {moments} determine", fix, line)
    if node.get("sample"):
        allowed = "the same rows at each run, by WHERE hash(key) % 10 = 0, for one"
        return Refusal("a sample of rows, which is another at each run", allowed, "remove the sample", line)
    match node.get("type"):
        case "SHOW_REF":
            return Refusal("DESCRIBE, SHOW or SUMMARIZE", "one SELECT", "write what it selects", line)
        case "TABLE_FUNCTION" if (called := str(node["function"]["function_name"])).lower() not in TABLE_FUNCTIONS:
            known = f"{one_of(sources)}, and {one_of(sorted(TABLE_FUNCTIONS))}"
            return Refusal(f"the table function {called}()", known, "declare what the query reads as a source", line)
        case "BASE_TABLE":
            table, path = str(node["table_name"]), node.get("qualified_name", {}).get("path", [])
            if len(path) > 1 or table.lower() not in {*sources, *named}:
                fix = nearest(table, sources, "name it under sources")
                return Refusal(f"the table {'.'.join(path) or table}", one_of(sources), fix, line)
    return None


def _volatile(node: dict[str, Any]) -> str | None:
    """The function that a node calls, if its result is not of its arguments alone."""
    if node.get("class") == "COLUMN_REF" and len(node.get("column_names", ())) == 1:
        name = str(node["column_names"][0]).lower()
        return name if name in _KEYWORDS else None
    name = str(node.get("function_name") or "").lower()
    if name == "age":
        return name if len(node.get("arguments") or node.get("children") or ()) == 1 else None
    return name if name in _volatile_functions() else None


@cache
def _volatile_functions() -> frozenset[str]:
    """The functions of this DuckDB whose result is not of their arguments alone, and the macros that call one."""
    with connected() as connection:
        functions = connection.execute(
            "select function_name, function_type, stability, macro_definition from duckdb_functions()"
        ).fetchall()
        volatile = {name for name, _, stability, _ in functions if stability not in (None, "CONSISTENT")} - _HARMLESS
        volatile |= _MISLABELLED | _CLOCKS
        calls: dict[str, set[str]] = {}
        for name, kind, _, definition in functions:
            if definition is not None:
                text = definition if kind == "table_macro" else f"select {definition}"
                calls.setdefault(name, set()).update(_called(_parsed(connection, text)))
    while more := {name for name, called in calls.items() if called & volatile} - volatile:
        volatile |= more
    return frozenset(volatile)


def _called(parsed: Any) -> Iterator[str]:
    for node in _nodes(parsed):
        if "function_name" in node:
            yield str(node["function_name"]).lower()
        elif node.get("class") == "COLUMN_REF" and node["column_names"][-1] in _KEYWORDS:
            yield node["column_names"][-1]
