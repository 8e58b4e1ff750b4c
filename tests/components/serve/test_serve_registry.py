"""The server beside a registry that is away, that a person changed, or that an earlier release filled."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import psycopg
import pytest

from evergreen.addresses import free_port
from evergreen.cli import main
from evergreen.errors import ArtifactUntrusted, EvidenceMissing
from evergreen.handovers.monitor import Quality
from evergreen.history import ledger
from evergreen.history.events import Adopted, Promoted
from evergreen.model.rows import inputs
from evergreen.monitor import stages as monitor
from evergreen.registry import artifacts, contents, loading, pipelines, promotion, records, store
from evergreen.registry import stages as registry
from evergreen.registry.adoption import adopt
from evergreen.registry.records import Candidate, Digest
from evergreen.serve.kept import Kept
from evergreen.serve.models import Models
from evergreen.serve.rollback import rollback
from tests.handovers import decided, judged, nothing_scored

from .cable import forwarded
from .conftest import ServedModel, SharedServer, at, beside, customer, rows_of, until


def answering(served: ServedModel) -> int:
    response = served.server.predict(served.name, entity={"customer_id": customer(1)})
    assert response.status_code == 200, response.text
    version: int = response.json()["version"]
    return version


def wait_for_problem(served: ServedModel, *parts: str) -> str:
    """What the server says is wrong, once it says all of that."""

    def problem() -> str:
        text: str = served.server.describe(served.name)["problem"] or ""
        return text if all(part in text for part in parts) else ""

    return str(until(problem, f"the server says {parts}", 50))


def test_a_server_that_starts_while_mlflow_is_away_serves_what_it_served_last(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    expected = alone.server.predict(alone.name, entity={"customer_id": customer(1)}).json()["predictions"]
    alone.server.stop()
    mlflow_url, away = alone.settings.mlflow_url, free_port()
    with monkeypatch.context() as patch:
        patch.setenv("EVERGREEN_MLFLOW_URL", f"http://127.0.0.1:{away}")
        server = alone.serve()
    answer = server.predict(alone.name, entity={"customer_id": customer(1)}).json()
    assert (answer["version"], answer["predictions"]) == (2, expected)
    assert server.describe(alone.name)["role"] == "champion"
    wait_for_problem(alone, "no answer", str(away))
    assert server.metric(f'evergreen_load_failures{{model="{alone.name}"}}') == 0, "nothing is wrong with the version"
    with forwarded(away, mlflow_url):
        until(lambda: server.describe(alone.name)["problem"] is None, "it finds MLflow when that is back", 50)
    assert answering(alone) == 2


@contextmanager
def silent(port: int) -> Iterator[None]:
    """The port takes connections within the block and never says a word, as a stopped process's does."""
    with socket.create_server(("127.0.0.1", port), backlog=128):
        yield


