"""What only the real libraries can tell of a folder: what its queries return, and
whether its expectations can be built."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from evergreen.spec.asking import OnRequest
from evergreen.spec.backtracking import endless
from evergreen.spec.contract import read_contract, refused
from evergreen.spec.dataset import DatasetSpec, Source
from evergreen.spec.files import Unreadable, text
from evergreen.spec.mistakes import Mistake, nearest
from evergreen.spec.partial import stated_or
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from evergreen.spec.runner import Query

_SECONDS = 20.0  # a query over empty tables may take
_ANY_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_ANY_MOMENTS = (_ANY_MOMENT,) * 3  # from, to, and known at


def of_dataset(spec: DatasetSpec) -> Iterator[Iterator[Mistake]]:
    """Mistakes of the queries of views and of the contracts; one of a partial spec ends where it reads a key that is
    not set."""
    from evergreen.spec.runner import Query

    for view in stated_or(spec, "features", ()):
        yield _query(partial(Query.of_view, spec, view))
    yield _expectations(spec)


def of_model(spec: ModelSpec) -> Iterator[Iterator[Mistake]]:
    """Mistakes of the queries of requests and label, as `of_dataset` tells them."""
    from evergreen.spec.runner import Query

    if (request := stated_or(spec, "request", None)) is not None:
        yield _query(partial(Query.of_requests, OnRequest(spec, request)))
    yield _query(partial(Query.of_label, spec))
    yield _expressions(spec)


def _expressions(spec: ModelSpec) -> Iterator[Mistake]:
    """Mistakes of the gates' expressions: what each says of no rows."""
    baseline, named = stated_or(spec.gates, "baseline", None), list(_named(spec))
    if baseline is None and not named:
        return
    from evergreen.spec import expression
    from evergreen.spec.runner import QueryRefused

    rows = expression.empty(spec)
    asked = [] if baseline is None else [partial(expression.baseline, spec, baseline, rows, seconds=_SECONDS)]
    asked += [partial(expression.values, spec, text, rows, seconds=_SECONDS, key=key) for key, text in named]
    for ask in asked:
        try:
            ask()
        except QueryRefused as error:
            for refusal in error.refusals:
                yield Mistake(spec.file, refusal.key or "", refusal.found, refusal.allowed, refusal.fix)


def _named(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Every expression that the gates are looked at by, with the key that it stands at."""
    for key in ("slices", "fairness"):
        if (section := stated_or(spec.gates, key, None)) is not None:
            yield from ((f"gates.{key}.by", text) for text in stated_or(section, "by", ()))
    for number, test in enumerate(stated_or(spec.gates, "behaviour", ())):
        place = f"gates.behaviour[{number}]"
        yield from ((f"{place}.change.{name}", text) for name, text in stated_or(test, "change", {}).items())
        if (where := stated_or(test, "where", None)) is not None:
            yield f"{place}.where", where


def reads(spec: ModelSpec, query: str, source: str, column: str) -> bool:
    """Whether a model's query (`label`, `request`) reads a column of a source: whether it fails without it."""
    from evergreen.spec.runner import Query, QueryRefused, opened

    asking = spec.asking
    declared = (
        Query.of_requests(asking) if query == "request" and isinstance(asking, OnRequest) else Query.of_label(spec)
    )
    if column in _told_apart_by(spec.sources[source]):
        return True  # by which the rows that it sees are chosen
    fewer = {name: each for name, each in spec.sources[source].columns.items() if name != column}
    less = spec.sources | {source: spec.sources[source].model_copy(update={"columns": fewer})}
    declared = replace(declared, spec=spec.model_copy(update={"sources": less}))
    written = text(declared.file, spec.folder)
    try:
        with opened(declared, lambda name: [], *_ANY_MOMENTS) as tables:
            tables.run(written, dict.fromkeys(declared.parameters, _ANY_MOMENT), seconds=_SECONDS)
    except QueryRefused:
        return True
    return False


def _query(declared: Callable[[], Query]) -> Iterator[Mistake]:
    """Mistakes of one query: what running it over empty tables says."""
    from evergreen.spec.runner import QueryRefused, opened

    query = declared()
    sources = query.spec.sources
    if not all(name in sources and _sound(sources[name]) for name in query.sources):
        return  # told already
    try:
        written = text(query.file, query.spec.folder)
    except Unreadable:
        return  # told already
    try:
        with opened(query, lambda name: [], *_ANY_MOMENTS) as tables:
            tables.run(written, dict.fromkeys(query.parameters, _ANY_MOMENT), seconds=_SECONDS)
    except QueryRefused as error:
        for refusal in error.refusals:
            file = query.spec.file if refusal.key else query.name
            yield Mistake(file, refusal.key or "", refusal.found, refusal.allowed, refusal.fix, refusal.line)


def _sound(source: Source) -> bool:
    """Whether a source has the columns that its rows are told apart by."""
    return _told_apart_by(source) <= source.columns.keys()


def _told_apart_by(source: Source) -> set[str]:
    return {*source.identity, *(name for name in (source.event_time, source.valid_to) if name is not None)}


def _expectations(spec: DatasetSpec) -> Iterator[Mistake]:
    """Expectations that Great Expectations does not know, or whose arguments it refuses."""
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # its import tells of every registered metric
    import great_expectations.expectations  # noqa: F401 - it fills the registry
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    known: list[str] = list_registered_expectation_implementations()
    for table in (*stated_or(spec, "sources", ()), *stated_or(spec, "features", ())):
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
                for argument, allowed in refused(expectation, error.errors()):
                    yield Mistake(file, key, argument, allowed, f"correct the arguments of {expectation.type}")


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
