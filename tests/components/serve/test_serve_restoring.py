"""What is gone in MLflow is never 'no champion yet': training is red, one command gives it back;
and the way out of a lost champion."""

from __future__ import annotations

from typing import Any

import mlflow
import pytest

from evergreen.cli import main
from evergreen.errors import EvidenceMissing, NothingToRetire, StageSkipped
from evergreen.history import ledger
from evergreen.history.events import Restored, Retired
from evergreen.registry import loading, records, store
from evergreen.registry import stages as registry
from evergreen.registry.restoring import restore, retire
from evergreen.serve import stages as serve

from .conftest import ServedModel, until
from .test_serve_registry import wait_for_problem
from .test_serve_rollback import answering, back


def remove_alias(served: ServedModel) -> None:
    mlflow.MlflowClient().delete_registered_model_alias(served.name, "champion")


def delete_version(served: ServedModel) -> None:
    mlflow.MlflowClient().delete_model_version(served.name, "2")


def rename(served: ServedModel) -> None:
    mlflow.MlflowClient().rename_registered_model(served.name, f"{served.name}_renamed")


def delete_model(served: ServedModel) -> None:
    mlflow.MlflowClient().delete_registered_model(served.name)


@pytest.mark.long
@pytest.mark.parametrize("lose", [remove_alias, delete_version, rename, delete_model])
def test_one_command_gives_back_what_is_gone(
    served: ServedModel, capsys: pytest.CaptureFixture[str], lose: Any
) -> None:
    served.champion(3)
    served.champion(5)
    lose(served)
    lost = store.lost_champion(served.name)
    assert lost is not None and f"`evergreen registry restore {served.name}`" in lost
    champion = store.champion(served.name)
    assert champion is not None and champion.number == 2, "never 'no champion yet'"
    with pytest.raises(StageSkipped, match="never replaces the newer champion"):
        served.registered(4)

    assert main(["registry", "restore", served.name, "--actor", "ada"]) == 0
    assert served.name in capsys.readouterr().out
    assert store.lost_champion(served.name) is None
    assert (served.aliases(), store.disagreements(served.name)) == ((2, 1), [])
    (restored,) = [e.event for e in ledger.entries(served.name) if isinstance(e.event, Restored)]
    assert restored.actor == "ada" and restored.changes
    assert restore(served.name, actor="ada") == (), "again is harmless"
    assert len(ledger.entries(served.name, "restored")) == 1

    assert loading.load(served.name, 2) is not None and answering(served) == 2
    later = served.champion(7)
    assert (later > 2, answering(served)) == (True, later), "numbers are not used again"
    assert store.disagreements(served.name) == []
    back(served)
    assert (answering(served), store.disagreements(served.name)) == (2, [])


def test_nothing_is_restored_of_a_model_that_the_ledger_does_not_know(served: ServedModel) -> None:
    with pytest.raises(EvidenceMissing, match="no promotion in the ledger"):
        restore(served.name, actor="ada")


def test_the_only_champion_that_cannot_be_loaded_is_retired_and_the_next_training_is_not_compared(
    alone: ServedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    server = alone.serve()
    only = alone.registered(3, seed=930)
    serve.deploy(alone.run(3), only)
    alone.damage(only.run.id)
    assert main(["retire", alone.name, "1", "--reason", "artifacts lost", "--actor", "ada"]) == 0
    assert "the next training is compared with none" in capsys.readouterr().out
    event = ledger.entries(alone.name)[-1].event
    assert isinstance(event, Retired) and (event.version, event.actor, event.reason) == (1, "ada", "artifacts lost")
    assert store.champion(alone.name) is None and alone.aliases() == (None, None)
    assert records.version(alone.name, 1).retired
    assert answering(alone) == 1, "what serves serves on"
    wait_for_problem(alone, "version 1 serves, which was retired")
    assert server.describe(alone.name)["role"] == "retired"

    with pytest.raises(StageSkipped, match="version 1 was retired"):
        registry.register(alone.run(3), alone.gated(3, seed=930))
    assert alone.champion(5) == 2
    assert (answering(alone), alone.aliases()) == (2, (2, None))
    until(lambda: server.describe(alone.name)["problem"] is None, "all is well again", 50)
    main(["history", alone.name])
    out = capsys.readouterr().out
    assert "1: retired (artifacts lost)" in out and "2: champion" in out


def test_a_server_starts_with_a_retired_champion_while_there_is_no_other(alone: ServedModel) -> None:
    alone.serve()
    alone.champion(3)
    retire(alone.name, 1, reason="a mistake in its data", actor="ada")
    alone.server.stop()
    server = alone.serve()
    assert (answering(alone), server.describe(alone.name)["role"]) == (1, "retired")


def test_a_candidate_that_was_made_anew_after_its_version_was_retired_is_a_version_of_its_own(
    served: ServedModel,
) -> None:
    """The same training, whose files were lost: its rerun is the way out too."""
    served.champion(3)
    retire(served.name, 1, reason="artifacts lost", actor="ada")
    key = served.gated(3, seed=3).key
    anew = served.gated(3, seed=921).model_copy(update={"key": key})
    registered = registry.register(served.run(3), anew)
    assert registered.version == 2 and registered.key == key
    assert registry.register(served.run(3), anew) == registered, "once"


def test_who_can_roll_back_does_not_retire(served: ServedModel) -> None:
    served.champion(3)
    served.champion(5)
    with pytest.raises(NothingToRetire) as refused:
        retire(served.name, 2, reason="bad", actor="ada")
    assert f"evergreen rollback {served.name}" in refused.value.next_step
    retire(served.name, 1, reason="cannot be loaded", actor="ada")
    assert ledger.standing(served.name).last_known_good is None
    retire(served.name, 2, reason="nor can this", actor="ada")
    assert store.champion(served.name) is None
    with pytest.raises(EvidenceMissing, match="no such version"):
        retire(served.name, 9, reason="none", actor="ada")
