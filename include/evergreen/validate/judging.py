"""A batch held against its source's contract: which of its rows are accepted, and which go to quarantine, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import pyarrow as pa
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.expectations.expectation import Expectation

from evergreen.interval import Interval
from evergreen.lake.schema import QUARANTINE, REASONS
from evergreen.run import DatasetRun
from evergreen.spec.cells import readable
from evergreen.spec.contract import load_contract
from evergreen.validate import exemptions, expectations, rules, times, validity
from evergreen.validate.times import Outside
from evergreen.validate.usable import unusable_rows


@dataclass(frozen=True)
class Judged:
    """What the contract says of a batch: every row is accepted or rejected, in order."""

    accepted: pa.Table  # with the declared columns
    rejected: pa.Table  # also with `_unparsed`, `_row`, `_place` and `_reasons`
    released: int  # how many of the accepted were released by a person
    decision: rules.Decision
    outside: Outside  # the rows that do not lie in the interval
    result: ExpectationSuiteValidationResult


def suite(run: DatasetRun, table: str) -> list[Expectation]:
    """The contract of a source or a view.

    Raises:
        SpecError: Great Expectations cannot read it.
    """
    file = run.spec.contract_file(table)
    return expectations.suite(
        load_contract(run.spec, table), table, f"{run.spec.name}/{file.relative_to(run.spec.folder)}"
    )


def batch(
    run: DatasetRun,
    interval: Interval,
    name: str,
    table: pa.Table,
    judge: expectations.Judge,
    exempt: Sequence[exemptions.Exemption] | None = None,
) -> Judged:
    """Judge a batch of a source.

    Args:
        interval: that it is kept under; the run's own, but for a table that is for all intervals.
        table: its rows, as `ingest.batches` reads them.
        exempt: rows that may pass; None: those that are recorded.
    """
    source = run.spec.as_read(name)
    outside = times.NOWHERE if source.whole else times.outside(table[source.moment], interval, _seen(run, name))
    hints = {name: partial(readable, each, source.decimal, source.thousands) for name, each in source.columns.items()}
    unusable = outside.far | unusable_rows(table, source.identity, hints)
    if source.valid_from is not None:
        unusable |= validity.unusable(table, source, unusable)
    every = range(table.num_rows)
    usable = [position for position in every if position not in unusable] if unusable else every
    judged = table.take(pa.array(usable, pa.int64())) if unusable else table
    findings, result = judge(suite(run, name), judged.select(list(source.columns)), usable, name, run.as_of)
    strict = rules.decide(table.num_rows, unusable, findings)
    waived = _waived(run, interval, name, table, [at for at in strict.rejected if at not in unusable], exempt)
    decision = rules.decide(table.num_rows, unusable, findings, waived=waived) if waived else strict
    if source.valid_from is not None and (overlaps := validity.overlaps(table, source, decision.accepted)):
        decision = replace(decision, broken=(*decision.broken, *overlaps))
    return Judged(
        accepted=table.take(pa.array(decision.accepted, pa.int64())).select(list(source.columns)),
        rejected=table.take(pa.array(decision.rejected, pa.int64())).append_column(
            REASONS.name, pa.array(["; ".join(reasons) for reasons in decision.rejected.values()], pa.string())
        ),
        released=len(strict.rejected) - len(decision.rejected),
        decision=replace(decision, warnings=(*decision.warnings, *outside.warnings())),
        outside=outside,
        result=result,
    )


def _seen(run: DatasetRun, name: str) -> datetime | None:
    """The first moment that a view looks back at in a source; None: no view reads it."""
    calendar, covers = run.spec.calendar, run.spec.sources[name].covers
    seen = [calendar.earlier(run.as_of, view.look_back) for view in run.spec.features.values() if name in view.sources]
    return calendar.earlier(min(seen), covers) if seen else None


def _waived(
    run: DatasetRun,
    interval: Interval,
    name: str,
    table: pa.Table,
    failing: Sequence[int],
    exempt: Sequence[exemptions.Exemption] | None,
) -> Mapping[int, frozenset[str]]:
    """Position → the expectations that its row may fail, of those rows that fail any."""
    if not failing:
        return {}
    if exempt is None:
        exempt = exemptions.of(QUARANTINE.of(run.spec.name, name).at(interval.partition))
    waived = exemptions.waived(exempt)
    if not waived:
        return {}
    hashes = exemptions.row_hashes(table.take(pa.array(failing, pa.int64())), list(run.spec.sources[name].columns))
    return {at: waived[each] for at, each in zip(failing, hashes, strict=True) if each in waived}
