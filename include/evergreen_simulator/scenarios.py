"""What may happen to the business, from a date on: dated, combinable, and parsed from a line of text or from JSON.

    covariate_drift@2026-02-25                                       for good
    sensor_outage@2026-02-10..2026-02-12:column=usage.minutes        three days, both included
    {"kind": "new_category", "since": "2026-02-10", "value": "family"}

A scenario changes the world (what customers do), the flow (how many rows come late or twice), the rows of the days on
which it holds, or whole batches that are delivered on those days.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from evergreen_simulator.business import Conditions, Reasons
from evergreen_simulator.draws import Stream, uniform
from evergreen_simulator.events import COLUMNS

REASONS_AFTER = Reasons(base=-6.6, engagement=2.2, frustration=0.4, money_trouble=0.4, plan=3.2)
"""Why customers leave once the concept has drifted: the keenest, on the dearest plans, move on to a competitor."""


@dataclass(frozen=True)
class Flow:
    """How rows travel from the business to the landing zone: shares of a day's rows."""

    late: float = 0.01  # arrive one or two days after they happened
    duplicated: float = 0.004  # arrive twice: in the same batch, or again in the next one
    damaged: float = 0.001  # arrive with a value that cannot be


def _known_column(path: str) -> str:
    source, _, column = path.partition(".")
    if column not in COLUMNS.get(source, ()):
        allowed = ", ".join(f"{source}.{column}" for source, columns in COLUMNS.items() for column in columns)
        raise ValueError(f"{path!r} is not a column of the business; allowed: {allowed}")
    return path


