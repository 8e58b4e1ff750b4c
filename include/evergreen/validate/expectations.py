"""Contracts run by Great Expectations: its expectations, its rules, its results.

The metrics that most of them need are computed at once over the columns (`validate.metrics`). What is not there goes
through a real ValidationDefinition over a pandas batch, and both end in one result.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import great_expectations as gx
import numpy as np
import pyarrow as pa
from great_expectations.compatibility.pydantic import ValidationError
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import (
    ColumnAggregateExpectation,
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    Expectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.util import convert_to_json_serializable
from great_expectations.validator.validation_statistics import calc_validation_statistics

from evergreen.errors import SpecError
from evergreen.quoting import line, shown, visible
from evergreen.spec.contract import Contract, refused
from evergreen.validate import metrics
from evergreen.validate.rules import SHOWN, Finding

# Everything about the failing rows but a query that would select them again.
_RESULT_FORMAT = {"result_format": "COMPLETE", "return_unexpected_index_query": False, "partial_unexpected_count": 20}
_ABOUT_VALUES = (ColumnAggregateExpectation, ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
_ROWS = "unexpected_index_list"  # in the result of an expectation about rows: which of them fail
_AMISS = {"partial_unexpected_list": "unexpected", "partial_missing_list": "missing"}
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")
_LONGEST = 500  # characters of an exception's message, which may quote the values
_HIDDEN_ARGUMENTS = {*_COLUMN_ARGUMENTS, "batch_id"}


def suite(contract: Contract, name: str, file: str) -> list[Expectation]:
    """The contract's expectations as Great Expectations' own objects.

    Raises:
        SpecError: an expectation that does not exist, or arguments that it does not take; all of them at once.
    """
    expectations, mistakes = [], []
    for number, stated in enumerate(contract.expectations, 1):
        try:
            configuration = ExpectationConfiguration(
                type=stated.type, kwargs=stated.arguments, severity=stated.severity
            )
            expectations.append(configuration.to_domain_obj())
        except ValidationError as error:
            refusals = "; ".join(
                f"{argument}, and not {allowed}" for argument, allowed in refused(stated, error.errors())
            )
            mistakes.append(f"{number}. {stated.type}: {refusals}")
        except (gx.exceptions.GreatExpectationsError, ValueError, TypeError):
            mistakes.append(
                f"{number}. {stated.type}: no expectation of Great Expectations, or one that does not take these "
                "arguments"
            )
    if mistakes:
        raise SpecError(
            f"reading the contract of {name} from {file}",
            found="\n".join(mistakes),
            expected="expectations of Great Expectations with the arguments they take",
            next_step=f"correct {file}, then clear this task",
        )
    return expectations


class Judge:
    """Runs suites, one table after the other.

    Great Expectations' own engine needs a context, which costs as much as some ten expectations: it is made when the
    first table needs it, is shared by the tables of a run and lives as long as the stage. It keeps every result in
    memory, so no two runs share one.
    """

    def __init__(self) -> None:
        self._opened: tuple[EphemeralDataContext, BatchDefinition[Any]] | None = None

    def __call__(
        self, expectations: Sequence[Expectation], table: pa.Table, positions: Sequence[int], name: str, as_of: datetime
    ) -> tuple[list[Finding], ExpectationSuiteValidationResult]:
        """What each expectation found, and Great Expectations' result for its page.

        Of a table without rows only expectations about the table itself are asked: there are no values to be wrong.

        Args:
            expectations: the contract, as `suite` returns it.
            table: the rows to judge.
            positions: of each of these rows, the position that findings name it by.
            name: the table's name, once a Judge.
            as_of: the moment that the result is dated by.
        """
        applicable = [e for e in expectations if table.num_rows or not isinstance(e, _ABOUT_VALUES)]
        columns = metrics.Columns(table)
        at_once = [metrics.result(expectation, columns, _RESULT_FORMAT) for expectation in applicable]
        left = [e for e, result in zip(applicable, at_once, strict=True) if result is None]
        run_id = gx.RunIdentifier(run_name=name, run_time=as_of)
        others = dict(zip(map(id, left), self._by_its_engine(left, table, name, run_id), strict=True)) if left else {}
        by_id = {id(e): result or others[id(e)] for e, result in zip(applicable, at_once, strict=True)}
        results = [by_id[id(expectation)] for expectation in _ordered(applicable, by_id)]
        for each in results:
            if _ROWS not in each.result:
                each.result = _about_table(each.result)
        return [_finding(each, positions) for each in results], _suite_result(name, results, run_id)

    def _by_its_engine(
        self, expectations: Sequence[Expectation], table: pa.Table, name: str, run_id: gx.RunIdentifier
    ) -> list[ExpectationValidationResult]:
        """The result of each expectation, as Great Expectations runs it."""
        if self._opened is None:
            context = gx.get_context(
                mode="ephemeral",
                project_config=DataContextConfig(
                    store_backend_defaults=InMemoryStoreBackendDefaults(),
                    analytics_enabled=False,
                    progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
                ),
            )
            asset = context.data_sources.add_pandas("stage").add_dataframe_asset("table")
            self._opened = context, asset.add_batch_definition_whole_dataframe("rows")
        context, batch = self._opened
        # Copies: an expectation belongs to one suite, and a view's partitions are judged one after the other.
        copies = [copy.copy(expectation) for expectation in expectations]
        added = context.suites.add(gx.ExpectationSuite(name=name, expectations=copies))
        definition = gx.ValidationDefinition(name=name, data=batch, suite=added)
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": table.to_pandas()}, result_format=_RESULT_FORMAT, run_id=run_id
        )
        by_id = {each.expectation_config.id: each for each in result.results}  # in another order
        return [by_id[expectation.id] for expectation in added.expectations]


def _ordered(
    expectations: Sequence[Expectation], found: Mapping[int, ExpectationValidationResult]
) -> list[Expectation]:
    """In the order of Great Expectations' results: those that raised an exception, then column by column."""
    columns: dict[object, list[Expectation]] = {}
    for expectation in expectations:
        column = expectation.configuration.kwargs.get("column")
        columns.setdefault(column if isinstance(column, str) else None, []).append(expectation)
    grouped = [expectation for of_column in columns.values() for expectation in of_column]
    return sorted(grouped, key=lambda each: _error(found[id(each)].exception_info) is None)


