"""Pinned means pinned: the training set of a registered version is built again whatever happened to the lake since,
and where it cannot, the message says why."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from evergreen import cli
from evergreen.database import connect
from evergreen.errors import EvidenceMissing, TrainingSetChanged, VersionGone
from evergreen.history import events, ledger, timeline
from evergreen.lake import schema, tables
from evergreen.registry import tracking
from evergreen.registry.tags import Tag
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import records, stages
from evergreen.train.rebuilding import rebuild
from tests.delta_log import age

from .conftest import DAYS, at, run_as_of
from .history import publish
from .recorded import MISSING, days, registered, trained

YEAR = timedelta(days=365)


def folder(spec: ModelSpec, table: schema.TableId) -> Path:
    return Path(tables.table_path(table))


def joined(spec: ModelSpec) -> tuple[schema.TableId, schema.TableId]:
    return schema.FEATURES.of(spec.model, "activity"), schema.LABELS.of(spec.model, "left")


def test_the_training_set_of_a_version_is_built_again_after_a_year_of_commits(
    tiny: ModelSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, number = registered(tiny)
    for table in joined(tiny):
        age(folder(tiny, table), YEAR)
    publish(tiny, *days(*range(DAYS), value=5000.0))  # every old day is written anew, over two checkpoints
    publish(tiny, *days(*range(DAYS, DAYS + 4)))
    for table in joined(tiny):
        assert DeltaTable(str(folder(tiny, table))).version() > 40
        assert not DeltaTable(str(folder(tiny, table))).vacuum()
    rebuilt = rebuild(tiny.model, number)
    assert (rebuilt.data.content_hash, rebuilt.data.versions) == (data.content_hash, data.versions)
    assert stages.build(run_as_of(tiny)).content_hash != data.content_hash, "the lake of now has other rows"

    output = tmp_path / "rows.parquet"
    assert cli.main(["rebuild", tiny.model, str(number), "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert data.content_hash in said and "as it was recorded" in said
    assert f"features/activity: version {data.versions['features/activity']}" in said
    assert pq.read_table(output).num_rows == data.staged.rows
    assert records.pins(tiny.model) == {number: rebuilt.record.pins}


def test_a_day_that_is_filled_changes_no_version_and_a_new_training_says_by_which_days_its_data_differs(
    tiny: ModelSpec,
) -> None:
    before, number = registered(tiny)
    publish(tiny, *days(MISSING))
    filled = (at(MISSING) - timedelta(days=1)).date().isoformat()

    assert rebuild(tiny.model, number).data.content_hash == before.content_hash
    after, run_id = trained(tiny)
    assert after.key != before.key and after.differs is not None, "its batch counts as known by then"
    assert (after.differs.key, after.differs.added) == (before.key, (filled,))
    assert not (after.differs.changed or after.differs.removed)
    assert before.differs is None
    assert stages.build(run_as_of(tiny)).differs == after.differs, "a rerun says the same"
    assert filled in tracking.tags(run_id)[Tag.DIFFERS]
    recorded = [entry.event for entry in ledger.entries(tiny.model) if isinstance(entry.event, events.Trained)]
    assert [event.differs for event in recorded] == [None, events.DataDiffers(**dict(after.differs))]
    assert filled in timeline.describe(recorded[-1])
    assert trained(tiny, DAYS - 2)[0].differs is None, "nothing was trained as of that moment"
    assert rebuild(tiny.model, number).data.content_hash == before.content_hash


def test_a_correction_is_a_day_that_changed(tiny: ModelSpec) -> None:
    before, _ = trained(tiny)
    corrected, outcomes = days(10)
    publish(tiny, [row | {"minutes": 7.0} for row in corrected], outcomes)
    differs = stages.build(run_as_of(tiny)).differs
    assert differs is not None and differs.key == before.key
    assert differs.changed == ((at(10) - timedelta(days=1)).date().isoformat(),)


def test_files_that_are_gone_are_gone_and_rows_that_were_changed_are_changed(tiny: ModelSpec) -> None:
    data, number = registered(tiny)
    features = joined(tiny)[0]
    joined_then = DeltaTable(str(folder(tiny, features)), data.versions[features.seen_from(tiny.model)])
    victim, other = sorted(joined_then.file_uris())[3:5]
    whole = Path(victim).read_bytes()

    Path(victim).write_bytes(Path(other).read_bytes())
    with pytest.raises(TrainingSetChanged) as changed:
        rebuild(tiny.model, number)
    assert data.content_hash in changed.value.expected and "2026-01-0" in changed.value.found

    Path(victim).unlink()
    with pytest.raises(VersionGone, match=Path(victim).name):
        rebuild(tiny.model, number)
    Path(victim).write_bytes(whole)
    assert rebuild(tiny.model, number).data.content_hash == data.content_hash

    for commit in (folder(tiny, features) / "_delta_log").iterdir():
        commit.unlink()
    with pytest.raises(VersionGone, match="no such table"):
        rebuild(tiny.model, number)


def test_a_version_of_the_release_before_is_built_again_from_what_its_run_in_mlflow_says(
    tiny: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    data, number = registered(tiny)
    forget_records(tiny)
    publish(tiny, *days(MISSING))
    assert rebuild(tiny.model, number).data.content_hash == data.content_hash
    assert cli.main(["rebuild", tiny.model, str(number)]) == 0
    assert "by an earlier release" in capsys.readouterr().out

    from mlflow import MlflowClient

    forget_records(tiny)
    from evergreen.registry import records as registry

    MlflowClient(settings().mlflow_url).delete_tag(registry.version(tiny.model, number).run_id, Tag.VERSIONS)
    with pytest.raises(EvidenceMissing, match=Tag.VERSIONS):
        rebuild(tiny.model, number)


def forget_records(spec: ModelSpec) -> None:
    with connect() as connection:
        connection.execute("delete from training_sets where model = %s", [spec.model])


def test_what_is_no_version_has_no_training_set(tiny: ModelSpec, capsys: Any) -> None:
    registered(tiny)
    assert cli.main(["rebuild", tiny.model, "99"]) == 1
    assert "version 99" in capsys.readouterr().err
