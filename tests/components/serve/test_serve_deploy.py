"""Deployments: a champion always serves, the alias follows the server,
and nothing older or damaged replaces what serves."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest

from evergreen.errors import DeployRefused, EvidenceMissing, ServiceUnavailable, StageSkipped
from evergreen.history import ledger
from evergreen.history.events import Deploying, Promoted
from evergreen.links import Link
from evergreen.registry import promotion, store
from evergreen.registry import stages as registry
from evergreen.serve import deployment, replicas
from evergreen.serve import stages as serve
from evergreen.settings import settings
from tests.handovers import probed

from .conftest import ServedModel, at, beside, customer, until


def answering(served: ServedModel) -> int:
    """The version that answers a request; its answer is that version's."""
    response = served.server.predict(served.name, entity={"customer_id": customer(1)})
    assert response.status_code == 200, response.text
    version: int = response.json()["version"]
    assert response.json()["predictions"][0]["prediction"] == pytest.approx(served.answers(version)[1], abs=1e-12)
    return version


def test_a_version_is_deployed_and_the_ledger_says_who_when_what_and_why(served: ServedModel) -> None:
    first = served.champion(3)
    run = served.run(5, run_id="scheduled__5")
    registered = probed(registry.register(run, served.gated(5)))
    assert (answering(served), served.aliases()) == (first, (first, None)), "registering moves no traffic"
    deployed = serve.deploy(run, registered)
    assert (deployed.version, deployed.replaced, deployed.run) == (2, 1, registered.run)
    assert deployed.extra() == {"version": 2, "replaced": 1, "metric": "roc_auc", "score": 0.75}
    assert (answering(served), served.aliases()) == (2, (2, 1))
    assert deployed.links() == {
        Link.MLFLOW_RUN: registered.run.page,
        Link.MODEL_SERVER: f"{settings().server_url}/docs",
    }
    assert served.kinds()[-4:] == ["registered", "deploying", "deployed", "promoted"]
    event = ledger.entries(served.name)[-1].event
    assert event == Promoted(
        id=f"promotion/{served.name}/2",
        model=served.name,
        as_of=at(5),
        actor="run scheduled__5",
        reason="scheduled",
        version=2,
        replaced=1,
        run_id=registered.run.id,
        key=registered.key,
        decision_id=None,
    )


def test_a_candidate_that_did_not_pass_its_gates_makes_no_version(served: ServedModel) -> None:
    with pytest.raises(StageSkipped, match="worse than the champion"):
        registry.register(served.run(3), served.gated(3, passed=False))
    assert served.versions() == []


def test_no_endpoint_changes_what_is_served(served: ServedModel) -> None:
    """What serves follows from the ledger alone: whoever reaches the port can only ask."""
    number = served.registered(3).version
    response = served.server.post(f"/models/{served.name}/deploy", json={"version": number})
    assert response.status_code == 404, response.text
    changing = {
        (path, method)
        for path, methods in served.server.get("/openapi.json").json()["paths"].items()
        for method in methods
        if method != "get"
    }
    asking = {"predict", "infer", "{model}:predict", "invocations"}  # by any of the protocols
    told = {path.rpartition("/")[2] for path, _ in changing}
    assert told - {"predict"} == asking - {"predict"} and told <= asking, "`predict` is told of models that serve"
    assert served.server.describe(served.name)["version"] is None


def test_a_version_that_cannot_be_loaded_changes_nothing(served: ServedModel) -> None:
    good, bad = served.champion(3), served.damaged(5)
    before = served.aliases(), served.events()
    with pytest.raises(DeployRefused) as refused:
        serve.deploy(served.run(5), bad)
    assert "ModelUnloadable" not in refused.value.expected and f"version {bad.version}" in str(refused.value)
    assert (served.aliases(), served.events()) == before
    assert answering(served) == good
    described = served.server.describe(served.name)
    assert (described["version"], described["role"]) == (good, "champion")
    assert served.server.metric(f'evergreen_load_failures{{model="{served.name}"}}') == 1
    assert served.server.metric(f'evergreen_serving_version{{model="{served.name}"}}') == good
    assert served.server.get("/readyz").status_code == 200
    nothing_is_wrong(served)
    assert served.server.metric(f'evergreen_load_failures{{model="{served.name}"}}') == 1, "it is counted all the same"
    better = served.champion(6)
    assert answering(served) == better


def nothing_is_wrong(served: ServedModel) -> None:
    """A refused deployment is no problem of what serves: whoever asked was told, and no owner is alerted."""
    until(
        lambda: served.server.describe(served.name)["problem"] is None, "the refused version is not spoken of any more"
    )
    assert served.server.metric(f'evergreen_problem{{model="{served.name}"}}') == 0


