"""What was begun is finished by its recorded intent: by a retry, a rollback, or a server;
and nothing that nobody intended is promoted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
import pytest

from evergreen.errors import DeployRefused, EvidenceMissing, NothingToRollBackTo, ServiceUnavailable, StageSkipped
from evergreen.history import ledger
from evergreen.history.events import Deploying, NotDeployed, RolledBack
from evergreen.registry import promotion, records, store
from evergreen.registry.restoring import restore, retire
from evergreen.serve import deployment, replicas
from evergreen.serve import stages as serve
from evergreen.serve.rollback import rollback

from .conftest import ServedModel, customer, until
from .test_serve_rollback import answering, back, kill, without_mlflow


@contextmanager
def killed_before(place: object, name: str) -> Iterator[None]:
    """Within the block this process is killed before it does something."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(place, name, kill)
        yield


def pending(served: ServedModel) -> tuple[str, int] | None:
    intent = ledger.standing(served.name).pending
    return None if intent is None else (intent.purpose, intent.version)


def ends(served: ServedModel) -> list[NotDeployed]:
    return [entry.event for entry in ledger.entries(served.name) if isinstance(entry.event, NotDeployed)]


def test_the_intent_stands_in_the_ledger_before_the_server_is_asked(served: ServedModel) -> None:
    served.champion(3)
    registered = served.registered(5)
    with killed_before(deployment, "confirmed"):
        serve.deploy(served.run(5), registered)
    assert (pending(served), answering(served)) == (("promotion", 2), 1)
    (intent,) = [
        e.event
        for e in ledger.entries(served.name, "deploying")
        if e.event.id == f"deploying/{served.name}/promotion/2"
    ]
    assert isinstance(intent, Deploying)
    assert (intent.replaces, intent.actor, intent.key) == (1, "run test__5", registered.key)
    serve.deploy(served.run(5), registered)
    assert (pending(served), answering(served)) == (None, 2)
    assert served.kinds().count("deploying") == 2, "the retry goes on with its intent"


def test_a_rollback_ends_a_deployment_that_never_reached_the_server(served: ServedModel) -> None:
    """Nobody saw that version answer: it is no champion, and not what is rolled back from."""
    served.champion(3)
    served.champion(5)
    registered = served.registered(7)
    with killed_before(deployment, "confirmed"):
        serve.deploy(served.run(7), registered)
    rolled_back = back(served)
    assert (rolled_back.left, rolled_back.version, answering(served)) == (2, 1, 1)
    (ended,) = ends(served)
    assert (ended.version, "begun by run test__7" in ended.reason) == (3, True)
    assert not records.version(served.name, 3).rolled_back and pending(served) is None
    with pytest.raises(EvidenceMissing, match="was compared with version 2, and version 1 serves since"):
        serve.deploy(served.run(7), registered)


def test_a_deployment_that_the_server_refused_is_over_and_the_next_try_is_another(served: ServedModel) -> None:
    served.champion(3)
    bad = served.damaged(5)
    for attempt in (1, 2):
        with pytest.raises(DeployRefused):
            serve.deploy(served.run(5), bad)
        assert pending(served) is None
        assert len(ends(served)) == attempt and "refused" in ends(served)[-1].reason
    assert len({ended.intent for ended in ends(served)}) == 2
    back_to_nothing = pytest.raises(NothingToRollBackTo)
    with back_to_nothing:
        back(served)
    assert answering(served) == 1