def test_a_server_that_starts_while_mlflow_hangs_serves_all_copies_at_once(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One short wait for all models together: a minute for each would be an outage."""
    alone.serve()
    shops = [alone, beside(alone)]
    for one in shops:
        one.champion(3)
    alone.server.stop()
    mlflow_url, hanging = alone.settings.mlflow_url, free_port()
    with silent(hanging):
        with monkeypatch.context() as patch:
            patch.setenv("EVERGREEN_MLFLOW_URL", f"http://127.0.0.1:{hanging}")
            server = alone.serve(wait=False)
        until(lambda: server.answers("/healthz"), "it is there", 60)
        started = time.monotonic()
        server.wait()
        assert time.monotonic() - started < 20, "the old wait is a minute for the first model alone"
        assert [answering(one) for one in shops] == [1, 1]
        wait_for_problem(alone, "no answer", str(hanging))
    with forwarded(hanging, mlflow_url):
        for one in shops:
            until(lambda one=one: server.describe(one.name)["problem"] is None, "MLflow is back", 50)
            assert server.describe(one.name)["role"] == "champion"


@pytest.mark.long
def test_a_model_that_somebody_works_on_for_long_keeps_no_other_from_being_looked_at(alone: ServedModel) -> None:
    alone.serve()
    other = beside(alone)
    for one in (alone, other):
        one.champion(3)
        one.champion(5)
    with store.locked(alone.name):  # a registration, or a deployment, of minutes
        for one in (alone, other):
            mlflow.MlflowClient().set_registered_model_alias(one.name, "champion", "1")
        wait_for_problem(other, "the alias champion names version 1")
        assert alone.server.describe(alone.name)["problem"] is None, "what is halfway is not told"
    wait_for_problem(alone, "the alias champion names version 1")


def test_a_deployment_during_a_look_is_not_called_one_by_hand(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.champion(3)
    second = served.registered(5).version
    models = Models([served.name])
    slot = models.slots[served.name]
    slot.put(1)
    look = slot.look

    def deployed_meanwhile(*compared: Any) -> None:
        """The look waits while the server loads the version, and has compared the one before."""
        slot.put(second)
        version = records.version(served.name, second)
        promotion.complete(
            promotion.intend(
                version, "promotion", store.champion(served.name), model=served.name, actor="ada", reason="better"
            )
        )
        look(*compared)

    monkeypatch.setattr(slot, "look", deployed_meanwhile)
    models._look()
    assert slot.current is not None
    assert (slot.current.version.number, slot.role, slot.problem) == (second, "champion", None)


def test_servers_of_one_home_leave_each_others_half_written_copies(tmp_path: Path) -> None:
    kept, other = Kept(tmp_path), tmp_path / "churn" / ".other"
    killed = tmp_path / "churn" / ".killed"
    for folder in (other, killed):
        folder.mkdir(parents=True)
    os.utime(killed, (time.time() - 7200,) * 2)
    for number in range(4):
        files = {"spec.json": str(number).encode()}
        digests = {name: Digest.of(content) for name, content in files.items()}
        kept.keep(Candidate(f"run{number}", "churn", "any", "m", digests), files)
        os.utime(tmp_path / "churn" / f"run{number}", (number, number))
    assert sorted(path.name for path in (tmp_path / "churn").iterdir()) == [".other", "run1", "run2", "run3"]


def test_what_a_person_changes_in_mlflow_is_told_and_changes_nothing(alone: ServedModel) -> None:
    """The alias moved, then deleted; a version by hand; the model renamed. The champion is what was promoted."""
    server = alone.serve()
    alone.champion(3)
    alone.champion(5)
    person = mlflow.MlflowClient()
    person.set_registered_model_alias(alone.name, "champion", "1")
    assert "give it back to version 2" in wait_for_problem(alone, "the alias champion names version 1")
    assert server.get("/readyz").json()["problems"][alone.name] == server.describe(alone.name)["problem"]
    assert server.metric(f'evergreen_problem{{model="{alone.name}"}}') == 1
    assert (answering(alone), server.describe(alone.name)["role"]) == (2, "champion")
    warned = monitor.alert(alone.run(6), Quality(missing={}), nothing_scored(), decided()).warnings
    assert any("the alias champion names version 1" in text for text in warned), "the owner is told"

    person.delete_registered_model_alias(alone.name, "champion")
    wait_for_problem(alone, "the alias champion names none")
    assert store.champion(alone.name) == records.version(alone.name, 2), "never 'no champion yet' when there was one"

    person.rename_registered_model(alone.name, f"{alone.name}_renamed")
    wait_for_problem(alone, f"MLflow has no registered model {alone.name}", "was it renamed?")
    assert store.champion(alone.name) == records.version(alone.name, 2)
    assert loading.load(alone.name, 2) is not None, "its files are where they were"

    person.rename_registered_model(f"{alone.name}_renamed", alone.name)
    person.set_registered_model_alias(alone.name, "champion", "2")
    until(lambda: server.describe(alone.name)["problem"] is None, "all is well again", 50)


def test_a_champion_that_was_deleted_in_mlflow_is_still_the_one_to_beat_and_can_be_left(alone: ServedModel) -> None:
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    mlflow.MlflowClient().delete_model_version(alone.name, "2")
    wait_for_problem(alone, "version 2, the champion, was deleted in MLflow", "evergreen registry restore")
    assert store.champion(alone.name) == records.version(alone.name, 2)
    assert rollback(alone.name, reason="deleted", actor="ada").version == 1
    assert (answering(alone), alone.aliases()) == (1, (1, 1))


def test_numbers_of_a_registered_model_that_was_deleted_are_not_used_again(served: ServedModel) -> None:
    served.champion(3)
    mlflow.MlflowClient().delete_registered_model(served.name)
    assert served.registered(5).version == 2, "version 1 means one candidate for good"


def log_reference(served: ServedModel, run_id: str) -> None:
    """The rows that the monitor compares with, as training writes them."""
    file = served.logs / "reference.parquet"
    inputs(served.spec.feature_types, rows_of(served.spec, 20, 0)).assign(prediction=0.5).to_parquet(file, index=False)
    mlflow.MlflowClient().log_artifact(run_id, str(file))


def of_an_earlier_release(served: ServedModel, day: int) -> int:
    """A version as earlier releases logged, registered and promoted it:
    nothing of it stands in Postgres but the promotion."""
    spec, recorded = served.spec, records.candidate(served.run_of(8000 + day))
    mlflow_client, source = mlflow.MlflowClient(), mlflow.get_run(recorded.run_id)
    tags = {
        "evergreen.key": f"old-{day}",
        "evergreen.as_of": at(day).isoformat(),
        "evergreen.family": "logistic_regression",
        "evergreen.reason": "scheduled",
    }
    with mlflow.start_run(experiment_id=source.info.experiment_id, tags=tags) as old:
        info = mlflow.sklearn.log_model(
            pipelines.pipeline(recorded.run_id),
            name="model",
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],
            pip_requirements=["scikit-learn"],
        )
        mlflow.set_tag("evergreen.model_uri", info.model_uri)
        for name, content in {
            "spec.json": spec.model_dump_json().encode(),
            "sample.json": artifacts.read(recorded, "sample.json"),
            "evaluation.json": json.dumps({"value": 0.7}).encode(),
        }.items():
            mlflow.log_text(content.decode(), name)
        log_reference(served, old.info.run_id)
    try:
        mlflow_client.create_registered_model(served.name)
    except mlflow.exceptions.RestException as error:
        assert error.error_code == "RESOURCE_ALREADY_EXISTS"
    model_id = info.model_uri.removeprefix("models:/")
    made = mlflow_client.create_model_version(
        served.name, info.model_uri, run_id=old.info.run_id, tags=tags, model_id=model_id
    )
    number = int(made.version)
    before = served.aliases()[0]
    if before is not None:
        mlflow_client.set_registered_model_alias(served.name, "last_known_good", str(before))
    mlflow_client.set_registered_model_alias(served.name, "champion", str(number))
    ledger.append(
        Promoted(
            id=f"promotion/{served.name}/{number}",
            model=served.name,
            as_of=at(day),
            actor="run old",
            reason="scheduled",
            taken_over=True,
            version=number,
            replaced=before,
            run_id=old.info.run_id,
            key=f"old-{day}",
        )
    )
    return number


def test_a_home_of_an_earlier_release_is_served_after_its_versions_were_adopted(
    alone: ServedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [of_an_earlier_release(alone, day) for day in (3, 5)] == [1, 2]
    server = alone.serve(wait=False, reload=2.0)
    server.wait(503)
    adopt = f"evergreen registry adopt {alone.name}"
    wait_for_problem(alone, "version 2 could not be loaded", "no digests were recorded", adopt)
    with pytest.raises(ArtifactUntrusted) as refused:
        registry.register(
            alone.run(7),
            judged(alone.run_of(8003), compared_with=2),
        )
    assert adopt in refused.value.next_step

    assert main(["registry", "adopt", alone.name, "--actor", "ada"]) == 0
    assert "adopted version 1, version 2" in capsys.readouterr().out
    until(lambda: server.describe(alone.name)["version"] == 2, "the server serves what was adopted", 60)
    assert answering(alone) == 2
    assert server.describe(alone.name)["role"] == "champion"
    adoptions = [entry.event for entry in ledger.entries(alone.name) if isinstance(entry.event, Adopted)]
    assert [(event.version, event.actor) for event in adoptions] == [(2, "ada"), (1, "ada")]
    assert set(adoptions[0].sha256) == {*contents.NEEDED, contents.Evaluation.NAME}
    assert main(["registry", "adopt", alone.name]) == 0
    assert "nothing, none lacks anything" in capsys.readouterr().out
    assert rollback(alone.name, reason="worse", actor="ada").version == 1


def test_a_champion_by_mlflows_alias_alone_is_no_champion_until_it_is_adopted(served: ServedModel) -> None:
    """The ledger was lost, or a person registered it: gates must not say that there is nothing to beat."""
    number = of_an_earlier_release(served, 3)
    with psycopg.connect(served.settings.database_url("evergreen")) as connection:
        connection.execute("alter table ledger disable trigger all")
        connection.execute("delete from ledger where model = %s", [served.name])
        connection.execute("alter table ledger enable trigger all")
    with pytest.raises(EvidenceMissing, match="the alias champion names version 1") as refused:
        store.champion(served.name)
    assert f"evergreen registry adopt {served.name}" in refused.value.next_step
    assert main(["registry", "adopt", served.name, "--actor", "ada"]) == 0
    champion = store.champion(served.name)
    assert champion is not None and champion.number == number
    assert ("promoted", number) in served.events()


def register_by_hand(model: str, run_id: str, model_id: str, tags: dict[str, str]) -> int:
    made = mlflow.MlflowClient().create_model_version(
        model, f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id
    )
    return int(made.version)


def test_versions_that_cannot_be_adopted_stop_no_other_and_are_told(
    served: ServedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old one whose run is gone, whose moment is none, whose run lacks its model, whose reference nobody can read;
    the newest is the champion."""
    person = mlflow.MlflowClient()
    numbers = [of_an_earlier_release(served, day) for day in (3, 4, 5, 6, 7)]
    gone, timeless, without, unread, good = numbers
    runs = {number: person.get_model_version(served.name, str(number)).run_id for number in numbers}
    person.set_tag(runs[timeless], "evergreen.as_of", "yesterday")
    person.set_model_version_tag(served.name, str(timeless), "evergreen.as_of", "yesterday")
    person.delete_tag(runs[without], "evergreen.model_uri")
    person.log_text(runs[unread], "no parquet", "reference.parquet")
    version = person.get_model_version(served.name, str(gone))
    person.delete_model_version(served.name, str(gone))
    gone = register_by_hand(served.name, "0" * 32, version.source.removeprefix("models:/"), version.tags)
    assert main(["registry", "adopt", served.name, "--actor", "ada"]) == 1
    said = capsys.readouterr()
    assert f"adopted version {good}\n" in said.out
    for number, why in {gone: "run", timeless: "yesterday", without: "evergreen.model_uri", unread: "parquet"}.items():
        assert f"version {number} was not adopted" in said.err and why in said.err
    assert records.numbers()[served.name] == {good}
    assert store.champion(served.name) == records.version(served.name, good)


def test_adoption_believes_no_tag_that_training_did_not_write(served: ServedModel, shared_server: SharedServer) -> None:
    """A version of another model's run, of a key that has one, of a later moment than its run's."""
    person, other = mlflow.MlflowClient(), shared_server.next_model()
    tags = {"evergreen.key": "key-5", "evergreen.as_of": at(5).isoformat(), "evergreen.family": "logistic_regression"}
    champion = of_an_earlier_release(served, 3)
    assert adopt(served.name, actor="ada").adopted == [champion]

    def refusal(run_id: str, **claimed: str) -> str:
        """Of a version with these tags, whose run has those of a training."""
        for name, text in tags.items():
            person.set_tag(run_id, name, text)
        number = register_by_hand(served.name, run_id, records.candidate(run_id).model_id, {**tags, **claimed})
        result = adopt(served.name, actor="ada", number=number)
        return result.refused[number].found if result.refused else "adopted"

    assert f"a run of {other.name}" in refusal(other.run_of(8103))
    own = served.run_of(8104)
    later = {"evergreen.as_of": at(500).isoformat()}
    assert refusal(own, **later) == f"evergreen.as_of {at(500).isoformat()!r}, and {at(5).isoformat()!r} of its run"
    assert "evergreen.key 'mine'" in refusal(own, **{"evergreen.key": "mine"})
    assert "evergreen.family" in refusal(own, **{"evergreen.family": "gradient_boosting"})
    assert records.numbers()[served.name] == {champion}
    assert refusal(own) == "adopted"
    assert "the key key-5 of version" in refusal(served.run_of(8105))
