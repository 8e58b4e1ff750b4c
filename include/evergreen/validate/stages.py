"""Stages that hold a table against its contract: the interval's batches, its feature partitions, a training set.

What follows from which failure stands in `validate.rules`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from evergreen.errors import ContractBroken, EvidenceMissing, PermanentError
from evergreen.handovers.ingest import Computed, Extracted, Parted, SoundFeatures, Validated
from evergreen.handovers.train import SoundTrainingSet, TrainingSet
from evergreen.links import Link
from evergreen.run import DatasetRun, Run
from evergreen.validate import rules

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    from evergreen.validate.data_docs import Entry

log = logging.getLogger(__name__)

_CONSEQUENCES = {  # of a broken table of each kind
    "sources": "nothing was published",
    "features": "no feature of the interval was published",
    "training": "nothing is trained",
}


def validate(run: DatasetRun, extracted: Extracted) -> Validated:
    """Check every source's batch against its contract, and divide its rows into accepted and rejected ones.

    Raises:
        ContractBroken: a critical expectation failed, of any source; nothing may be published.
        SpecError: a contract that Great Expectations cannot read.
    """
    from evergreen.lake import staging
    from evergreen.validate import expectations, judging

    partition, judge = run.interval.partition, expectations.Judge()
    entries: list[Entry] = []
    sources: dict[str, Parted] = {}
    for name, batch in extracted.sources.items():
        interval = run.spec.calendar.until(batch.known_at)
        judged = judging.batch(run, interval, name, staging.read(batch.staged), judge)
        if judged.outside.any:
            log.info("%s: rows outside of their interval: %s", name, judged.outside)
        if judged.released:
            log.info("%s: %d rows pass that were released from quarantine", name, judged.released)
        warnings = (*batch.warnings, *judged.decision.warnings)
        entries.append(_entry(name, batch.staged.rows, replace(judged.decision, warnings=warnings), judged.result))
        accepted_file, rejected_file = (
            staging.write(
                staging.WorkingFile(of=run.spec.name, run=partition, name=f"{name}.{part}"), rows, task="validate"
            )
            for part, rows in (("accepted", judged.accepted), ("rejected", judged.rejected))
        )
        sources[name] = Parted(batch=batch, accepted=accepted_file, rejected=rejected_file)
    page = _report(
        run,
        "sources",
        partition,
        entries,
        ContractBroken,
        "correct the batch upstream, or the contract if the world has changed, then clear `extract` and what follows",
    )
    return Validated(partition=partition, sources=sources, page=page, warnings=_warnings(entries))


def validate_features(run: DatasetRun, computed: Computed) -> SoundFeatures:
    """Check every computed feature partition against its view's contract. No row is
    dropped: a critical failure stops the run.

    Raises:
        ContractBroken: a critical expectation failed; no feature is published.
        SpecError: a contract that Great Expectations cannot read.
    """
    from evergreen.lake import staging
    from evergreen.validate import expectations, judging

    judge = expectations.Judge()
    entries: list[Entry] = []
    page = None
    for view, partitions in computed.views.items():
        suite = judging.suite(run, view)
        for partition, candidate in sorted(partitions.items()):
            table = staging.read(candidate.staged)
            name = view if partition == run.interval.partition else f"{view} of {partition}"
            findings, result = judge(suite, table, range(table.num_rows), name, run.as_of)
            entries.append(
                _entry(name, table.num_rows, rules.decide(table.num_rows, {}, findings, quarantine=False), result)
            )
    if entries:
        page = _report(
            run,
            "features",
            run.interval.partition,
            entries,
            ContractBroken,
            (
                "correct the view's query, or its contract if the world has changed, then clear `features` and what "
                "follows"
            ),
        )
    else:
        log.info("No feature partition was computed, so there is none to validate")
    return SoundFeatures(views=computed.views, page=page, warnings=_warnings(entries))


def validate_training(run: Run, data: TrainingSet) -> SoundTrainingSet:
    """Check the training set against the contract that follows from the spec (see `validate.training`), and write down
    what that warns of: who must allow a version is decided by it.

    Raises:
        EvidenceMissing: too few rows, or one class only: not enough to learn from.
        ContractBroken: training may not use the set (columns missing, immature or absent
            labels, repeated rows, an empty feature).
    """
    from evergreen.history import events, ledger
    from evergreen.lake import staging
    from evergreen.validate import expectations, training

    table = staging.read(data.staged)
    suite = expectations.suite(training.contract(run.spec, run.as_of), "training set", "model.yaml")
    findings, result = expectations.Judge()(suite, table, range(table.num_rows), "training set", run.as_of)
    entries = [
        _entry("training set", table.num_rows, rules.decide(table.num_rows, {}, findings, quarantine=False), result)
    ]
    lacking = all(f.name.startswith(training.EVIDENCE) for f in findings if f.severity == "critical" and not f.success)
    page = _report(
        run,
        "training",
        f"{run.as_of:%Y-%m-%dT%H%MZ}",
        entries,
        EvidenceMissing if lacking else ContractBroken,
        "train again when more labels have matured, or widen split.window in model.yaml"
        if lacking
        else "correct the features or the label that the lines above name, then clear `build` and what follows",
    )
    warnings = _warnings(entries)
    validated = events.Validated(
        id=f"validated/{data.key}",
        model=run.spec.model,
        as_of=run.as_of,
        actor=run.actor,
        reason=run.reason,
        key=data.key,
        warnings=warnings,
    )
    ledger.append(validated)
    return SoundTrainingSet(**dict(data), page=page, warnings=warnings)


def _warnings(entries: list[Entry]) -> tuple[str, ...]:
    return tuple(f"{entry.table}: {warning}" for entry in entries for warning in entry.decision.warnings)


def _entry(table: str, rows: int, decision: rules.Decision, result: ExpectationSuiteValidationResult) -> Entry:
    from evergreen.validate.data_docs import Entry

    return Entry(table, rows, decision, result, rules.counted(decision.rejected))


def _report(
    run: Run | DatasetRun, kind: str, key: str, entries: list[Entry], error: type[PermanentError], next_step: str
) -> str:
    """Write the page, log what was found, and stop the run if a table is broken; returns the page's address."""
    from evergreen.validate import data_docs

    url = data_docs.write(run.spec.name, kind, key, entries)
    for entry in entries:
        decision = entry.decision
        log.info(
            "%s: %d rows, %d accepted%s; %d of %d expectations met",
            entry.table,
            entry.rows,
            len(decision.accepted),
            f", {len(decision.rejected)} to quarantine ({entry.quarantined})" if decision.rejected else "",
            entry.result.statistics["successful_expectations"],
            entry.result.statistics["evaluated_expectations"],
        )
    for warning in _warnings(entries):
        log.warning("%s", warning)
    log.info("Data Docs: %s", url)
    broken = [f"{entry.table}: {problem}" for entry in entries for problem in entry.decision.broken]
    if broken:
        raise error(
            f"validating the {kind} of {run.subject}",
            found="\n    ".join(["", *broken]) if len(broken) > 1 else broken[0],
            expected=f"every critical expectation met; {_CONSEQUENCES[kind]}. Data Docs: {url}",
            next_step=next_step,
            links={Link.DATA_DOCS: url},
        )
    return url
