"""A correction: what its dry run lists is what it changes, and nothing else; a kill in between changes nothing of that.
Rows in quarantine are shown, released and sent back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evergreen.correct import planning
from evergreen.errors import ContractBroken
from evergreen.features import online_values
from evergreen.handovers.correct import Change, Planned
from evergreen.history import ledger
from evergreen.history.events import Corrected
from evergreen.lake import tables
from evergreen.lake.schema import RAW
from evergreen.loops import inline
from evergreen.loops.inline import Skipped
from evergreen.run import DatasetRun

from .conftest import batch_of, churn, everything, ingest, run_of

INGESTED = 4


def correction(day: int, *, dry_run: bool = False) -> DatasetRun:
    return dataclasses.replace(run_of(day), run_id="c1", reason="sent again", triggered_by="ada", dry_run=dry_run)


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def send_again(landing: Path, day: int, minutes: int) -> None:
    """A day's sessions, the first one with another length, and its customers without the last one."""
    file = batch_of(landing, "usage", day)
    header, first, *others = lines(file)
    cells = dict(zip(header.split(","), first.split(","), strict=True)) | {"minutes": str(minutes)}
    file.write_text("\n".join([header, ",".join(cells.values()), *others]) + "\n")
    file = batch_of(landing, "customers", day)
    file.write_text("\n".join(lines(file)[:-1]) + "\n")


@pytest.fixture
def ingested(own_landing: Path) -> Path:
    for day in range(INGESTED):
        ingest(run_of(day))
    return own_landing


def online_by_view(customers: list[str]) -> dict[str, dict[str, Any]]:
    """view → customer → its values and their moment."""
    spec = churn()
    answers = online_values.read(spec, [{"customer_id": customer} for customer in customers])
    return {
        view: {
            customer: (answer["views_at"][view], {name: answer["features"][name] for name in declared.features})
            for customer, answer in zip(customers, answers, strict=True)
        }
        for view, declared in spec.features.items()
    }


def customers() -> list[str]:
    table = tables.read(RAW.of("churn", "customers"), columns=["customer_id"])
    assert table is not None
    return sorted(set(table["customer_id"].to_pylist()))


def listed(planned: Planned) -> Iterator[tuple[str, Change]]:
    """Every partition that a plan lists, as `everything` names it."""
    for name, source in planned.sources.items():
        yield f"raw/{name}/{planned.partition}", source.published
        yield f"quarantine/{name}/{planned.partition}", source.quarantined
    for view, changes in planned.features.items():
        yield from ((f"features/{view}/{partition}", change) for partition, change in changes.items())
    for partition, change in planned.labels.get("churn", {}).items():
        yield f"labels/churned/{partition}", change


def check(landing: Path, day: int) -> Planned:
    """Correct a day: what its dry run lists is what changes, partition by partition and value by value."""
    everybody = customers()
    before, online_before = everything(churn()), online_by_view(everybody)
    send_again(landing, day, 777)
    dry = inline.run(correction(day, dry_run=True), "correct")
    planned = dry["plan"]
    assert isinstance(planned, Planned) and not planned.nothing
    assert all(isinstance(result, Skipped) for name, result in dry.items() if name != "plan")
    assert everything(churn()) == before, "a dry run changes nothing"
    assert inline.run(correction(day), "correct")["plan"] == planned
    after, online_after = everything(churn()), online_by_view(everybody)

    named = dict(listed(planned))
    written = {name for name, change in named.items() if name.startswith(("features", "labels")) or not change.same}
    catalogued = {name for name in after["catalogue"] if after["catalogue"][name] != before["catalogue"].get(name)}
    assert {name for name in catalogued if not name.startswith("online")} == written
    assert {name for name in after["lake"] if after["lake"][name] != before["lake"].get(name)} == {
        name for name in written if not named[name].same
    }
    for name in written:
        rows = before["lake"].get(name, (None,))[0], after["lake"][name][0]
        assert rows == (named[name].before, named[name].rows), name
    assert {name for name in catalogued if name.startswith("online")} == {
        f"online/{view}/{partition}" for view, online in planned.online.items() for partition in online.partitions
    }
    changed = {
        view: sum(online_after[view][one] != online_before[view][one] for one in everybody) for view in online_after
    }
    assert changed == {view: planned.online[view].entities if view in planned.online else 0 for view in changed}
    assert sum(changed.values())
    return planned


def test_a_dry_run_lists_exactly_what_is_changed_and_a_kill_in_between_ends_the_same(ingested: Path) -> None:
    assert planning.plan(correction(2)).nothing
    old, new = check(ingested, 2), check(ingested, 3)
    assert len(old.features["activity"]) == 2 and new.online["account"].entities == 1, "one is withdrawn"
    assert old.models == ("churn", "newsletter", "tickets"), "each uses a view that changes"
    assert [change.same for change in old.labels["churn"].values()] == [True], "computed again, and said to be the same"
    (event, _) = [entry.event for entry in ledger.entries("churn", "corrected")]
    assert isinstance(event, Corrected)
    assert (event.actor, event.reason, event.partition) == ("ada, run c1", "sent again", old.partition)
    assert event.sources["usage"].rows == old.sources["usage"].published.rows

    killed(ingested, 3, "publish_features")
    ended = everything(churn())
    assert len(ledger.entries("churn", "corrected")) == 3, "one of each batch, however often its correction was begun"
    inline.run(correction(3), "ingest")
    assert everything(churn()) == ended, "an ingestion leaves what the correction left"


@pytest.mark.long
@pytest.mark.parametrize("stage", ["begin", "publish", "validate_features", "materialize"])
def test_a_kill_after_any_step_ends_the_same(ingested: Path, stage: str) -> None:
    killed(ingested, 3, stage)
    assert len(ledger.entries("churn", "corrected")) == 1


def killed(landing: Path, day: int, stage: str) -> None:
    """A correction is killed after a step, and run again."""
    send_again(landing, day, 1)
    inline.run(correction(day), "correct", last=stage)
    inline.run(correction(day), "correct")
    assert planning.plan(correction(day)).nothing


def test_a_batch_that_breaks_a_contract_is_told_before_anything_is_changed(own_landing: Path) -> None:
    ingest(run_of(0))
    before, file = everything(churn()), batch_of(own_landing, "customers")
    file.write_text(lines(file)[0] + "\n")  # a day without customers is a broken export
    with pytest.raises(ContractBroken, match="customers: expect_table_row_count_to_be_between"):
        inline.run(correction(0), "correct")
    assert everything(churn()) == before
