"""Whoever can write to MLflow's artifact store, or to its registry:
nothing of theirs runs, nothing of theirs answers."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts
import pytest
import skops.io
import yaml

from evergreen.errors import (
    ArtifactUntrusted,
    DeployRefused,
    EvergreenError,
    ModelUnloadable,
    RequestRefused,
    ServiceUnavailable,
)
from evergreen.handovers.train import Probed
from evergreen.model import families
from evergreen.registry import adoption, artifacts, contents, loading, pipelines, records
from evergreen.registry import stages as registry
from evergreen.serve import stages as serve
from evergreen.settings import settings
from tests.components.serve.conftest import (
    Forker,
    ServedModel,
    SharedServer,
    alone,
    customer,
    forker,
    running_shared_server,
    served,
    until,
)

__all__ = ["alone", "forker", "served"]


@pytest.fixture(scope="module")
def shared_server(
    forker: Forker, postgres_url: str, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedServer]:
    with running_shared_server(
        "forged", forker, postgres_url, mlflow_url, tmp_path_factory.mktemp("forged")
    ) as shared_server:
        yield shared_server


class Payload:
    """What a pickle of it does when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def model_id(candidate: records.Candidate) -> str:
    return candidate.model_id


def candidate(run_id: str) -> records.Candidate:
    return records.candidate(run_id)


def put(run_id: str, name: str, content: bytes, folder: Path) -> None:
    """As an attacker does: a file of a candidate is another one."""
    file = folder / Path(name).name
    file.write_bytes(content)
    client = mlflow.MlflowClient()
    if name != contents.GRAPH and name.startswith(("MLmodel", "model.", "code/")):
        client.log_model_artifact(candidate(run_id).model_id, str(file))
    else:
        client.log_artifact(run_id, str(file))


def stored(run_id: str, name: str) -> Path:
    """Where a file of a candidate lies in the artifact store."""
    store = Path(os.environ["EVERGREEN_TEST_SERVICES"]) / "mlflow"
    logged = candidate(run_id)
    owner = logged.model_id if name == contents.PIPELINE else run_id
    (path,) = [path for path in store.rglob(name) if owner in path.parts]
    return path


def own(served: ServedModel, day: int, seed: int) -> Probed:
    """A registered version whose files no other model of the tests shares."""
    return served.registered(day, seed=seed)


def test_a_pickle_and_a_changed_mlmodel_run_nowhere(alone: ServedModel, tmp_path: Path) -> None:
    """Server, probe and worker load the version as before; MLflow's own loader would have run the pickle."""
    alone.serve()
    registered = own(alone, 3, 7001)
    run_id, marker = registered.run.id, tmp_path / "marker"
    put(run_id, "model.pkl", pickle.dumps(Payload(marker)), tmp_path)
    uri = f"models:/{candidate(run_id).model_id}"
    folder = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))
    described = yaml.safe_load((Path(folder) / "MLmodel").read_text())
    described["flavors"]["sklearn"] |= {"pickled_model": "model.pkl", "serialization_format": "pickle", "code": "code"}
    put(run_id, "MLmodel", yaml.safe_dump(described).encode(), tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sitecustomize.py").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()")
    mlflow.MlflowClient().log_model_artifacts(candidate(run_id).model_id, str(tmp_path / "code"))
    mlflow.sklearn.load_model(uri)
    assert marker.exists(), "the attack works on who believes the artifact"
    marker.unlink()

    assert serve.probe(alone.run(3), registered).probed == 20
    assert serve.deploy(alone.run(3), registered).version == 1
    loading.load(alone.name, 1)
    alone.server.stop()
    alone.serve()
    assert alone.server.describe(alone.name)["role"] == "champion"

    put(run_id, contents.PIPELINE, pickle.dumps(Payload(marker)), tmp_path)
    with pytest.raises(ArtifactUntrusted, match=contents.PIPELINE):
        loading.load(alone.name, 1)
    assert not marker.exists()


