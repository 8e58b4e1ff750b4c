"""A correction: what its dry run lists is what it changes, and nothing else; a kill in between changes nothing of that.
Rows in quarantine are shown, released and sent back."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evergreen import cli
from evergreen.correct import planning
from evergreen.erasure import erasing
from evergreen.errors import ContractBroken
from evergreen.features import online_rows
from evergreen.handovers.correct import Change, Planned
from evergreen.handovers.ingest import Published
from evergreen.history import ledger
from evergreen.history.events import Corrected
from evergreen.lake import rewriting, tables
from evergreen.lake.schema import FEATURES, RAW
from evergreen.loops import inline
from evergreen.loops.inline import Skipped
from evergreen.run import DatasetRun
from evergreen.settings import settings
from evergreen.spec.load import load

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
    answers = online_rows.read(spec, [{"customer_id": customer} for customer in customers])
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


def erased(person: str) -> str:
    """Erase a customer; returns the erasure's id."""
    report = erasing.erase(
        load(settings().models, settings().data), "customer", person, actor="ada", reason="request 7", apply=True
    )
    assert report.id is not None and report.places
    return report.id


def held(person: str) -> dict[str, int]:
    """Where the lake has a customer, and how many rows; and the online store."""
    data = churn().datasets["churn"]
    keyed = rewriting.Key(frozenset({"customer_id"}), person)
    raw = [RAW.of("churn", source) for source in data.sources]
    features = [FEATURES.of("churn", view) for view in data.features]
    counts = {str(table): sum(rewriting.held(table, keyed).values()) for table in (*raw, *features)}
    (answer,) = online_rows.read(churn(), [{"customer_id": person}])
    counts["online"] = int(answer["features_at"] is not None)
    return {place: rows for place, rows in counts.items() if rows}


def without(file: Path, person: str) -> None:
    """Take a customer out of a batch, as its owner does."""
    file.write_text("\n".join(line for line in lines(file) if person not in line.split(",")) + "\n")


def test_who_was_erased_stays_out_while_the_batch_is_the_same(ingested: Path, caplog: pytest.LogCaptureFixture) -> None:
    person = lines(batch_of(ingested, "usage", 2))[5].split(",")[1]
    assert len(held(person)) > 4
    erased(person)
    assert held(person) == {}
    before = everything(churn())
    assert planning.plan(correction(2)).nothing
    with caplog.at_level(logging.INFO):
        for day in range(INGESTED):
            ingest(run_of(day))
    assert held(person) == {} and everything(churn()) == before
    assert "erased rows stay out, its batch is the same" in caplog.text


def test_a_batch_that_may_bring_back_who_was_erased_is_told_before_and_after(
    ingested: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [line.split(",")[1] for line in lines(batch_of(ingested, "usage", 2))[1:]]
    person = own[5]
    id = erased(person)
    send_again(ingested, 2, 555)
    planned = planning.plan(correction(2))
    assert planned.erasures == (id,)
    assert (planned.sources["usage"].erased, planned.sources["usage"].back) == (own.count(person),) * 2
    assert cli.main(["correct", "churn", "--day", "2026-01-03"]) == 0
    said = capsys.readouterr().out
    assert "WHO WAS ERASED MAY COME BACK into usage" in said and id in said and "evergreen erase" in said
    assert person not in said
    with caplog.at_level(logging.WARNING):
        published = inline.run(correction(2), "correct")["publish"]
    assert isinstance(published, Published) and f"{own.count(person)} rows of keys" in " ".join(published.warnings)
    assert f"{own.count(person)} rows of keys" in caplog.text and person not in caplog.text
    # Of `customers`, whose batch is another one too, but not of the others.
    assert {place for place in held(person) if "raw" in place} == {"churn/raw/usage", "churn/raw/customers"}

    assert erased(person) != id and held(person) == {}
    for source in ("usage", "customers"):
        without(batch_of(ingested, source, 2), person)
    taken_out = planning.plan(correction(2))
    assert taken_out.erasures == () and not any(source.back for source in taken_out.sources.values())
    assert not taken_out.sources["usage"].same
    assert inline.run(correction(2), "correct")["publish"].warnings == ()
    assert held(person) == {} and planning.plan(correction(2)).nothing
