"""A contract's shape: `contracts/<table>.yaml` lists Great Expectations'
expectations for one source or feature view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field

from evergreen.quoting import shown
from evergreen.spec import arguments
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.document import read
from evergreen.spec.files import Budget
from evergreen.spec.mistakes import Mistake, spec_error
from evergreen.spec.partial import Declared, stated_or
from evergreen.spec.shape import shaped
from evergreen.spec.words import needed

Severity = Literal["critical", "warning"]
_COLUMNS = ("column", "column_A", "column_B", "column_list", "column_set")


class Expectation(Declared):
    """One expectation: `type` in snake case, `severity`, and the expectation's own arguments."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)

    type: str = Field(pattern=r"^expect_[a-z0-9_]+$", description="an expectation of Great Expectations, in snake case")
    severity: Severity = Field(default="critical", description="critical stops the run; warning warns the owner")

    @property
    def arguments(self) -> dict[str, Any]:
        """What is passed to the expectation beside its severity."""
        return dict(self.model_extra or {})

    @property
    def columns(self) -> Iterator[tuple[str, str]]:
        """Every column that it names, with the argument that does."""
        for argument in _COLUMNS:
            value = self.arguments.get(argument, [])
            yield from ((argument, str(column)) for column in (value if isinstance(value, list) else [value]))


class Contract(Declared):
    """All expectations of one table."""

    expectations: tuple[Expectation, ...] = Field(min_length=1, description="what the table is expected to be")


def refused(expectation: Expectation, problems: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What Great Expectations does not take of an expectation, and what it would: by
    argument, from its pydantic's errors."""
    allowed: dict[str, list[str]] = {}
    for problem in problems:
        argument = str(next((part for part in problem["loc"] if part != "__root__"), ""))
        allowance = (
            needed(problem)
            or f"arguments that go together, as greatexpectations.io/expectations/{expectation.type} says"
        )
        if allowance not in allowed.setdefault(argument, []):  # an argument of several types is refused by each
            allowed[argument].append(allowance)
    for argument, ways in allowed.items():
        value = expectation.arguments.get(argument)
        stated = f"{argument}: {shown(value)}" if argument in expectation.arguments else f"no {argument}"
        yield (stated if argument else expectation.type), " or ".join(ways)


def read_contract(spec: DatasetSpec, table: str, budget: Budget | None = None) -> tuple[Contract | None, list[Mistake]]:
    """The contract of a source or feature view, or the mistakes of its shape.

    Raises:
        TooMuch: the folder's budget does not suffice.
    """
    path = spec.contract_file(table)
    document = read(path, spec.relative(path), spec.folder, budget)
    if document.missing:
        fix = f"add {document.file}, with at least one expectation"
        return None, [Mistake(document.file, "", "no such file", f"the contract of {table}", fix)]
    if document.content is None:
        return None, document.mistakes
    contract, misshapen = shaped(Contract, document)
    mistakes = [*document.mistakes, *misshapen]
    for number, expectation in enumerate(stated_or(contract, "expectations", ())):
        given = expectation.arguments
        if budget is not None:
            budget.spend(nodes=arguments.cost(given))
        for name, stated, allowed, fix in arguments.refused(given):
            key = f"expectations.{number}.{name}"
            mistakes.append(Mistake(document.file, key, str(stated), allowed, fix, document.line(key)))
    return None if mistakes else contract, mistakes


def load_contract(spec: DatasetSpec, table: str) -> Contract:
    """The contract of a source or feature view.

    Raises:
        SpecError: with every mistake of the file.
    """
    contract, mistakes = read_contract(spec, table)
    if contract is None:
        raise spec_error(f"reading the contract {spec.contract_file(table)}", spec.name, mistakes)
    return contract