def test_types_that_are_not_the_familys_own_are_refused_even_with_a_recorded_digest(
    served: ServedModel, tmp_path: Path
) -> None:
    """As an adoption by mistake would leave it: the second lock holds without the first."""
    registered = own(served, 3, 7002)
    recorded = records.candidate(registered.run.id)
    good = pipelines.pipeline(recorded.run_id)
    for name, content in {
        "a pickle": pickle.dumps(Payload(tmp_path / "marker")),
        "another family's types": skops.io.dumps(families.build("gradient_boosting", {}, {"x": "float"}, 0)),
        "no pipeline": skops.io.dumps({"a": 1}),
        "packed": skops.io.dumps(good, compression=8),
        "no archive": b"damaged",
    }.items():
        with pytest.raises(ModelUnloadable) as refused:
            pipelines.parse_pipeline(content, recorded.family, name)
        assert "skops" in refused.value.expected
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", [contents.PIPELINE, contents.GRAPH])
def test_changed_coefficients_are_no_champion(alone: ServedModel, name: str, tmp_path: Path) -> None:
    """The last known good version answers, and the server says which file differs, with both digests."""
    alone.graphs = name == contents.GRAPH
    alone.serve()
    first = own(alone, 3, 7003)
    serve.deploy(alone.run(3), first)
    second = own(alone, 5, 7004)
    serve.deploy(alone.run(5), second)
    run_id = second.run.id
    expected, right = records.candidate(run_id).files[name], alone.answers(1)
    turned = pipelines.pipeline(run_id)
    turned[-1].coef_ *= -3
    content = skops.io.dumps(turned)
    if alone.graphs:
        content = alone.graph(content)
    put(run_id, name, content, tmp_path)
    changed = records.Digest.of(content).sha256

    alone.server.stop()
    server = alone.serve()
    answer = server.predict(alone.name, entity={"customer_id": customer(1)}).json()
    assert (answer["version"], answer["predictions"][0]["prediction"]) == (1, pytest.approx(right[1], abs=1e-12))
    described = server.describe(alone.name)
    assert described["role"] == "last known good"
    for part in ("version 2 could not be loaded", name, changed, expected.sha256):
        assert part in described["problem"]
    assert described["problem"] in server.get("/readyz").json()["problems"][alone.name]
    assert server.metric(f'evergreen_load_failures{{model="{alone.name}"}}') == 1
    assert server.metric(f'evergreen_problem{{model="{alone.name}"}}') == 1
    for way in (lambda: loading.load(alone.name, 2), lambda: serve.probe(alone.run(5), second)):
        with pytest.raises(EvergreenError, match=changed):
            way()


@pytest.mark.parametrize("name", [contents.SpecCopy.NAME, contents.Sample.NAME, contents.Reference.NAME])
def test_a_file_that_is_changed_before_registration_makes_no_version(
    served: ServedModel, name: str, tmp_path: Path
) -> None:
    gated = served.gated(3, seed=7005)
    content = artifacts.read(records.candidate(gated.run.id), name)
    put(gated.run.id, name, content.replace(b"e", b"E", 1), tmp_path)
    with pytest.raises(ArtifactUntrusted, match=name):
        registry.register(served.run(3), gated)
    assert served.versions() == []


def test_a_spec_that_is_changed_afterwards_serves_nothing(served: ServedModel, tmp_path: Path) -> None:
    registered = own(served, 3, 7006)
    spec = served.spec.model_dump_json().replace(served.spec.description, "another one").encode()
    put(registered.run.id, contents.SpecCopy.NAME, spec, tmp_path)
    with pytest.raises(DeployRefused, match=records.Digest.of(spec).sha256):
        serve.deploy(served.run(3), registered)


