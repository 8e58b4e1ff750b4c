"""Whoever writes to MLflow and to Postgres, and has no key: nothing of theirs answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import mlflow
import pytest
import skops.io
from moto import mock_aws

from evergreen import cli
from evergreen.errors import ArtifactUntrusted, EvergreenError, PermanentError, RequestRefused
from evergreen.explain import explaining
from evergreen.history import ledger
from evergreen.history.events import Signed
from evergreen.registry import adoption, contents, loading, pipelines, records, signatures, signing_keys
from evergreen.registry import stages as registry
from evergreen.registry.tags import Tag
from evergreen.reproduce.repeating import Repetition
from evergreen.serve import stages as serve
from evergreen.settings import settings
from tests.components.serve.conftest import (
    Forker,
    ServedModel,
    SharedServer,
    alone,
    customer,
    forker,
    rows_of,
    running_shared_server,
    served,
)

from .test_artifacts import own, put

__all__ = ["alone", "forker", "served"]
Use = Callable[..., None]


@pytest.fixture(scope="module")
def shared_server(
    forker: Forker, postgres_url: str, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedServer]:
    folder = tmp_path_factory.mktemp("signed")
    with running_shared_server("signed", forker, postgres_url, mlflow_url, folder) as shared_server:
        yield shared_server


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Sets the key that signs, and those that verify, by the names of files; one that is named first is made."""

    def use(signs: str = "", *verify: str) -> None:
        for name in filter(None, (signs, *verify)):
            if not (tmp_path / f"{name}.key").exists() and not name.startswith(signing_keys.KMS):
                private, public = signing_keys.generate()
                (tmp_path / f"{name}.key").write_bytes(private)
                (tmp_path / f"{name}.pub").write_bytes(public)
        of_a_file = signs and not signs.startswith(signing_keys.KMS)
        monkeypatch.setenv("EVERGREEN_SIGNING_KEY", str(tmp_path / f"{signs}.key") if of_a_file else signs)
        monkeypatch.setenv("EVERGREEN_PUBLIC_KEYS", ",".join(str(tmp_path / f"{name}.pub") for name in verify))
        settings.cache_clear()

    yield use
    monkeypatch.undo()
    settings.cache_clear()


def with_reference(served: ServedModel, seed: int) -> int:
    """The seed of a candidate that has what the monitor compares with, at which an adoption looks."""
    run_id, spec = served.run_of(seed), served.spec
    rows = rows_of(spec, 10, seed).assign(**dict.fromkeys(spec.problem.outputs, 0.5))
    content = contents.Reference(rows).to_bytes()
    served.put(run_id, contents.Reference.NAME, content)
    records.add_file(run_id, contents.Reference.NAME, content)
    return seed


def signed(model: str) -> list[Signed]:
    return [entry.event for entry in ledger.entries(model, "signed") if isinstance(entry.event, Signed)]


@pytest.mark.parametrize("name", [contents.PIPELINE, contents.GRAPH])
def test_a_file_whose_digest_was_written_anew_is_no_champion(
    alone: ServedModel, name: str, tmp_path: Path, use: Use
) -> None:
    """The last known good version answers, and the server says why; probe, `reproduce`, `explain` and the next
    registration refuse."""
    use("ours")
    alone.graphs = name == contents.GRAPH
    alone.serve()
    serve.deploy(alone.run(3), own(alone, 3, 7101))
    second = own(alone, 5, 7102)
    serve.deploy(alone.run(5), second)
    run_id, right = second.run.id, alone.answers(1)
    turned = pipelines.pipeline(run_id)
    turned[-1].coef_ *= -3
    content = skops.io.dumps(turned)
    if alone.graphs:
        content = alone.graph(content)
    put(run_id, name, content, tmp_path)
    records.add_file(run_id, name, content)  # as who writes to Postgres does

    alone.server.stop()
    server = alone.serve()
    answer = server.predict(alone.name, entity={"customer_id": customer(1)}).json()
    assert (answer["version"], answer["predictions"][0]["prediction"]) == (1, pytest.approx(right[1], abs=1e-12))
    described = server.describe(alone.name)
    assert described["role"] == "last known good"
    for part in ("version 2 could not be loaded", f"the recorded digests of {name} are not those that were signed"):
        assert part in described["problem"]
    for way in (
        lambda: loading.load(alone.name, 2),
        lambda: serve.probe(alone.run(5), second),
        lambda: Repetition(alone.name, 2),
        lambda: explaining._Loaded.of(alone.name, records.version(alone.name, 2)),
        lambda: registry.register(alone.run(7), alone.gated(7, seed=7103)),
    ):
        with pytest.raises(EvergreenError, match="not those that were signed"):
            way()
    if name == contents.PIPELINE:
        refused = adoption.adopt(alone.name, actor="ada", number=2, reason="it looks right").refused[2]
        assert "from those of training" in refused.found, "its answers are not those that training wrote down"