def _suite_result(
    name: str, results: Sequence[ExpectationValidationResult], run_id: gx.RunIdentifier
) -> ExpectationSuiteValidationResult:
    """Great Expectations' result of a suite, of which our pages read the results, the counts and the run."""
    statistics = calc_validation_statistics(list(results))
    return ExpectationSuiteValidationResult(
        results=list(results),
        success=statistics.success,
        suite_name=name,
        statistics={
            "evaluated_expectations": statistics.evaluated_expectations,
            "successful_expectations": statistics.successful_expectations,
            "unsuccessful_expectations": statistics.unsuccessful_expectations,
            "success_percent": statistics.success_percent,
        },
        meta={
            "great_expectations_version": gx.__version__,
            "run_id": run_id,
            "validation_time": run_id.run_time,
            "active_batch_definition": {},
        },
    )


def _finding(each: ExpectationValidationResult, positions: Sequence[int]) -> Finding:
    stated = each.expectation_config
    arguments = stated.kwargs
    columns = [arguments[name] for name in _COLUMN_ARGUMENTS if name in arguments]
    flat = [column for entry in columns for column in (entry if isinstance(entry, list | set | tuple) else [entry])]
    result = each.result
    failing = None
    value = result.get("observed_value")
    observed, samples = f"found {value if isinstance(value, str) else shown(value)}", []
    if _ROWS in result:
        failing = tuple(positions[index] for index in result[_ROWS])
        observed = f"{len(failing):,} of {result['element_count']:,} rows fail"
        samples = list(dict.fromkeys(_text(value) for value in result["partial_unexpected_list"]))
    return Finding(
        name=f"{stated.type}({visible(', '.join(map(str, flat)))})",
        severity=str(stated.severity.value),  # type: ignore[arg-type]  # Great Expectations takes the word and its own type
        success=bool(each.success),
        expected=", ".join(f"{k}={shown(v)}" for k, v in arguments.items() if k not in _HIDDEN_ARGUMENTS),
        observed=observed,
        failing=failing,
        samples=tuple(samples[: SHOWN + 1]),
        error=_error(each.exception_info),
    )


def _about_table(result: dict[str, Any]) -> dict[str, Any]:
    """The result of an expectation about the table as a whole, with a plain observed value.

    Expectations about distinct values leave it out and state what is amiss as if it were rows, and some state numpy's
    numbers: the page's renderer can read neither.
    """
    amiss = [
        f"{kind} {', '.join(dict.fromkeys(map(_text, result[key])))}" for key, kind in _AMISS.items() if result.get(key)
    ]
    observed = "; ".join(amiss) or convert_to_json_serializable(result.get("observed_value"))
    plain = observed.item() if isinstance(observed, np.generic) else observed
    if isinstance(plain, str) and not amiss:
        plain = shown(plain)
    return {name: value for name, value in result.items() if "unexpected" not in name} | {"observed_value": plain}


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, dict):
        return ", ".join(f"{column}={_text(each)}" for column, each in value.items())
    return "null" if value is None or value != value else shown(value)


def _error(info: dict[str, Any] | None) -> str | None:
    """The exception's message. Great Expectations nests one dictionary a failed metric, or has one at the top."""
    entries = [info] if info and "exception_message" in info else list((info or {}).values())
    messages = [str(entry["exception_message"]) for entry in entries if entry.get("raised_exception")]
    return line(" ".join(messages[0].split()), _LONGEST) if messages else None