ColumnPath = Annotated[str, AfterValidator(_known_column)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Scenario(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    since: date
    until: date | None = None  # last day on which it holds; none: for good

    @model_validator(mode="after")
    def _in_order(self) -> _Scenario:
        if self.until is not None and self.until < self.since:
            raise ValueError(f"ends on {self.until}, before it starts on {self.since}")
        return self

    def holds(self, day: date) -> bool:
        return self.since <= day and (self.until is None or day <= self.until)

    def on_world(self, conditions: Conditions) -> Conditions:
        """The world on a day on which the scenario holds."""
        return conditions

    def on_flow(self, flow: Flow) -> Flow:
        """How the rows of a day on which it holds travel."""
        return flow

    def on_rows(self, source: str, rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        """The rows that happened on a day on which it holds, whenever they are delivered."""
        return rows

    def on_batch(self, source: str, batch: pd.DataFrame) -> pd.DataFrame:
        """The batch that is delivered on a day on which it holds."""
        return batch


class CovariateDrift(_Scenario):
    """Prices rise, and the redesigned product is used on phones, less often and for longer."""

    kind: Literal["covariate_drift"] = "covariate_drift"
    strength: Share = 1.0

    def on_world(self, conditions: Conditions) -> Conditions:
        return replace(
            conditions,
            price=conditions.price * (1 + 0.3 * self.strength),
            sessions=conditions.sessions * (1 - 0.25 * self.strength),
            minutes=conditions.minutes * (1 + 0.4 * self.strength),
            mobile=conditions.mobile + 0.2 * self.strength,
        )


class CosmeticDrift(_Scenario):
    """Prices rise, and the product is used on phones more; what tells who leaves is as it was."""

    kind: Literal["cosmetic_drift"] = "cosmetic_drift"
    strength: Share = 1.0

    def on_world(self, conditions: Conditions) -> Conditions:
        return replace(
            conditions,
            price=conditions.price * (1 + 0.3 * self.strength),
            mobile=conditions.mobile + 0.2 * self.strength,
        )


class ConceptDrift(_Scenario):
    """Customers leave for other reasons: what kept them before now makes them go."""

    kind: Literal["concept_drift"] = "concept_drift"
    strength: Share = 1.0

    def on_world(self, conditions: Conditions) -> Conditions:
        return replace(conditions, reasons=conditions.reasons.towards(REASONS_AFTER, self.strength))


class SensorOutage(_Scenario):
    """A column arrives empty."""

    kind: Literal["sensor_outage"] = "sensor_outage"
    column: ColumnPath = "usage.minutes"

    def on_rows(self, source: str, rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        table, _, column = self.column.partition(".")
        return rows.assign(**{column: None}) if table == source else rows


class SchemaBreak(_Scenario):
    """A column arrives under another name, or not at all."""

    kind: Literal["schema_break"] = "schema_break"
    column: ColumnPath = "usage.minutes"
    renamed: str | None = None  # none: the column is missing

    def on_batch(self, source: str, batch: pd.DataFrame) -> pd.DataFrame:
        table, _, column = self.column.partition(".")
        if table != source:
            return batch
        return batch.rename(columns={column: self.renamed}) if self.renamed else batch.drop(columns=column)


class LateRows(_Scenario):
    """More rows than usual arrive one or two days late."""

    kind: Literal["late_rows"] = "late_rows"
    share: Share = 0.2

    def on_flow(self, flow: Flow) -> Flow:
        return replace(flow, late=self.share)


class DuplicateRows(_Scenario):
    """More rows than usual arrive twice."""

    kind: Literal["duplicate_rows"] = "duplicate_rows"
    share: Share = 0.1

    def on_flow(self, flow: Flow) -> Flow:
        return replace(flow, duplicated=self.share)


class NewCategory(_Scenario):
    """Some customers' rows have a value that was never seen before; always the same customers."""

    kind: Literal["new_category"] = "new_category"
    column: ColumnPath = "customers.plan"
    value: str = "family"
    share: Share = 0.15

    def on_rows(self, source: str, rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        table, _, column = self.column.partition(".")
        if table != source:
            return rows
        chosen = uniform(seed, Stream.CATEGORY, rows["who"].to_numpy()) < self.share
        return rows.assign(**{column: rows[column].mask(chosen, self.value)})


Scenario = (
    CovariateDrift | CosmeticDrift | ConceptDrift | SensorOutage | SchemaBreak | LateRows | DuplicateRows | NewCategory
)
_ADAPTER: TypeAdapter[Scenario] = TypeAdapter(Annotated[Scenario, Field(discriminator="kind")])


def parse(text: str) -> Scenario:
    """One scenario from `kind@since[..until][:key=value,…]` or from a JSON object; ValueError says what is wrong."""
    if text.lstrip().startswith("{"):
        return _validated(text, json.loads(text))
    head, _, options = text.partition(":")
    kind, at, dates = head.partition("@")
    if not at:
        raise ValueError(f"scenario {text!r} has no date; write it like covariate_drift@2026-02-25")
    since, _, until = dates.partition("..")
    pairs = (option.partition("=") for option in options.split(",") if option)
    fields = {name.strip(): value.strip() for name, _, value in pairs} | {"kind": kind, "since": since}
    return _validated(text, fields | ({"until": until} if until else {}))


def _validated(text: str, fields: object) -> Scenario:
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ValueError(f"scenario {text!r}: {'; '.join(mistakes)}") from error


def story(since: date, strength: float = 1.0) -> tuple[Scenario, ...]:
    """The demo's story: on one day the customers behave differently, and leave for other reasons."""
    return CovariateDrift(since=since, strength=strength), ConceptDrift(since=since, strength=strength)


def harmless(since: date) -> tuple[Scenario, ...]:
    """Prices rise and more sessions are on phones. Nobody leaves for that, so nothing is lost."""
    return (CosmeticDrift(since=since),)


def outage(since: date) -> tuple[Scenario, ...]:
    """For three days sessions arrive without their lengths."""
    return (SensorOutage(since=since, until=since + timedelta(days=2)),)


def conditions(scenarios: Iterable[Scenario], day: date) -> Conditions:
    """The world on a day, all scenarios together."""
    world = Conditions()
    for scenario in scenarios:
        world = scenario.on_world(world) if scenario.holds(day) else world
    return world


def flow(scenarios: Iterable[Scenario], day: date) -> Flow:
    """How the rows of a day travel, all scenarios together."""
    rows = Flow()
    for scenario in scenarios:
        rows = scenario.on_flow(rows) if scenario.holds(day) else rows
    return rows