def test_keys_come_late_change_and_go_and_a_named_person_adopts(
    served: ServedModel, use: Use, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = served.name
    assert own(served, 3, with_reference(served, 7111)).version == 1
    loading.load(model, 1)
    assert signed(model) == [], "without a key nothing is signed, and nothing asked for"

    use("old")
    with pytest.raises(ArtifactUntrusted, match="it is not signed"):
        loading.load(model, 1)
    assert cli.main(["registry", "adopt", model]) == 1
    assert "no --actor and no --reason" in capsys.readouterr().err
    with pytest.raises(ArtifactUntrusted, match="it is not signed"):
        loading.load(model, 1)
    assert cli.main(["registry", "adopt", model, "--actor", "ada", "--reason", "older than the key"]) == 0
    assert "adopted version 1" in capsys.readouterr().out
    loading.load(model, 1)
    (first,) = signed(model)
    assert (first.by, first.actor, first.reason, first.version) == ("adoption", "ada", "older than the key", 1)
    assert cli.main(["registry", "adopt", model, "--actor", "ada", "--reason", "again"]) == 0
    assert "nothing" in capsys.readouterr().out and len(signed(model)) == 1

    second = own(served, 5, with_reference(served, 7112))
    loading.load(model, second.version)
    assert (signed(model)[-1].by, signed(model)[-1].version) == ("registration", 2)
    registry.register(served.run(5), served.gated(5, seed=7112))
    assert len(signed(model)) == 2, "a rerun signs nothing"
    shown = mlflow.MlflowClient(settings().mlflow_url).get_model_version(model, "2").tags[Tag.SIGNATURE]
    assert shown == f"{signed(model)[-1].signed_by}:{signed(model)[-1].signature}"

    use("new")
    with pytest.raises(ArtifactUntrusted, match="which does not count"):
        loading.load(model, 2)
    use("new", "old")  # the keys are changed: the new one signs, both count
    third = own(served, 7, 7113)
    for number in (1, 2, 3):
        loading.load(model, number)
    assert signed(model)[-1].signed_by != signed(model)[0].signed_by
    use("new")  # and the old one goes
    loading.load(model, third.version)
    assert adoption.adopt(model, actor="ada", number=2, reason="the old key was lost").adopted == [2]
    loading.load(model, 2)
    use("", "new")  # as a server has it
    loading.load(model, 2)
    with pytest.raises(ArtifactUntrusted):
        loading.load(model, 1)

    records.add_file(second.run.id, contents.GRAPH, b"which is answered with where there is one")
    with pytest.raises(ArtifactUntrusted, match=contents.GRAPH):
        loading.load(model, 2)
    (tmp_path / "new.pub").write_bytes(b"none")
    with pytest.raises(PermanentError, match="EVERGREEN_PUBLIC_KEYS"):
        loading.load(model, 2)


def test_a_signature_of_another_version_or_of_another_hand_is_none(served: ServedModel, use: Use) -> None:
    """What stands in the ledger is believed as far as its signature goes."""
    use("theirs")
    model, number = served.name, own(served, 3, 7121).version
    other = own(served, 5, 7122)
    use("ours", "ours")
    (of_first, of_second) = signed(model)
    version = records.version(model, number)
    for forged in (
        of_first.model_copy(update={"id": "signed/a", "signed_by": signing_keys.signing_key().public.id}),  # type: ignore[union-attr]
        of_second.model_copy(update={"id": "signed/b", "version": number}),
    ):
        ledger.append(forged)
        with pytest.raises(ArtifactUntrusted):
            signatures.check(model, version, records.candidate(version.run_id))
    use("theirs")
    loading.load(model, number)
    loading.load(model, other.version)


def test_a_key_in_kms_signs_and_its_public_half_alone_verifies(
    served: ServedModel, use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        kms = boto3.client("kms")
        key, rsa = (
            kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec=spec)["KeyMetadata"]["KeyId"]
            for spec in ("ECC_NIST_P256", "RSA_2048")
        )
        use(f"awskms:{key}")
        registered = own(served, 3, 7131)
        loading.load(served.name, registered.version)
        pem = signing_keys.signing_key().public.pem  # type: ignore[union-attr]
        use(f"awskms:{rsa}")
        with pytest.raises(PermanentError, match="ECC_NIST_P256"):
            signing_keys.signing_key()
        use("awskms:12345678-1234-1234-1234-123456789012")
        with pytest.raises(RequestRefused, match="AWS KMS"):
            signing_keys.signing_key()
    use("", "of_kms")
    (tmp_path / "of_kms.pub").write_text(pem)
    loading.load(served.name, registered.version)
    use("other", "other")
    with pytest.raises(ArtifactUntrusted, match="which does not count"):
        loading.load(served.name, registered.version)