def test_a_champion_by_hand_serves_nothing(
    alone: ServedModel,
) -> None:
    """Someone registered a model in MLflow's UI and gave it the alias: it lacks what Evergreen needs to know of it."""
    alone.serve()
    alone.champion(3)
    alone.champion(4)
    client = mlflow.MlflowClient(alone.settings.mlflow_url)
    source = client.get_run(alone.gated(5).run.id).data.tags["evergreen.model_uri"]
    model_id = source.removeprefix("models:/")
    by_hand = int(client.create_model_version(alone.name, source, model_id=model_id).version)
    client.set_registered_model_alias(alone.name, store.CHAMPION, str(by_hand))
    alone.server.stop()
    server = alone.serve()
    assert answering(alone) == 2, "what serves is what was promoted"
    problem = until(lambda: server.describe(alone.name)["problem"], "the server says what does not agree")
    assert f"the alias champion names version {by_hand}: give it back to version 2" in problem
    assert f"version {by_hand}: no training of this release registered it" in problem
    assert server.describe(alone.name)["role"] == "champion"


def test_a_promotion_is_recorded_only_after_the_replica_has_loaded_the_version(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, set[str], int | None]] = []
    complete = promotion.complete

    def watched(intent: Deploying) -> bool:
        said = replicas.said(served.name, intent.version)
        states = {each.state for each in said.live.values() if each is not None and each.intent == intent.id}
        seen.append((intent.version, states, served.server.describe(served.name)["version"]))
        return complete(intent)

    monkeypatch.setattr(promotion, "complete", watched)
    assert (served.champion(3), served.champion(5)) == (1, 2)
    assert seen == [(1, {"loaded"}, None), (2, {"loaded"}, 1)]
    assert (answering(served), served.aliases()) == (2, (2, 1))


def test_without_a_replica_nothing_is_promoted_and_a_retry_may_help(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "APPEARING", 0.5)
    registered = alone.registered(3)
    with pytest.raises(ServiceUnavailable, match="no live replica"):
        serve.deploy(alone.run(3), registered)
    assert (alone.aliases(), alone.events()) == ((None, None), [])
    alone.serve()
    assert serve.deploy(alone.run(3), registered).version == answering(alone) == 1


@pytest.mark.parametrize("killed_before", ["set_champion", "ledger"])
def test_a_deployment_that_is_killed_halfway_ends_the_same_when_run_again(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch, killed_before: str
) -> None:
    served.champion(3)
    registered = served.registered(5)

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((store, "set_champion") if killed_before == "set_champion" else (promotion, "complete")), kill)
        with pytest.raises(KeyboardInterrupt):
            serve.deploy(served.run(5), registered)
    assert serve.deploy(served.run(5), registered).version == 2
    assert (answering(served), served.aliases()) == (2, (2, 1))
    assert served.events() == [("promoted", 1), ("promoted", 2)]


def test_a_rerun_makes_no_second_version_and_no_second_event(served: ServedModel) -> None:
    served.champion(3)
    gated = served.gated(5)
    first = probed(registry.register(served.run(5), gated))
    deployed = serve.deploy(served.run(5), first)
    loaded = served.server.describe(served.name)["loaded_at"]
    again = probed(registry.register(served.run(5, run_id="manual__again"), gated))
    assert again == first
    assert serve.deploy(served.run(5, run_id="manual__again"), again) == deployed
    assert (served.versions(), served.aliases()) == ([1, 2], (2, 1))
    assert served.events() == [("promoted", 1), ("promoted", 2)]
    assert served.server.describe(served.name)["loaded_at"] == loaded, "what serves already is not loaded again"


def test_registering_the_same_training_at_once_makes_one_version(served: ServedModel) -> None:
    gated = served.gated(5)
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda _: registry.register(served.run(5), gated).version, range(4)))
    assert (numbers, served.versions()) == ([1] * 4, [1])


def test_an_older_moment_never_replaces_a_newer_champion(served: ServedModel) -> None:
    older = served.registered(3)
    newer = served.champion(5)
    with pytest.raises(StageSkipped, match="never replaces the newer champion"):
        serve.deploy(served.run(3), older)
    with pytest.raises(StageSkipped, match="never replaces the newer champion"):
        served.registered(4)
    assert (answering(served), served.aliases()) == (newer, (newer, None))
    assert served.versions() == [older.version, newer], "a backfill registers nothing"
    assert served.events() == [("promoted", newer)]


def test_of_two_deployments_at_once_one_serves_and_the_other_says_why_not(served: ServedModel) -> None:
    """Both were compared with no champion; the second is not better than the first for all that anybody knows."""
    runs = {day: served.registered(day) for day in (3, 4)}

    def deploy(day: int) -> int | None:
        try:
            return serve.deploy(served.run(day), runs[day]).version
        except (StageSkipped, EvidenceMissing):
            return None

    with ThreadPoolExecutor(2) as pool:
        deployed = [number for number in pool.map(deploy, (4, 3)) if number is not None]
    assert len(deployed) == 1 and answering(served) == served.aliases()[0] == deployed[0]


