"""Housekeeping deletes what is declared and nothing that a kept version needs: it is rebuilt to the same hash."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from evergreen import cli
from evergreen.errors import VersionGone
from evergreen.history import ledger
from evergreen.history.events import Retired
from evergreen.history.rollouts import Rollout, RolloutOpened
from evergreen.history.story import Standing
from evergreen.housekeeping import jobs
from evergreen.lake import catalogue, schema, tables
from evergreen.registry import artifacts, mlflow_server, tracking
from evergreen.registry import records as registry
from evergreen.registry.contents import NEEDED
from evergreen.serve import predictions
from evergreen.serve.predictions import Prediction, PredictionLog
from evergreen.settings import settings
from evergreen.spec.load import Declared
from evergreen.spec.retention import Retention
from evergreen.spec.schema import ModelSpec
from evergreen.status import facts
from evergreen.train.rebuilding import rebuild
from tests.delta_log import age

from .conftest import DAYS, at
from .history import publish
from .recorded import FAMILY, days, registered, trained

WEEK, DAY = timedelta(days=7), timedelta(days=1)


def declared(spec: ModelSpec, **kept: timedelta) -> Declared:
    model = spec.model_copy(update={"retention": Retention(**kept)})
    return Declared({spec.model: model.own_data()}, {spec.model: model})


def retire(spec: ModelSpec, number: int) -> None:
    ledger.append(Retired(id=f"r{number}", model=spec.model, as_of=None, actor="ada", reason="a test", version=number))


def test_kept_versions_are_rebuilt_to_the_same_hash_and_a_retired_one_is_gone(
    tiny: ModelSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = {}
    for value in (0.0, 10.0, 20.0):  # every old day is written anew before each training
        publish(tiny, *days(*range(DAYS), value=value))
        data, number = registered(tiny)
        hashes[number] = data.content_hash
    publish(tiny, *days(*range(DAYS), value=30.0))
    first, second, third = hashes
    retire(tiny, second)
    for table in (schema.FEATURES.of(tiny.model, "activity"), schema.LABELS.of(tiny.model, "left")):
        folder = Path(tables.table_path(table))
        for checkpoint in (folder / "_delta_log").glob("*checkpoint*"):
            checkpoint.unlink()  # it tells of today, and what it sums up is there
        age(folder, timedelta(days=365))
    house = jobs.houses(declared(tiny))[tiny.model]
    assert all(jobs.run(house, job) == [] for job in jobs.JOBS), "by default everything is kept"
    assert rebuild(tiny.model, second).data.content_hash == hashes[second]

    monkeypatch.setattr("evergreen.spec.load.load", lambda *_: declared(tiny, versions=WEEK))
    assert cli.main(["housekeeping", "--dry-run"]) == 0
    assert "files of old versions" in capsys.readouterr().out
    assert rebuild(tiny.model, second).data.content_hash == hashes[second], "a dry run does nothing"
    assert cli.main(["housekeeping", tiny.model]) == 0
    assert "files of old versions" in capsys.readouterr().out
    for number in (first, third):
        assert rebuild(tiny.model, number).data.content_hash == hashes[number]
    with pytest.raises(VersionGone, match=r"files are missing"):
        rebuild(tiny.model, second)
    assert cli.main(["housekeeping"]) == 0 and "files of old" not in capsys.readouterr().out


def test_what_is_declared_goes_and_what_is_needed_stays(tiny: ModelSpec) -> None:
    _, number = registered(tiny)
    rows = days(*range(DAYS))
    publish(tiny, *rows)
    raw, live = schema.RAW.of(tiny.model, "events"), schema.PREDICTIONS.of(tiny.model)
    stored = tables.read(schema.LABELS.of(tiny.model, "left"))
    assert stored is not None
    from evergreen.lake import partitions

    for day in range(-30, DAYS):
        key = (at(day) - DAY).date().isoformat()
        for table in (raw, live):
            catalogue.record(partitions.replace(table.at(key), stored.slice(0, 1), known_at=at(day)))
    log = PredictionLog()
    for day in (-30, -29, 18, 25):  # the last one is not in the lake
        row = Prediction(tiny.model, number, f"r{day}", 0, "c1", at(day) - DAY, None, {}, 0.5)
        log.append([row]).result(timeout=30)
    house = jobs.houses(declared(tiny, raw=DAY, labels=DAY, predictions=20 * DAY, log=DAY))[tiny.model]
    for job in jobs.JOBS:
        jobs.run(house, job, apply=False)
    assert len(tables.counts(raw)) == 30 + DAYS and len(predictions.days(tiny.model)) == 4
    with pytest.MonkeyPatch.context() as patch:
        opened = RolloutOpened.model_construct(as_of=at(-25), champion=number)
        patch.setattr(ledger, "standing", lambda model: Standing(rollout=Rollout(opened, 0, opened.as_of)))
        assert jobs.prediction_log(house, apply=True) == [], "an open rollout reads a week before it, too"
    for job in jobs.JOBS:
        jobs.run(house, job)
    log.close()
    kept = {table: sorted(tables.counts(table)) for table in (raw, live)}
    for table, needed in ((raw, house.needed(raw)), (live, 20 * DAY)):
        assert needed > DAY and len(kept[table]) == max(needed, house.needed(table)) // DAY
        assert kept[table] == sorted(catalogue.published(table))
    assert len(tables.counts(schema.LABELS.of(tiny.model, "left"))) == DAYS, "the training's window needs them"
    assert predictions.days(tiny.model) == [(at(day) - DAY).date() for day in (18, 25)]
    assert house.dataset is not None
    missing = facts.ingested(house.dataset, at(DAYS - 1)).intervals["missing"]
    assert not missing, "what was let go is not missing"
    assert rebuild(tiny.model, number).record.model == tiny.model


def test_candidates_that_became_no_version_go_with_their_files(tiny: ModelSpec) -> None:
    """Never one that is a version, by Evergreen or by hand, nor the last one of a family; somebody's own runs stay."""
    _, old = trained(tiny, DAYS - 6)
    data, number = registered(tiny, DAYS - 5)
    _, by_hand = trained(tiny, DAYS - 4)
    last, newest = trained(tiny, DAYS - 1)
    kept = registry.version(tiny.model, number).run_id
    mlflow = mlflow_server.client()
    mlflow.create_registered_model(f"{tiny.model}-by-hand")
    mlflow.create_model_version(f"{tiny.model}-by-hand", f"runs:/{by_hand}/model", by_hand)
    somebodys = mlflow.create_run(mlflow.get_run(old).info.experiment_id).info.run_id
    mlflow.set_terminated(somebodys)
    candidates = {run: registry.candidate(run) for run in (old, kept, by_hand, newest)}
    places = [
        mlflow.get_run(old).info.artifact_uri,
        mlflow.get_logged_model(candidates[old].model_id).artifact_location,
    ]

    def stored() -> list[bool]:
        return [bool(get_artifact_repository(place, settings().mlflow_url).list_artifacts()) for place in places]

    assert jobs.run(jobs.houses(declared(tiny))[tiny.model], "candidates") == [], "by default they are kept"
    longer = jobs.houses(declared(tiny, candidates=6 * DAY))[tiny.model]
    assert jobs.run(longer, "candidates") == [], "not that old yet"
    house = jobs.houses(declared(tiny, candidates=2 * DAY))[tiny.model]
    said = [f"candidates: 1 runs in MLflow, of trainings as of {at(DAYS - 6):%Y-%m-%d}"]
    assert jobs.run(house, "candidates", apply=False) == said
    assert stored() == [True, True] and registry.find_candidate(old) is not None, "a dry run does nothing"
    assert jobs.run(house, "candidates") == said
    assert jobs.run(house, "candidates") == []

    assert stored() == [False, False] and registry.find_candidate(old) is None
    assert {each.run_id for each in tracking.ended(tiny.model)} == {kept, by_hand, newest}
    assert mlflow.get_run(somebodys).info.lifecycle_stage == "active"
    for run in (kept, by_hand, newest):
        assert all(artifacts.read(candidates[run], name) for name in NEEDED)
    assert rebuild(tiny.model, number).data.content_hash == data.content_hash
    assert tracking.last_key(tiny.model, FAMILY, before=at(DAYS)) == last.key
    _, again = trained(tiny, DAYS - 6)
    assert again != old and registry.candidate(again), "what went is made anew for whoever asks for it"


def test_pages_and_hand_overs_go_by_their_age(tiny: ModelSpec) -> None:
    import os
    import time

    page, other = (settings().reports / tiny.model / "drift" / f"{name}.html" for name in ("old", "new"))
    for file in (page, other):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("points")
    os.utime(page, (time.time() - 10 * 86400,) * 2)
    assert jobs.run(jobs.houses(declared(tiny))[tiny.model], "reports") == []
    assert jobs.run(jobs.houses(declared(tiny, reports=WEEK))[tiny.model], "reports") == ["reports: 1 pages"]
    assert not page.exists() and other.exists()
