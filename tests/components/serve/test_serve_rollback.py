"""Rollback: one command back to the last known good version, harmless to repeat, and never undone by a rerun."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import mlflow
import psycopg
import pytest
from psycopg import sql

from evergreen.addresses import free_port
from evergreen.cli import main
from evergreen.errors import DeployRefused, EvidenceMissing, NothingToRollBackTo, StageSkipped
from evergreen.features import online_tables
from evergreen.features.online_rows import Features
from evergreen.features.repository import feature_store
from evergreen.handovers.rollback import RolledBack
from evergreen.history import events as happened
from evergreen.history import ledger
from evergreen.registry import promotion, records, store
from evergreen.registry import stages as registry
from evergreen.registry.tags import Tag
from evergreen.serve import deployment
from evergreen.serve import stages as serve
from evergreen.serve.rollback import rollback
from evergreen.settings import settings
from tests.handovers import probed

from .conftest import ServedModel, at, customer, until


def back(served: ServedModel, reason: str = "complaints") -> RolledBack:
    return rollback(served.name, reason=reason, actor="ada")


def answering(served: ServedModel) -> int:
    version: int = served.server.predict(served.name, entity={"customer_id": customer(1)}).json()["version"]
    return version


def test_the_last_known_good_version_serves_again_and_the_ledger_says_why(served: ServedModel) -> None:
    served.champion(3)
    served.champion(5)
    result = back(served)
    assert (result.left, result.version) == (2, 1)
    assert "complaints" in result.message
    assert (answering(served), served.aliases()) == (1, (1, 1))
    assert served.kinds()[-3:] == ["deploying", "deployed", "rolled back"]
    event = ledger.entries(served.name)[-1].event
    assert event == happened.RolledBack(
        id=f"rollback/{served.name}/2",
        model=served.name,
        as_of=at(5),
        actor="ada",
        reason="complaints",
        version=1,
        left=2,
    )
    assert records.version(served.name, 2).rolled_back and not records.version(served.name, 1).rolled_back


def test_a_version_rolled_back_from_is_not_promoted_again_by_a_rerun(served: ServedModel) -> None:
    served.champion(3)
    registered = served.registered(5)
    serve.deploy(served.run(5), registered)
    back(served)
    with pytest.raises(StageSkipped, match="version 2 was rolled back from"):
        registry.register(served.run(5), served.gated(5))
    with pytest.raises(StageSkipped, match="version 2 was rolled back from"):
        serve.deploy(served.run(5), registered)
    assert (answering(served), served.aliases(), served.versions()) == (1, (1, 1), [1, 2])


def test_a_rollback_goes_back_once(served: ServedModel) -> None:
    served.champion(3)
    served.champion(5)
    back(served)
    before = served.aliases(), served.events()
    with pytest.raises(NothingToRollBackTo) as refused:
        back(served)
    assert "version 1" in refused.value.found
    assert (answering(served), (served.aliases(), served.events())) == (1, before)


def test_the_command_rolls_back_and_says_so(served: ServedModel, capsys: pytest.CaptureFixture[str]) -> None:
    served.champion(3)
    served.champion(5)
    command = ["rollback", served.name, "--reason", "complaints", "--actor", "ada"]
    assert main(command) == 0
    assert "version 1 serves again" in capsys.readouterr().out
    assert (answering(served), ledger.entries(served.name)[-1].event.actor) == (1, "ada")
    assert main(command) == 1
    assert "next step: train a better version" in capsys.readouterr().err


def test_a_rollback_that_names_its_version_is_done_once(served: ServedModel) -> None:
    """A task may be cleared long after another version has taken the champion's place."""
    for day in (3, 5):
        served.champion(day)
    rollback(served.name, reason="complaints", actor="ada", version=2)
    assert served.champion(7) == 3
    before = served.aliases(), served.events()
    again = rollback(served.name, reason="complaints", actor="ada", version=2)
    assert (again.left, again.version) == (2, 3) and "before; the champion is version 3" in again.message
    with pytest.raises(NothingToRollBackTo) as refused:
        rollback(served.name, reason="complaints", actor="ada", version=1)
    assert "version 3" in refused.value.found and "version 1" in refused.value.expected
    with pytest.raises(EvidenceMissing, match="no such version"):
        rollback(served.name, reason="complaints", actor="ada", version=9)
    assert (answering(served), (served.aliases(), served.events())) == (3, before)


