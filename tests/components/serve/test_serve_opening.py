"""A version beside the champion: loaded by every replica first, then its rollout is opened, whoever was killed."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from evergreen.errors import DeployRefused, StageSkipped
from evergreen.handovers.rollout import Looked
from evergreen.handovers.train import Probed
from evergreen.history import ledger
from evergreen.history.events import GateVerdict
from evergreen.history.rollouts import Compared, Observed, RolloutOpened
from evergreen.loops import inline
from evergreen.registry import records, store
from evergreen.rollout import controller
from evergreen.rollout.rules import Evidence
from evergreen.serve import compared, deployment, opening
from evergreen.serve import stages as serve
from evergreen.spec.rollout import CanaryRollout, DirectRollout
from evergreen_demo import rolling

from .conftest import CUSTOMERS, ServedModel, at, customer, until
from .rolling import judged
from .test_serve_intents import answering, ends, killed_before, pending

CANARY = CanaryRollout(strategy="canary", shares=(5, 50), minimum_answers=100, at_most=timedelta(days=20))


@pytest.fixture
def stepped(served: ServedModel) -> ServedModel:
    """A model with a champion, whose next versions are rolled out in steps."""
    served.spec = served.spec.model_copy(update={"rollout": CANARY})
    assert served.champion(3) == 1, "the first one has nothing beside which it could be tried"
    return served


def gated(served: ServedModel, day: int, verdict: GateVerdict = "pass", made: Probed | None = None) -> Probed:
    """A version as a training hands it to `deploy`, with the gates that it passed in the ledger."""
    made = made or served.registered(day)
    judged(served, made.version, 1, verdict)
    return made


def opened(served: ServedModel) -> list[RolloutOpened]:
    return [entry.event for entry in ledger.entries(served.name) if isinstance(entry.event, RolloutOpened)]


def test_a_version_that_passed_its_gates_is_loaded_and_opened_beside_the_champion(stepped: ServedModel) -> None:
    made = gated(stepped, 5)
    for _ in range(2):  # cleared later, it is the same rollout
        deployed = serve.deploy(stepped.run(5), made)
        assert (deployed.version, deployed.replaced, deployed.rollout) == (2, None, f"rollout/{stepped.name}/2/1")
    (event,) = opened(stepped)
    assert (event.champion, event.as_of, event.strategy, event.gates) == (1, at(5), "canary", ("floor",))
    assert stepped.kinds().count("deploying") == 2 and event.intent == f"deploying/{stepped.name}/rollout/2"
    second = controller.served(stepped.name).beside
    assert second is not None and (second.version, second.role, second.share) == (2, "shadow", 0)
    assert (pending(stepped), answering(stepped)) == (None, 1)


@pytest.mark.long
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_kill_before_it_is_opened_is_gone_on_with_by_the_retry(stepped: ServedModel, at_the_end: bool) -> None:
    made = gated(stepped, 5)
    with killed_before(*((controller, "open_rollout") if at_the_end else (deployment, "confirmed"))):
        serve.deploy(stepped.run(5), made)
    assert (pending(stepped), opened(stepped)) == (("rollout", 2), [])
    assert serve.deploy(stepped.run(5), made).rollout == f"rollout/{stepped.name}/2/1"
    assert pending(stepped) is None and stepped.kinds().count("deploying") == 2


def test_what_nobody_goes_on_with_is_ended_by_the_next_deployment(stepped: ServedModel) -> None:
    killed, other = gated(stepped, 5), gated(stepped, 7)
    with killed_before(deployment, "confirmed"):
        serve.deploy(stepped.run(5), killed)
    assert serve.deploy(stepped.run(7), other).rollout == f"rollout/{stepped.name}/3/1"
    assert [(ended.version, "it never served" in ended.reason) for ended in ends(stepped)] == [(2, True)]
    with pytest.raises(StageSkipped, match="the rollout of version 3 is open"):
        serve.deploy(stepped.run(5), killed)


def test_a_killed_rollout_is_not_gone_on_with_by_a_promotion_at_once(stepped: ServedModel) -> None:
    """The spec says direct meanwhile: the intent of a rollout is ended, and not left behind."""
    made = gated(stepped, 5)
    with killed_before(deployment, "confirmed"):
        serve.deploy(stepped.run(5), made)
    stepped.spec = stepped.spec.model_copy(update={"rollout": DirectRollout()})
    assert serve.deploy(stepped.run(5), made).rollout is None
    assert [ended.intent for ended in ends(stepped)] == [f"deploying/{stepped.name}/rollout/2"]
    assert answering(stepped) == 2


def test_what_one_replica_cannot_load_is_not_opened(stepped: ServedModel) -> None:
    made = gated(stepped, 5, made=stepped.damaged(5))
    with pytest.raises(DeployRefused, match="replica"):
        serve.deploy(stepped.run(5), made)
    assert (opened(stepped), pending(stepped), answering(stepped)) == ([], None, 1)
    assert "refused" in ends(stepped)[-1].reason


def test_what_was_rejected_or_did_not_pass_is_not_opened_and_asks_no_replica(
    stepped: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = gated(stepped, 5)
    serve.deploy(stepped.run(5), made)
    monkeypatch.setattr(opening, "intent", lambda *_: pytest.fail("nothing is to be loaded"))
    with pytest.raises(StageSkipped, match="the rollout of version 2 is open; clear `register`"):
        stepped.registered(6)
    controller.roll_back(stepped.name, f"rollout/{stepped.name}/2/1", as_of=at(6), actor="ada", reason="slow")
    with pytest.raises(StageSkipped, match="did not pass its gates"):
        serve.deploy(stepped.run(6), gated(stepped, 6, "no evidence"))
    with pytest.raises(StageSkipped, match="was rolled back from"):
        serve.deploy(stepped.run(5), made)


def test_the_loop_reads_what_the_server_logged_and_waits_until_it_follows(stepped: ServedModel) -> None:
    """Open, a shadow's answers, a share of the clients, back: what the loop does with a real replica."""
    serve.deploy(stepped.run(5), gated(stepped, 5))
    rollout = f"rollout/{stepped.name}/2/1"

    def ask(day: int) -> set[int]:
        moment = (at(day) + timedelta(hours=9)).isoformat()
        answers = [
            stepped.server.predict(stepped.name, entity={"customer_id": customer(n)}, as_of=moment).json()
            for n in range(CUSTOMERS)
        ]
        return {answer["version"] for answer in answers}

    def loop(day: int, **by_hand: Any) -> Any:
        run = dataclasses.replace(stepped.run(day), **{"rollout": rollout, "reason": "I looked"} | by_hand)
        return inline.run(run, "rollout")

    def shadowed() -> int:
        return compared.of_rollout(stepped.name, rollout, at(0), at(99))["role"].to_pylist().count("shadow")

    assert ask(5) == {1}
    until(lambda: shadowed() == CUSTOMERS, "the shadow was asked about everybody")
    looked = loop(6, rollout=None)
    assert isinstance(looked["compare"], Looked) and looked["compare"].answers == CUSTOMERS
    assert isinstance(looked["move"], inline.Skipped) and "of 100 answers" in looked["move"].reason
    for step, share in ((0, 5), (1, 50)):
        moved = loop(6, act="advance", step=step)["move"]
        assert (moved.role, moved.share, moved.warnings) == ("challenger", share, ()), "the replica followed"
    assert ask(6) == {1, 2}
    looked = loop(7, rollout=None)["compare"]
    assert 0 < looked.answers < CUSTOMERS
    assert {each.measure for each in looked.measured} == {"errors", "answers", "outcomes", "slow answers"}
    gone = loop(7, act="roll_back")["move"]
    assert (gone.kind, gone.role, gone.warnings) == ("roll back", None, ())
    assert ask(7) == {1}


def test_the_last_act_of_the_demo_opens_the_first_version_again_and_what_is_worse_is_taken_back(
    served: ServedModel,
) -> None:
    assert (served.champion(3), served.champion(5)) == (1, 2)
    judged(served, 1, None)
    served.spec = served.spec.model_copy(update={"rollout": CANARY})
    assert rolling.open_worse(served.spec, served.run(7).interval) == 3
    (event,) = opened(served)
    assert (event.version, event.champion, event.as_of, event.gates) == (3, 2, at(7), ("floor",))
    assert records.version(served.name, 3).run_id == records.version(served.name, 1).run_id
    worse = Compared(verdict="worse", difference=0.1, low=0.05, high=0.2, rows=(900, 900))
    seen = Observed(answers=900, verdict="worse", compared={"outcomes": worse})
    controller.observe(served.name, Evidence(event.id, 0, at(11), seen), actor="run")
    assert ledger.standing(served.name).rollout is None and answering(served) == 2
    with pytest.raises(StageSkipped, match="is not promoted again"):
        opening.opened(served.run(12), records.version(served.name, 3), store.champion(served.name), 2)
