"""Probing: a version must answer as in training, in a fresh `python -m evergreen.serve`, before it may take traffic."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import pytest

from evergreen.addresses import free_port
from evergreen.errors import EvidenceMissing, ModelUnloadable, ServiceUnavailable
from evergreen.registry import artifacts, records
from evergreen.serve import stages as serve
from tests.handovers import tracked

from .conftest import ServedModel, SharedServer, until


@pytest.fixture(scope="module")
def probed_model(shared_server: SharedServer) -> ServedModel:
    return shared_server.next_model()


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    yield
    commands = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a server of another test, which ends
            commands.append(child.cmdline())
    left = [command for command in commands if "--until-stdin-closes" in command]
    assert not left, "the probe's process is gone afterwards, whatever it found"


def test_a_fresh_process_answers_as_in_training(probed_model: ServedModel) -> None:
    run, registered = probed_model.run(3), probed_model.registered(3)
    assert serve.probe(run, registered) == registered.model_copy(update={"probed": 20})
    assert probed_model.server.describe(probed_model.name)["version"] is None, "probing moves no traffic"
    assert probed_model.logged() == {}, "and logs no predictions"


def test_a_damaged_version_is_unloadable(probed_model: ServedModel) -> None:
    damaged = probed_model.damaged(4)
    with pytest.raises(ModelUnloadable) as refused:
        serve.probe(probed_model.run(4), damaged)
    assert "status 1" in refused.value.found
    assert "model.skops" in refused.value.found and "was changed" in refused.value.found, "it says why"
    assert "Fatal Python error" not in refused.value.found


def test_what_a_version_is_loaded_from_may_answer_another_time(
    probed_model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample is read before the outage, the model after it began."""
    registered = probed_model.registered(4)
    read = artifacts.read

    def then_away(candidate: records.Candidate, name: str, patience: artifacts.Patience) -> bytes:
        content = read(candidate, name, patience)
        monkeypatch.setenv("EVERGREEN_MLFLOW_URL", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        return content

    monkeypatch.setattr(artifacts, "read", then_away)
    with pytest.raises(ServiceUnavailable, match="status 75"):
        serve.probe(probed_model.run(4), registered)


def test_a_version_that_answers_otherwise_than_in_training_is_refused(probed_model: ServedModel) -> None:
    registered = probed_model.registered(5, seed=920)
    sample = json.loads(artifacts.read(records.candidate(registered.run.id), "sample.json"))
    sample["rows"][7]["prediction"] += 1e-4
    probed_model.rewrite(registered.run.id, "sample.json", json.dumps(sample))
    with pytest.raises(ModelUnloadable) as refused:
        serve.probe(probed_model.run(5), registered)
    assert "0.0001" in refused.value.found


def test_a_version_without_its_training_answers_is_not_probed(probed_model: ServedModel) -> None:
    registered = probed_model.registered(6, seed=921)
    client = mlflow.MlflowClient(probed_model.settings.mlflow_url)
    empty = client.create_run(client.create_experiment(f"{probed_model.name}/empty")).info.run_id
    records.add_candidate(dataclasses.replace(records.candidate(registered.run.id), run_id=empty))
    with pytest.raises(EvidenceMissing, match=r"sample\.json"):
        serve.probe(probed_model.run(6), registered.model_copy(update={"run": tracked(empty)}))


def test_the_probes_process_ends_with_the_one_that_started_it(alone: ServedModel, tmp_path: Path) -> None:
    """A task that is killed cannot stop its probe; the pipe between them closes in any case."""
    number = alone.registered(3).version
    pipe = tmp_path / "stdin"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    server = alone.serve("--model", f"{alone.name}={number}", "--until-stdin-closes", stdin=str(pipe))
    assert server.alive
    os.close(held)
    until(lambda: not server.alive, "the probe ends")
