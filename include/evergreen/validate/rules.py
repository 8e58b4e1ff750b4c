"""What the results of a contract's expectations mean for a batch and its rows. Pure.

An expectation is about single rows (Great Expectations names the rows that fail) or about the table as a whole (row
count, columns, a mean, a share of nulls). What follows from a failure:

* A row that fails a row-level expectation goes to quarantine with that expectation's name, whatever the severity. So do
  rows with a cell that could not be parsed, and repetitions of a key (the first row of a key is kept).
* A cell that could not be parsed alerts, as a failed `warning` does: the sender's format is not the declared one. A
  repeated key is silent: senders deliver again.
* `severity` says what the expectation's own verdict does to the run: a failed `critical` stops it, a failed `warning`
  alerts. The verdict of a row-level expectation fails when the share of passing rows is below its `mostly` (default 1:
  one row is enough). So "drop and go on, up to one in a hundred" is `critical` with `mostly: 0.99`, and "drop and tell"
  is `warning`.
* To be told and keep the rows, use an expectation about the table: `expect_column_distinct_values_to_be_in_set`,
  `expect_column_proportion_of_non_null_values_to_be_between`.
* A row that a person released passes the expectations that were waived for it, and no other. It still counts in their
  verdicts. A row that cannot be judged is never released.
* An expectation that raises an exception has failed.
* A batch of which most rows would go to quarantine is broken: then the export is wrong, not the rows. So is one that
  has rows and of which none is accepted, however small it is.

Features and training sets have no quarantine: a row is there or the run stops. Rows that a `critical` expectation
tolerates (by `mostly`) stay, and are reported as a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from evergreen.quoting import line

if TYPE_CHECKING:
    from evergreen.spec.contract import Severity

MOST = 0.5  # a greater share of rejected rows means that the batch is broken
FEW = 10  # so few rejected rows say nothing about the batch, however small it is
SHOWN = 5  # failing rows and values that a message shows
_LONGEST = 200  # characters of what is shown of a row's cells
_COLUMN = re.compile(r"(?:^|: |; )([a-z][a-z0-9_]*)=")  # of a cell that could not be parsed
# why a row cannot be judged
UNPARSABLE, DUPLICATE, FAR, NEVER_TRUE = "unparsable", "duplicate key", "far from its interval", "true at no moment"


@dataclass(frozen=True)
class Finding:
    """What one expectation found in a batch."""

    name: str  # type and columns: expect_column_values_to_be_between(minutes)
    severity: Severity
    success: bool
    expected: str  # its arguments, as text
    observed: str  # what was found, as text
    failing: tuple[int, ...] | None = None  # positions of the failing rows; None: it is about the table as a whole
    samples: tuple[str, ...] = ()  # the first distinct failing values
    error: str | None = None  # the exception that it raised

    def __str__(self) -> str:
        """One line for a log: `expect_column_values_to_be_between(minutes), min_value=0: 3 of 90 rows
        fail (rows 4, 9, 17; values -1, -7)`."""
        subject = f"{self.name}{', ' if self.expected else ''}{self.expected}: "
        if self.error is not None:
            return f"{subject}could not be evaluated: {self.error}"
        shown = []
        if self.failing:
            shown.append(f"row{'s' if len(self.failing) > 1 else ''} {_listed(self.failing)}")
        if self.samples:
            shown.append(f"value{'s' if len(self.samples) > 1 else ''} {_listed(self.samples)}")
        return f"{subject}{self.observed} ({'; '.join(shown)})" if shown else subject + self.observed


@dataclass(frozen=True)
class Decision:
    """What happens to a batch of rows: every row is accepted or rejected, never both."""

    accepted: tuple[int, ...]  # positions, in order
    rejected: Mapping[int, tuple[str, ...]]  # position → reasons, in order of position
    broken: tuple[str, ...]  # why the run must stop; empty: publish
    warnings: tuple[str, ...]  # what the owner should look at

    @property
    def verdict(self) -> Literal["broken", "warnings", "passed"]:
        if self.broken:
            return "broken"
        return "warnings" if self.warnings else "passed"


def decide(
    rows: int,
    unusable: Mapping[int, str],
    findings: Sequence[Finding],
    *,
    quarantine: bool = True,
    waived: Mapping[int, frozenset[str]] = MappingProxyType({}),
) -> Decision:
    """The fate of a batch.

    Args:
        rows: how many rows it has; positions are 0 to rows - 1.
        unusable: rows that no expectation was asked about, with the reason (not parsable, duplicate key).
        findings: one of each expectation of the contract.
        quarantine: whether failing rows may be left out; otherwise all rows are accepted.
        waived: of rows that a person released, the findings that do not reject them. What a finding says of the batch
            stays.
    """
    reasons: dict[int, list[str]] = {position: [reason] for position, reason in unusable.items()} if quarantine else {}
    broken: list[str] = []
    misfits = _misfits(rows, unusable)
    warnings: list[str] = [] if misfits is None else [misfits]
    for finding in findings:
        if quarantine:
            for position in finding.failing or ():
                if finding.name not in waived.get(position, ()):
                    reasons.setdefault(position, []).append(finding.name)
        if not finding.success:
            (broken if finding.severity == "critical" else warnings).append(str(finding))
        elif finding.failing and not quarantine:
            warnings.append(f"{finding} (tolerated)")
    rejected = {position: tuple(reasons[position]) for position in sorted(reasons)}
    if len(rejected) > max(FEW, MOST * rows) or 0 < len(rejected) == rows:
        most = f"{len(rejected):,} of {rows:,} rows would go to quarantine: {counted(rejected)}"
        # With the cells, which say what is wrong with the export, in place of a warning of its own.
        broken.append(most if misfits is None else f"{most}. {misfits}")
        warnings = [each for each in warnings if each is not misfits]
    accepted = tuple(position for position in range(rows) if position not in rejected)
    return Decision(accepted, rejected, tuple(broken), tuple(warnings))


def unusable(unparsed: Sequence[str | None], keys: Iterable[tuple[object, ...]]) -> dict[int, str]:
    """The rows that cannot be judged, with the reason.

    Args:
        unparsed: of each row, `line 7: column=value; … (what could be read)` where cells do not fit their type.
        keys: of each row, the values of its key. A row without a complete key repeats
            no other: its contract decides about it.
    """
    reasons: dict[int, str] = {}
    seen: set[tuple[object, ...]] = set()
    for position, (cells, key) in enumerate(zip(unparsed, keys, strict=True)):
        if cells is not None:
            reasons[position] = f"{UNPARSABLE}: {cells}"
        elif None not in key:
            if key in seen:
                reasons[position] = DUPLICATE
            seen.add(key)
    return reasons


def cells_in(text: str) -> dict[str, str]:
    """The cells that could not be parsed, given as `column=value; …`: the first of each column."""
    cells: dict[str, str] = {}
    found = [*_COLUMN.finditer(text)]
    for each, following in zip(found, [*found[1:], None], strict=True):
        cells.setdefault(each[1], text[each.end() : following and following.start()])
    return cells


def kind_of(reason: str) -> str:
    """A reason without the values that it names."""
    return reason.partition(":")[0]


def counted(rejected: Mapping[int, tuple[str, ...]]) -> str:
    """How often each reason was given, the most frequent first: `12 duplicate key, 3 unparsable`."""
    counts: dict[str, int] = {}
    for reasons in rejected.values():
        for reason in reasons:
            kind = kind_of(reason)
            counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(
        f"{count:,} {kind}" for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _misfits(rows: int, unusable: Mapping[int, str]) -> str | None:
    """What is said of the rows with a cell that could not be parsed, where there are any: the first of each column."""
    cells = [reason.removeprefix(f"{UNPARSABLE}: ") for reason in unusable.values() if reason.startswith(UNPARSABLE)]
    if not cells:
        return None
    by_columns: dict[tuple[str, ...], str] = {}
    for each in cells:
        by_columns.setdefault(tuple(cells_in(each)), each)
    first = dict.fromkeys([*by_columns.values(), *cells])
    samples = [line(each, _LONGEST) for each in islice(first, SHOWN + 1)]
    have = "rows has" if len(cells) == 1 else "rows have"
    return f"{len(cells):,} of {rows:,} {have} a cell that does not fit its declared type: {_listed(samples, '; ')}"


def _listed(values: Sequence[object], between: str = ", ") -> str:
    return between.join(map(str, values[:SHOWN])) + (f"{between}…" if len(values) > SHOWN else "")