def test_an_intent_stands_while_nobody_knows_whether_replicas_will_load_it(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.champion(3)
    registered = served.registered(5)
    with monkeypatch.context() as patch:
        patch.setattr(deployment, "APPEARING", 0.2)
        patch.setattr(replicas, "said", lambda *_: replicas.Said({}, {}))
        with pytest.raises(ServiceUnavailable, match="no live replica"):
            serve.deploy(served.run(5), registered)
    assert pending(served) == ("promotion", 2) and ends(served) == []
    serve.deploy(served.run(5), registered)
    assert (pending(served), answering(served)) == (None, 2)


@pytest.mark.parametrize("loaded", [True, False])
def test_another_deployment_first_ends_what_a_killed_one_left(served: ServedModel, loaded: bool) -> None:
    """It never served, whether the replicas had loaded it or not."""
    served.champion(3)
    killed, other = served.registered(5), served.registered(7)
    with killed_before(*((promotion, "complete") if loaded else (deployment, "confirmed"))):
        serve.deploy(served.run(5), killed)
    assert answering(served) == 1
    serve.deploy(served.run(7), other)
    assert (answering(served), ledger.standing(served.name).last_known_good) == (3, 1)
    assert [ended.version for ended in ends(served)] == [2]


def test_a_server_that_restarts_in_the_middle_of_a_rollback_starts_with_the_good_version(alone: ServedModel) -> None:
    """The person wanted the bad one gone; no retry comes by itself."""
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    alone.server.stop()
    with killed_before(deployment, "confirmed"):
        rollback(alone.name, reason="complaints", actor="ada")
    server = alone.serve()
    assert answering(alone) == 1
    until(lambda: ledger.standing(alone.name).champion == 1, "the server recorded the rollback", 50)
    event = ledger.entries(alone.name)[-1].event
    assert isinstance(event, RolledBack) and (event.actor, event.reason, event.left) == ("ada", "complaints", 2)
    # The server shows it in MLflow after the ledger has it.
    until(lambda: alone.aliases() == (1, 1), "MLflow shows the rollback", 50)
    until(lambda: server.describe(alone.name)["problem"] is None, "nothing is left to do", 50)
    assert records.version(alone.name, 2).rolled_back


def test_a_server_that_restarts_in_the_middle_of_a_deployment_keeps_the_champion_and_tells(alone: ServedModel) -> None:
    """Nobody has seen the version answer: one that kills the server would kill it again at each start."""
    alone.serve()
    alone.champion(3)
    registered = alone.registered(5)
    with killed_before(deployment, "confirmed"):
        serve.deploy(alone.run(5), registered)
    alone.server.stop()
    server = alone.serve()
    assert answering(alone) == 1
    problem = until(lambda: server.describe(alone.name)["problem"], "it tells what was not finished", 50)
    assert "run test__5 began a promotion to version 2, and did not end it: clear `deploy`" in problem
    serve.deploy(alone.run(5), registered)
    assert answering(alone) == 2
    until(lambda: server.describe(alone.name)["problem"] is None, "it is finished", 50)


def test_a_rollback_that_was_killed_is_finished_by_the_next_one_whoever_gives_it(alone: ServedModel) -> None:
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    alone.server.stop()  # a replica would finish it too
    with killed_before(deployment, "confirmed"):
        rollback(alone.name, reason="complaints", actor="ada")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "confirmed", lambda intent: None)
        rolled_back = rollback(alone.name, reason="complaints too", actor="grace")
    alone.serve()
    assert (rolled_back.left, rolled_back.version, answering(alone)) == (2, 1, 1)
    event = ledger.entries(alone.name)[-1].event
    assert isinstance(event, RolledBack) and (event.actor, event.reason) == ("ada", "complaints")
    assert "begun by ada" in rolled_back.message
    assert store.disagreements(alone.name) == []


def test_a_rollback_that_was_killed_is_carried_out_and_recorded_by_the_replicas(alone: ServedModel) -> None:
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    with without_mlflow(), killed_before(deployment, "confirmed"):
        rollback(alone.name, reason="complaints", actor="ada")
    until(lambda: answering(alone) == 1, "the intent is followed", 2)
    until(lambda: ledger.standing(alone.name).champion == 1, "a replica recorded the rollback", 50)
    assert alone.events() == [("promoted", 1), ("promoted", 2), ("rolled back", 1)]


@pytest.mark.long
def test_a_first_version_that_never_reached_the_server_is_deployed_by_the_retry(alone: ServedModel) -> None:
    """Whatever restarted in between, and whoever looked at the registry."""
    alone.serve()
    registered = alone.registered(3)
    with killed_before(deployment, "confirmed"):
        serve.deploy(alone.run(3), registered)
    alone.server.stop()
    alone.serve()
    response = alone.server.predict(alone.name, entity={"customer_id": customer(1)})
    assert response.status_code == 503, "no promotion is in the ledger: nothing should serve yet"
    with pytest.raises(EvidenceMissing, match="no promotion in the ledger"):
        restore(alone.name, actor="ada")
    assert (pending(alone), ledger.standing(alone.name).champion) == (("promotion", 1), None)
    serve.deploy(alone.run(3), registered)
    assert (pending(alone), answering(alone), ledger.standing(alone.name).champion) == (None, 1, 1)


@pytest.mark.long
def test_a_registry_that_is_set_right_leaves_the_intent_to_its_retry(served: ServedModel) -> None:
    served.champion(3)
    registered = served.registered(5)
    with killed_before(deployment, "confirmed"):
        serve.deploy(served.run(5), registered)
    mlflow.MlflowClient().delete_registered_model_alias(served.name, "champion")
    assert restore(served.name, actor="ada")
    assert (pending(served), answering(served)) == (("promotion", 2), 1)
    serve.deploy(served.run(5), registered)
    assert (pending(served), answering(served), served.aliases()) == (None, 2, (2, 1))


def test_a_version_that_is_retired_before_it_reached_the_server_is_not_waited_for(served: ServedModel) -> None:
    """The way out that leaves the champion alone: a rollback would take it too."""
    served.champion(3)
    registered = served.registered(5)
    with killed_before(deployment, "confirmed"):
        serve.deploy(served.run(5), registered)
    retire(served.name, 2, reason="not wanted", actor="ada")
    assert (pending(served), answering(served), ledger.standing(served.name).champion) == (None, 1, 1)
    (ended,) = ends(served)
    assert (ended.version, ended.reason) == (2, "its version was retired: not wanted")
    with pytest.raises(StageSkipped, match="version 2 was retired"):
        serve.deploy(served.run(5), registered)
    assert pending(served) is None