def test_a_model_whose_folder_is_new_since_the_servers_start_is_deployed(alone: ServedModel) -> None:
    server = alone.serve()
    new = beside(alone)
    new.champion(3)
    assert answering(new) == 1
    assert server.readiness() == {"ready": True, "missing": []}


def test_what_gates_said_of_a_version_ends_with_the_champion_that_they_compared_it_with(served: ServedModel) -> None:
    """Two trainings side by side, as a backfill may run them:
    both beat version 1, and nobody compared them with each other."""
    served.champion(3)
    one, other = served.registered(5), served.registered(7)
    serve.deploy(served.run(5), one)
    with pytest.raises(EvidenceMissing, match="version 3 was compared with version 1, and version 2 serves since"):
        serve.deploy(served.run(7), other)
    assert answering(served) == 2
    serve.deploy(served.run(5), one)  # the champion itself, cleared
    assert answering(served) == 2


def test_a_version_answers_by_the_spec_it_was_trained_with_whatever_becomes_of_the_folder(alone: ServedModel) -> None:
    """A feature that is renamed, or a file that is no spec any more: the champion serves on, also after a restart."""
    server = alone.serve()
    alone.champion(3)
    model_yaml = alone.spec.folder / "model.yaml"
    before = model_yaml.read_text()
    model_yaml.write_text(before.replace("sessions_3d", "sessions_lately"))
    assert model_yaml.read_text() != before
    assert answering(alone) == 1
    server.stop()
    alone.serve()
    assert answering(alone) == 1
    model_yaml.write_text("model: [")
    alone.server.stop()
    alone.serve()
    assert answering(alone) == 1
    assert alone.server.describe(alone.name)["role"] == "champion"


def test_a_version_whose_spec_this_release_cannot_read_is_refused(served: ServedModel) -> None:
    good, registered = served.champion(3), served.registered(5)
    served.rewrite(registered.run.id, "spec.json", json.dumps({"model": served.name}))
    with pytest.raises(DeployRefused, match="is nothing, where a value belongs"):
        serve.deploy(served.run(5), registered)
    assert answering(served) == good


def test_a_restart_serves_the_champion(alone: ServedModel) -> None:
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    alone.server.stop()
    alone.serve()
    assert answering(alone) == 2
    assert alone.server.describe(alone.name)["role"] == "champion"


def test_a_restart_whose_champion_cannot_be_loaded_serves_the_last_known_good_version(alone: ServedModel) -> None:
    """And one that can load neither says so until it is given a version that it can."""
    alone.serve()
    last_good = alone.registered(3, seed=900)
    serve.deploy(alone.run(3), last_good)
    champion = alone.registered(5, seed=901)
    serve.deploy(alone.run(5), champion)
    assert alone.aliases() == (2, 1)
    alone.damage(champion.run.id)
    alone.server.stop()

    server = alone.serve()  # waits for /readyz: a model that answers is ready
    assert answering(alone) == 1
    described = server.describe(alone.name)
    assert (described["version"], described["role"]) == (1, "last known good")
    assert "version 2 could not be loaded" in described["problem"]
    assert server.metric(f'evergreen_serving_last_known_good{{model="{alone.name}"}}') == 1
    assert server.metric(f'evergreen_serving_version{{model="{alone.name}"}}') == 1
    assert server.metric(f'evergreen_load_failures{{model="{alone.name}"}}') == 1
    server.stop()

    alone.damage(last_good.run.id)
    server = alone.serve()
    assert [server.describe(alone.name)[name] for name in ("version", "role")] == [2, "champion"], (
        "from the copy that it kept of it"
    )
    assert "version 2 could not be loaded" in server.describe(alone.name)["problem"]
    server.stop()

    shutil.rmtree(alone.settings.home / "served" / alone.name)
    server = alone.serve(wait=False)
    server.wait(503)
    assert server.get("/healthz").status_code == 200
    assert server.readiness() == {"ready": False, "missing": [alone.name]}
    assert server.predict(alone.name, entity={"customer_id": customer(1)}).status_code == 503

    other = beside(alone)
    other.champion(3)
    assert server.readiness() == {"ready": True, "missing": [alone.name]}, "a bad model disturbs no other one"
    assert answering(other) == 1
    alone.champion(7)
    assert server.readiness() == {"ready": True, "missing": []}
    assert answering(alone) == 3
    assert server.metric(f'evergreen_serving_last_known_good{{model="{alone.name}"}}') == 0
