"""Every error that Evergreen raises on purpose, split by what a retry can do about it.

`PermanentError`: the same input fails again (bad data, bad spec, missing evidence); never retried.
`TransientError`: the world may be different in a minute (network, lock, throttling); retried with backoff.
`orchestration.failures` maps the two to Airflow's behaviour, in one place.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from evergreen.links import Link
from evergreen.quoting import lines


class EvergreenError(Exception):
    """An error that tells on-call what was being done, what was found, what was expected and what to do next.

    Args:
        doing: what was being done, to which model, table and interval ("validating churn/usage of 2026-01-05").
        found: what was there, with the value.
        expected: what should have been there.
        next_step: the one action that helps; it is the last line of the failed task's log.
        links: pages that tell more, which the failed task shows.
    """

    def __init__(
        self, doing: str, *, found: str, expected: str, next_step: str, links: Mapping[Link, str] | None = None
    ) -> None:
        super().__init__(doing, found, expected, next_step)
        # Whoever raised it quotes what is foreign; what was forgotten still colours, turns and hides nothing in a log.
        self.doing = lines(doing)
        self.found = lines(found)
        self.expected = lines(expected)
        self.next_step = lines(next_step)
        self.links = dict(links or {})

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.doing, self.found, self.expected, self.next_step, self.links))

    def __str__(self) -> str:
        return (
            f"Failed while {self.doing}\n"
            f"  found:     {self.found}\n"
            f"  expected:  {self.expected}\n"
            f"  next step: {self.next_step}"
        )


def _rebuild(
    kind: type[EvergreenError], doing: str, found: str, expected: str, next_step: str, links: Mapping[Link, str]
) -> EvergreenError:
    """Keyword-only arguments do not survive Exception's own pickling; Airflow and process pools pickle errors."""
    return kind(doing, found=found, expected=expected, next_step=next_step, links=links)


def in_full(error: Exception) -> str:
    """An error as a command tells it: ours in its own words, any other with where it came from."""
    return str(error) if isinstance(error, EvergreenError) else "".join(traceback.format_exception(error))


@contextmanager
def showing(links: Mapping[Link, str]) -> Iterator[None]:
    """An error of ours that leaves the block has these pages too."""
    try:
        yield
    except EvergreenError as error:
        error.links = {**links, **error.links}
        raise


class PermanentError(EvergreenError):
    """A retry would fail the same way."""


class TransientError(EvergreenError):
    """A retry may succeed."""


class SpecError(PermanentError):
    """The folder of a model or dataset is not a valid spec; `found` lists every mistake."""


class RunError(PermanentError):
    """A run cannot be identified, or asks for an interval outside the days of its model or dataset."""


class BatchMissing(PermanentError):
    """The landing zone has no batch for the interval."""


class BatchUnreadable(PermanentError):
    """A batch is there and cannot be read as declared (encoding, columns, types)."""


class ConnectionUnknown(PermanentError):
    """A source names a connection that is not there, or is not one to a database that can be read."""


class ContractBroken(PermanentError):
    """A critical expectation of a contract failed, or most rows would go to
    quarantine; what needed the rows did not run."""


class RowsUnaccounted(PermanentError):
    """Rows in are not rows published plus rows quarantined: a defect in Evergreen, never ignored."""


class ColumnChanged(PermanentError):
    """A column is declared with another type than the lake's table has it."""


class CalendarChanged(PermanentError):
    """A dataset declares another calendar than that by which its partitions are published."""


class VersionGone(PermanentError):
    """A recorded version of a lake's table cannot be opened any more: its log or its files were removed."""


class LineageUnknown(PermanentError):
    """Nothing of a name was published, registered or decided."""


class EvidenceMissing(PermanentError):
    """A gate or decision lacks what it needs to be decided; it fails closed."""


class ModelUnloadable(PermanentError):
    """A registered version cannot be loaded, or does not answer as it did when it was trained."""


class ArtifactUntrusted(PermanentError):
    """A file of a candidate or version is not the one that was recorded when it was written,
    or none was recorded; it is not opened."""


class TrainingSetChanged(PermanentError):
    """A training set that was built again from what was recorded of it has other rows than were recorded."""


class ErasedInPart(PermanentError):
    """A training set that was built again lacks the rows of somebody who was erased since; `found` names the ledger's
    event."""


class ErasureRefused(PermanentError):
    """Nobody declares such an entity, or what the ledger would keep of its erasure names it."""


class DeployRefused(PermanentError):
    """The serving target did not take the version; the previous one still serves."""


class NothingToRollBackTo(PermanentError):
    """There is no last known good version other than the champion, or the version
    to roll back from is not the champion."""


class NoSuchRollout(PermanentError):
    """The rollout that is to be moved is not open, or the step that is to be left has not begun."""


class StepRefused(PermanentError):
    """A serving target does not take such a step; nothing has changed."""


class HandoverRefused(PermanentError):
    """A task of the run handed nothing over, or something of another shape than the task that reads it expects."""


class NothingToRetire(PermanentError):
    """The version is the champion, and there is a last known good one to roll back to."""


class LedgerUnreadable(PermanentError):
    """An entry of the ledger is no event that this release knows: it was changed, or a newer release wrote it."""


class StagedFileGone(PermanentError):
    """What an earlier task of the run left is no longer there."""


class DiskFull(PermanentError):
    """There is no room left to write to: a retry would fail until somebody makes some."""


class StackNotReady(PermanentError):
    """A process of the local stack ended while starting, or did not answer in
    time; `found` holds the end of its log."""


class PortTaken(PermanentError):
    """Another process listens where the local stack wants to."""


class RunFailed(PermanentError):
    """A DAG run that was waited for ended red, or did not end; `found` holds the end of the failing task's log."""


class RequestRefused(PermanentError):
    """A service (Airflow, MLflow, object store, model server) answered that it will
    not: a wrong login, nothing of that name."""


class StoreNewer(PermanentError):
    """A newer release has changed Evergreen's tables; this one would read and write them wrongly."""


class ServiceUnavailable(TransientError):
    """A service (object store, database, MLflow, model server) did not answer, or not now."""


class BatchChanging(TransientError):
    """A batch's file was written or replaced while it was read."""


class WriteConflict(TransientError):
    """Another writer replaced the same partition at the same time."""


class StageSkipped(Exception):
    """Nothing to do, for a good reason (a candidate that is not better, a decision that triggers nothing).

    Not an error: Airflow shows the task as skipped, with this reason, and the run is green.
    """


class ApprovalWanted(Exception):
    """A stage goes on once a person has said whether a version is allowed. Not an error: Airflow lets the task wait.

    Args:
        subject: what is asked, in a line.
        body: what they need to know, in Markdown.
    """

    def __init__(self, subject: str, body: str) -> None:
        super().__init__(subject, body)
        self.subject = subject
        self.body = body


class WorkerGone(TransientError):
    """A process that worked on an interval has ended before its work."""