def kill(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.long
@pytest.mark.parametrize("named", [None, 3])
@pytest.mark.parametrize("killed", [None, "deploy", "mark_rolled_back", "set_champion"])
def test_a_deployment_that_was_killed_halfway_can_be_rolled_back_from(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch, named: int | None, killed: str | None
) -> None:
    """The server serves version 3 and the alias says 2: neither may 2 be marked, nor 3 come back by a retry."""
    served.champion(3)
    served.champion(5)
    registered = served.registered(7)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store, "set_champion", kill)
        serve.deploy(served.run(7), registered)
    assert (answering(served), served.aliases()) == (3, (2, 1))
    if killed:  # the rollback, too, before it does that
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(*((deployment, "confirmed") if killed == "deploy" else (store, killed)), kill)
            rollback(served.name, reason="complaints", actor="ada", version=named)
    rolled_back = rollback(served.name, reason="complaints", actor="ada", version=named)
    assert (rolled_back.left, rolled_back.version, answering(served), served.aliases()) == (3, 2, 2, (2, 2))
    assert records.version(served.name, 3).rolled_back and not records.version(served.name, 2).rolled_back
    assert served.events() == [("promoted", 1), ("promoted", 2), ("promoted", 3), ("rolled back", 2)]
    with pytest.raises(StageSkipped, match="version 3 was rolled back from"):
        serve.deploy(served.run(7), registered)
    assert answering(served) == 2


def test_a_champion_that_the_server_cannot_load_is_what_is_rolled_back_from(alone: ServedModel) -> None:
    """Its number may be below that of the version that answers in its place:
    of two trainings side by side, the one as of the later day was registered first."""
    server = alone.serve()
    later, earlier = alone.registered(7, seed=911), alone.registered(5)
    serve.deploy(alone.run(5), earlier)
    serve.deploy(alone.run(7), later.model_copy(update={"compared_with": 2}))
    assert alone.aliases() == (1, 2)
    alone.damage(later.run.id)
    server.stop()
    alone.serve()
    assert answering(alone) == 2
    with pytest.raises(NothingToRollBackTo) as refused:
        rollback(alone.name, reason="complaints", actor="ada", version=2)
    assert refused.value.found == "champion: version 1"
    assert rollback(alone.name, reason="complaints", actor="ada").message.startswith(
        f"{alone.name}: version 2 serves again"
    )
    assert (answering(alone), alone.aliases()) == (2, (2, 2))
    assert records.version(alone.name, 1).rolled_back and not records.version(alone.name, 2).rolled_back


def test_the_first_version_has_nothing_to_roll_back_to(served: ServedModel) -> None:
    with pytest.raises(NothingToRollBackTo):
        back(served)
    served.champion(3)
    with pytest.raises(NothingToRollBackTo):
        back(served)
    assert (answering(served), served.aliases(), served.events()) == (1, (1, None), [("promoted", 1)])
    assert not records.version(served.name, 1).rolled_back


def test_after_a_rollback_the_next_version_serves_and_can_be_rolled_back_from(served: ServedModel) -> None:
    served.champion(3)
    served.champion(5)
    back(served)
    assert served.champion(7) == 3
    assert (answering(served), served.aliases()) == (3, (3, 1))
    back(served, "complaints again")
    assert (answering(served), served.aliases()) == (1, (1, 1))
    assert served.events() == [
        ("promoted", 1),
        ("promoted", 2),
        ("rolled back", 1),
        ("promoted", 3),
        ("rolled back", 1),
    ]


def test_a_rollback_to_a_version_that_cannot_be_loaded_changes_nothing(alone: ServedModel) -> None:
    alone.serve()
    good = alone.registered(3, seed=910)
    serve.deploy(alone.run(3), good)
    alone.champion(5)
    alone.server.stop()
    alone.damage(good.run.id)
    shutil.rmtree(alone.settings.home / "served" / alone.name)
    alone.serve()
    before = alone.aliases(), alone.events()
    with pytest.raises(DeployRefused):
        back(alone)
    assert (answering(alone), (alone.aliases(), alone.events())) == (2, before)
    assert not records.version(alone.name, 2).rolled_back, "what serves on may be promoted by a rerun"


def test_a_rollback_needs_no_file_of_the_version_that_served_before(served: ServedModel) -> None:
    """It is still in memory: whoever rolls back waits for nothing."""
    good = served.registered(3, seed=912)
    serve.deploy(served.run(3), good)
    served.champion(5)
    served.damage(good.run.id)
    assert back(served).version == answering(served) == 1


@pytest.mark.long
@pytest.mark.parametrize("killed_before", ["mark_rolled_back", "complete", "set_champion"])
def test_a_rollback_that_is_killed_halfway_ends_the_same_when_run_again(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch, killed_before: str
) -> None:
    served.champion(3)
    served.champion(5)
    with monkeypatch.context() as patch:
        patch.setattr(promotion if killed_before == "complete" else store, killed_before, kill)
        with pytest.raises(KeyboardInterrupt):
            back(served)
    back(served)
    assert (answering(served), served.aliases()) == (1, (1, 1))
    assert served.events() == [("promoted", 1), ("promoted", 2), ("rolled back", 1)]
    assert records.version(served.name, 2).rolled_back