@pytest.mark.parametrize("name", [contents.PIPELINE, contents.GRAPH])
def test_a_copy_on_the_servers_disk_that_is_changed_is_not_served(
    alone: ServedModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.graphs = name == contents.GRAPH
    alone.serve()
    registered = own(alone, 3, 7007)
    serve.deploy(alone.run(3), registered)
    alone.server.stop()
    kept = alone.settings.home / "served" / alone.name / registered.run.id / name
    assert kept.stat().st_mode & 0o077 == 0 and kept.parent.stat().st_mode & 0o077 == 0
    content = kept.read_bytes()
    kept.write_bytes(content[:-9] + bytes(9))
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", "http://127.0.0.1:9")
    server = alone.serve(wait=False)
    server.wait(503)
    until(lambda: server.describe(alone.name)["problem"], "it says why")
    assert server.predict(alone.name, entity={"customer_id": customer(1)}).status_code == 503
    problem = server.describe(alone.name)["problem"]
    assert str(kept) in problem and "was changed" in problem


def test_links_and_paths_lead_nowhere(served: ServedModel, tmp_path: Path) -> None:
    """A link in the artifact store to a secret of the machine, and a tag that names a path in place of a model."""
    registered = own(served, 3, 7008)
    secret = tmp_path / "secret"
    secret.write_text("a password of this machine")
    for name in (contents.SpecCopy.NAME, contents.PIPELINE):
        place = stored(registered.run.id, name)
        before = place.read_bytes()
        place.unlink()
        place.symlink_to(secret)
        with pytest.raises(DeployRefused) as refused:
            serve.deploy(served.run(3), registered)
        assert "password" not in str(refused.value)
        place.unlink()
        place.write_bytes(before)
    mlflow.MlflowClient().set_tag(registered.run.id, "evergreen.model_uri", f"models:/../../{tmp_path}")
    assert serve.deploy(served.run(3), registered).version == 1, "where the model lies stands in Postgres"
    for path in ("../../../../etc/passwd", "/etc/passwd", "..%2f..%2fetc/passwd"):
        with pytest.raises((EvergreenError, RequestRefused)):
            artifacts.download(registered.run.id, f"../{path}", contents.PIPELINE)


def test_a_huge_file_costs_no_memory_and_no_time(served: ServedModel) -> None:
    registered = own(served, 3, 7009)
    place = stored(registered.run.id, contents.SpecCopy.NAME)
    before = place.read_bytes()
    with place.open("wb") as file:
        file.truncate(4 << 30)  # no bytes on the disk
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(ArtifactUntrusted, match="more than"):
        loading.spec(served.name, records.version(served.name, 1))
    assert tracemalloc.get_traced_memory()[1] < 32 << 20 and time.monotonic() - started < 10
    tracemalloc.stop()
    place.write_bytes(before)


@pytest.mark.parametrize("head", ["content-length: 1000", "transfer-encoding: chunked"])
def test_a_store_that_drips_holds_nothing_for_ever(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the file never ends."""
    drop = b"1\r\nx\r\n" if "chunked" in head else b"x"

    def drip(listener: socket.socket) -> None:
        near, _ = listener.accept()
        with near, suppress(OSError):
            near.recv(65536)
            near.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
            for _ in range(200):  # 20 s
                near.sendall(drop)
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener, monkeypatch.context() as patch:
        patch.setenv("EVERGREEN_MLFLOW_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        settings.cache_clear()
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        started = time.monotonic()
        with pytest.raises(ServiceUnavailable, match="no end"):
            artifacts.download("run", "model", contents.SpecCopy.NAME, patience=artifacts.Patience(2, 5, 1))
        assert time.monotonic() - started < 10
    settings.cache_clear()


def test_what_an_attacker_registers_is_not_adopted(served: ServedModel, tmp_path: Path) -> None:
    """Adoption trusts a person's word, and no artifact's:
    the file must be its family's, and answer as the sample says."""
    made = own(served, 3, 7010)
    shared = mlflow.MlflowClient().get_run(made.run.id)
    forged = mlflow.MlflowClient().create_run(shared.info.experiment_id).info.run_id
    good = records.candidate(made.run.id)
    for name in (contents.SpecCopy.NAME, contents.Sample.NAME, contents.Reference.NAME, contents.Evaluation.NAME):
        content = b"{}" if name == contents.Evaluation.NAME else artifacts.read(good, name)
        if name == contents.Sample.NAME:
            content = content.replace(b'"prediction": 0.', b'"prediction": 0.9', 1)
        file = tmp_path / name
        file.write_bytes(content)
        mlflow.MlflowClient().log_artifact(forged, str(file))
    tags = {
        "evergreen.key": "forged",
        "evergreen.as_of": "2027-01-01T00:00:00+00:00",
        "evergreen.family": "logistic_regression",
    }
    mlflow.MlflowClient().create_model_version(
        served.name, f"models:/{good.model_id}", run_id=forged, tags=tags, model_id=good.model_id
    )
    for tag, text in {**tags, "evergreen.model_uri": f"models:/{good.model_id}"}.items():
        mlflow.MlflowClient().set_tag(forged, tag, text)
    refused = adoption.adopt(served.name, actor="ada", number=2).refused[2]
    assert isinstance(refused, ModelUnloadable) and "from those of training" in refused.found
    assert records.numbers()[served.name] == {1} and ("adoption", 2) not in served.events()