@contextmanager
def without_mlflow() -> Iterator[None]:
    """Nothing listens where this process looks for MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_MLFLOW_URL", f"http://127.0.0.1:{free_port()}")
        settings.cache_clear()
        yield
    settings.cache_clear()


def test_a_rollback_needs_no_mlflow_and_is_shown_in_it_later(alone: ServedModel) -> None:
    """The emergency lever works beside a broken registry,
    and the bad version does not come back with the server's next start."""
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    with without_mlflow():
        rolled_back = back(alone)
        assert (rolled_back.left, rolled_back.version) == (2, 1)
        assert "MLflow does not show it yet" in rolled_back.message
        with pytest.raises(NothingToRollBackTo):
            back(alone)
    assert alone.events()[-1] == ("rolled back", 1) and records.version(alone.name, 2).rolled_back
    alone.server.stop()
    alone.serve()
    assert answering(alone) == 1
    assert alone.aliases() == (2, 1)
    assert any(
        "the alias champion names version 2: give it back to version 1" in text
        for text in store.disagreements(alone.name)
    )

    again = back(alone, "complaints still")
    assert (again.left, again.version) == (2, 1) and "before; the champion is version 1" in again.message
    assert (alone.aliases(), store.disagreements(alone.name)) == ((1, 1), [])
    assert mlflow.MlflowClient().get_model_version(alone.name, "2").tags[Tag.ROLLED_BACK] == "complaints"
    assert alone.events()[-2:] == [("promoted", 2), ("rolled back", 1)]


def test_a_promotion_needs_no_mlflow_and_is_shown_by_the_next_one(served: ServedModel) -> None:
    first = served.champion(3)
    second = served.registered(5).version
    with without_mlflow():
        champion, version = store.champion(served.name), records.version(served.name, second)
        intent = promotion.intend(version, "promotion", champion, model=served.name, actor="ada", reason="better")
        assert not promotion.complete(intent), "MLflow does not show it yet"
    good = store.last_known_good(served.name)
    assert (good and good.number, served.events()[-1], served.aliases()) == (first, ("promoted", second), (first, None))
    assert store.champion(served.name) == records.version(served.name, second)
    serve.deploy(served.run(5), served.registered(5).model_copy(update={"compared_with": first}))
    assert (served.aliases(), store.disagreements(served.name)) == ((second, first), [])


def test_a_fall_back_is_undone_by_no_training_that_knows_less_than_the_labels_that_judge_it(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor fell back as of day 6; the labels of its evidence are known as of day 8."""
    served.champion(3)
    served.champion(5)
    wanted = promotion.FallBack(decision_id="d1", as_of=at(6), until=at(8))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(deployment, "confirmed", kill)
        rollback(served.name, reason="likely to be worse", actor="run m", version=2, fall_back=wanted)
    result = rollback(served.name, reason="likely to be worse", actor="run m", version=2, fall_back=wanted)
    assert (result.left, result.version, answering(served)) == (2, 1, 1)
    event = ledger.entries(served.name)[-1].event
    assert isinstance(event, happened.RolledBack)
    assert (event.decision_id, event.as_of, event.until, event.version, event.left) == ("d1", at(6), at(8), 1, 2)
    assert ledger.champion_as_of(served.name, at(6)) == 2, "its own window was the other version's"
    assert ledger.champion_as_of(served.name, at(7)) == 1

    with pytest.raises(StageSkipped, match="the monitor fell back to an earlier version, and the labels"):
        registry.register(served.run(7), served.gated(7))
    by_person = dataclasses.replace(served.run(7), triggered_by="ada")
    early = probed(registry.register(by_person, served.gated(7)))
    with pytest.raises(StageSkipped, match="known from 2026"):
        serve.deploy(served.run(7), early)
    for day, number in ((8, 4), (9, 5)):
        assert served.champion(day) == number, "what labels say is promoted, and nothing waits after it"
    again = rollback(served.name, reason="likely to be worse", actor="run m", version=2, fall_back=wanted)
    assert (again.version, answering(served)) == (5, 5), "the task cleared later does nothing more"


def test_a_request_that_waited_while_its_version_was_rolled_back_from_is_answered_by_the_good_one(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_FEATURE_COPY_MB", "0")  # from memory it would be answered at once
    server = alone.serve()
    alone.champion(3)
    alone.champion(5)
    url = alone.settings.database_url("feast")
    with psycopg.connect(url) as blocker, ThreadPoolExecutor(1) as pool:
        for table in Features(alone.spec).tables:
            blocker.execute(sql.SQL("lock table {}").format(online_tables.of(feature_store().project, table)))
        waiting = pool.submit(server.predict, alone.name, entity={"customer_id": customer(1)})
        held = "select 1 from pg_locks where not granted"
        with psycopg.connect(url, autocommit=True) as watcher:
            until(lambda: watcher.execute(held).fetchone(), "the request waits for its features")
        rollback(alone.name, reason="complaints", actor="ada")
        blocker.rollback()
        answer = waiting.result(timeout=30).json()
    assert answer["version"] == 1
    assert {row.version for row in alone.logged().values()} == {1}
