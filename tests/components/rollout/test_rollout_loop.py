"""The loop of a rollout on a real prediction log, real labels and a real ledger: what was answered moves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from evergreen import cli, database
from evergreen.challenge import stages
from evergreen.errors import NoSuchRollout, RunError
from evergreen.handovers.rollout import Looked, Moved
from evergreen.history import ledger
from evergreen.history.rollouts import RolloutAdvanced, RolloutEnded
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions
from evergreen.lake.schema import LABELS
from evergreen.loops import inline
from evergreen.rollout import controller
from evergreen.rollout.wanted import Wanted, chosen
from evergreen.run import Run
from evergreen.serve import deployment, predictions, replicas
from evergreen.serve.predictions import Prediction
from evergreen.serve.replicas import Loading
from evergreen.settings import Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.rollout import CanaryRollout
from evergreen.spec.schema import ModelSpec
from tests.churn import one_folder

from .lives import MODEL, ROLLOUT, START, champion, version

DAY = timedelta(days=1)
CUSTOMERS = 1_500
HORIZON = timedelta(days=3)  # of the model's label
CANARY = CanaryRollout(strategy="canary", shares=(50,), minimum_answers=100, at_most=12 * DAY)
FROM = START.date()
TIMESTAMP = pa.timestamp("us", "UTC")
LABEL = pa.schema(
    [("customer_id", pa.string()), ("churned", pa.int64()), ("event_timestamp", TIMESTAMP), ("known_at", TIMESTAMP)]
)


def midnight(day: int) -> datetime:
    return START + day * DAY


@dataclass
class World:
    """Customers who are asked about once a day, and leave or not three days later.

    Attributes:
        off: what the version beside the champion adds to its answers.
        fails: the share of requests in which it fails.
        mixed: it answers for one customer what it should for another.
    """

    spec: ModelSpec
    off: float = 0.0
    fails: float = 0.0
    mixed: bool = False
    moved: list[Any] = field(default_factory=list)

    def truth(self, day: int) -> tuple[list[str], np.ndarray, np.ndarray, np.random.Generator]:
        random = np.random.default_rng(1000 + day)
        chance = random.beta(1, 4, CUSTOMERS)
        names = [f"c-{number:04}" for number in range(CUSTOMERS)]
        return names, chance, random.random(CUSTOMERS) < chance, random

    def ask(self, day: int) -> None:
        """Every customer's prediction, as the model server logs it."""
        wanted = controller.served(MODEL)
        second, (names, chance, _, random) = wanted.beside, self.truth(day)
        answers = [np.clip(chance + random.normal(0, 0.02, CUSTOMERS), 0, 1) for _ in range(2)]
        answers[1] = np.clip(answers[1] + self.off, 0, 1)
        answers[1] = random.permutation(answers[1]) if self.mixed else answers[1]
        broken = random.random(CUSTOMERS) < self.fails
        rows: list[Prediction] = []
        for at, name in enumerate(names):
            about: dict[str, Any] = {
                "model": MODEL,
                "request_id": f"r-{day}",
                "position": at,
                "entity": name,
                "as_of": midnight(day) + timedelta(hours=9),
                "features_at": midnight(day),
                "features": {},
                "rollout": None if second is None else second.rollout,
                "share": None if second is None else second.share,
                "seconds": 0.01,
            }
            theirs = second is not None and (second.role == "shadow" or chosen(second.rollout, name, second.share))
            if second is not None and theirs:
                failed = "RuntimeError: broken" if broken[at] else None
                said = None if failed else float(answers[1][at])
                rows.append(
                    Prediction(**about, version=second.version, role=second.role, prediction=said, failed=failed)
                )
            if not theirs or second is None or second.role == "shadow" or broken[at]:
                rows.append(
                    Prediction(**about, version=wanted.champion or 0, role="champion", prediction=float(answers[0][at]))
                )
        predictions.write_late(rows)

    def label(self, day: int) -> None:
        """The outcomes of a day's predictions."""
        names, _, left, _ = self.truth(day)
        known = midnight(day) + HORIZON
        columns = [names, left.astype(int).tolist(), [midnight(day)] * CUSTOMERS, [known] * CUSTOMERS]
        table = pa.table(dict(zip(LABEL.names, columns, strict=True)), LABEL)
        partition = (midnight(day) - DAY).date().isoformat()
        catalogue.record(partitions.replace(LABELS.of(MODEL, "churned").at(partition), table, known_at=known))

    def run(self, day: int, **by_hand: Any) -> Run:
        interval = Interval.of_day(date.fromordinal(FROM.toordinal() + day))
        return replace(inline.of(self.spec, interval), **by_hand)

    def live(self, days: range) -> list[str]:
        """Days with their requests and outcomes, each looked at when it is over; what was done, in words."""
        done = []
        for day in days:
            self.ask(day)
            if day >= 3:
                self.label(day - 3)
            result = inline.run(self.run(day), "rollout")["move"]
            self.moved.append(result)
            done.append(result.kind if isinstance(result, Moved) else "stay")
        return done


@pytest.fixture
def world(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Version 1 is the champion and has answered for a day; version 2 is opened beside it on the next one."""
    monkeypatch.setattr(deployment, "SWAPPING", 0.0)
    spec = load_spec(one_folder(tmp_path / "models" / MODEL))
    champion(1)
    version(2)
    world = World(spec)
    world.ask(-1)
    refused = controller.open_rollout(
        CANARY, MODEL, 2, compared=1, as_of=START, actor="run", reason="scheduled", decision_id="d1"
    )
    assert refused is None
    return world


def test_a_version_that_does_as_well_comes_to_all_requests_by_what_it_answered(world: World) -> None:
    done = world.live(range(7))
    assert done[0] == "advance" and "promote" in done and set(done) == {"advance", "stay", "promote"}
    now = ledger.standing(MODEL)
    assert (now.champion, now.last_known_good, now.rollout) == (2, 1, None)
    (ended,) = [entry.event for entry in ledger.entries(MODEL, "rollout ended")]
    assert isinstance(ended, RolloutEnded) and ended.observed is not None
    assert set(ended.observed.compared) == {"errors", "answers", "outcomes"}, "all are asked about at once: no waits"
    assert {each.verdict for each in ended.observed.compared.values()} <= {"not worse", "better"}
    (advanced,) = [entry.event for entry in ledger.entries(MODEL, "rollout advanced")]
    assert isinstance(advanced, RolloutAdvanced) and advanced.observed is not None
    assert advanced.observed.answers == CUSTOMERS
    after = world.live(range(7, 8))
    assert after == ["stay"] and "no rollout is open" in world.moved[-1].reason


@pytest.mark.parametrize(
    ("worse", "said", "days"),
    [({"off": 0.3}, "outcomes", 4), ({"fails": 0.2}, "errors", 1), ({"off": -0.15}, "outcomes", 5)],
)
def test_a_worse_version_is_rolled_back_before_it_answers_anybody(
    world: World, worse: Any, said: str, days: int
) -> None:
    world = replace(world, **worse)
    assert world.live(range(days)) == ["stay"] * (days - 1) + ["roll back"]
    assert (controller.served(MODEL), ledger.standing(MODEL).rolled_back) == (Wanted(1), {2})
    assert said in world.moved[-1].reason
    if said == "outcomes":
        assert "answers lie elsewhere, and outcomes do not tell yet" in world.moved[0].reason


def test_answers_that_lie_elsewhere_are_what_a_retraining_is_for_where_the_world_has_changed(world: World) -> None:
    """Customers leave more often than the champion says; the version beside it knows."""
    truth = world.truth

    def changed(day: int) -> Any:
        names, chance, _, random = truth(day)
        return names, chance, random.random(CUSTOMERS) < np.clip(chance + 0.3, 0, 1), random

    world = replace(world, off=0.3)
    world.truth = changed  # type: ignore[method-assign]
    done = world.live(range(8))
    assert done[:3] == ["stay"] * 3 and done[3] == "advance", "not before outcomes tell"
    assert "promote" in done


def test_what_only_outcomes_tell_is_told_by_them(world: World) -> None:
    """Its answers lie where the champion's lie, for other customers."""
    world = replace(world, mixed=True)
    done = world.live(range(5))
    assert done[3] == "roll back", "when the first outcomes are known"
    assert "worse than version 1: outcomes" in world.moved[3].reason


def test_a_failure_with_a_client_is_the_versions_and_what_the_champion_answered_instead_is_nobodys(
    world: World,
) -> None:
    assert world.live(range(1)) == ["advance"]
    broken = replace(world, fails=0.2)
    broken.ask(1)
    looked = inline.run(broken.run(1), "rollout", last="compare")["compare"]
    assert isinstance(looked, Looked)
    errors = next(each for each in looked.measured if each.measure == "errors")
    assert errors.verdict == "worse" and errors.version_rows < 0.6 * CUSTOMERS
    assert errors.champion_rows < 0.6 * CUSTOMERS, "without what it answered in the other's place"
    assert looked.answers < 0.5 * CUSTOMERS, "what failed is no answer"


def test_a_kill_between_record_and_waiting_is_waited_for_by_the_retry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(deployment, "settled", killed)
        world.live(range(1))
    now = ledger.standing(MODEL).rollout
    assert now is not None and now.number == 1, "it is recorded"
    waited: list[str] = []
    monkeypatch.setattr(deployment, "settled", lambda model: waited.append(model) or ())
    again = inline.run(world.run(0), "rollout", first="move")["move"]
    assert isinstance(again, inline.Skipped) and waited == [MODEL]
    assert len(ledger.entries(MODEL, "rollout advanced")) == 1


def test_a_run_that_is_cleared_later_moves_nothing(world: World) -> None:
    assert world.live(range(1)) == ["advance"]
    for first in ("collect", "move"):
        cleared = inline.run(world.run(0), "rollout", first=first)["move"]
        assert isinstance(cleared, inline.Skipped)
    now = ledger.standing(MODEL).rollout
    assert now is not None and now.number == 1


def test_people_pause_advance_and_roll_back_by_the_same_loop(world: World) -> None:
    by = {"rollout": ROLLOUT, "reason": "I looked", "triggered_by": "ada"}

    def act(name: str, **more: Any) -> Any:
        return inline.run(world.run(0, act=name, **by | more), "rollout")["move"]

    paused = act("pause")
    assert isinstance(paused, Moved) and (paused.kind, paused.role) == ("pause", "shadow")
    assert world.live(range(1)) == ["stay"]
    moved = act("advance", step=0)
    assert (moved.kind, moved.role, moved.share) == ("advance", "challenger", 50)
    assert isinstance(act("advance", step=0), inline.Skipped), "again is harmless"
    assert act("resume").kind == "resume"
    gone = act("roll_back")
    assert (gone.kind, gone.role, gone.share) == ("roll back", None, None)
    assert next(entry.event.actor for entry in ledger.entries(MODEL, "rollout ended")).startswith("ada, run")
    with pytest.raises(NoSuchRollout):
        act("pause")


def test_an_act_says_what_it_is_about(world: World) -> None:
    for given in ({"act": "pause"}, {"act": "advance", "rollout": ROLLOUT}):
        with pytest.raises(RunError, match=f"{ROLLOUT} is open, at step 0"):
            stages.collect(world.run(0, **given))


def test_people_do_the_same_by_a_command_that_names_the_rollout(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_MODELS", str(world.spec.folder.parent))
    settings.cache_clear()

    def command(*arguments: str) -> tuple[int, str]:
        code = cli.main(["rollout", MODEL, *arguments])
        return code, "".join(capsys.readouterr())

    by = ("--reason", "I looked", "--actor", "ada")
    code, said = command()
    assert code == 0 and f"step 1 of 2 since {START:%Y-%m-%d %H:%M}: it is asked and answers nobody ({ROLLOUT})" in said
    assert f"--advance {ROLLOUT} --step 0 " in said and f"--pause {ROLLOUT} " in said

    code, said = command("--pause", ROLLOUT, *by)
    assert (code, said.splitlines()[0]) == (0, f"{ROLLOUT}: pause (I looked); version 2 is shadow")
    assert "no live replica has the model's folder" in said, "who does not follow is named"
    assert "; paused (" in command()[1] and f"--resume {ROLLOUT} " in command()[1]
    assert command("--resume", ROLLOUT, *by)[0] == 0

    code, said = command("--advance", ROLLOUT, *by)
    assert code == 1 and "no step" in said
    assert command("--advance", ROLLOUT, "--step", "0", *by)[0] == 0
    code, said = command("--advance", ROLLOUT, "--step", "0", *by)
    assert code == 1 and f"{ROLLOUT} is open, at step 1" in said, "again is harmless, and said"

    for wrong in (["--roll-back", f"{ROLLOUT}0", *by], ["--roll-back", ROLLOUT], ["--reason", "why"]):
        assert command(*wrong)[0] == 1
    now = ledger.standing(MODEL).rollout
    assert now is not None and now.number == 1, "a command that names another one, or no reason, moves nothing"

    code, said = command("--roll-back", ROLLOUT, *by)
    assert (code, said.splitlines()[0]) == (0, f"{ROLLOUT}: roll back (I looked); version 2 is withdrawn")
    ended = next(entry.event for entry in ledger.entries(MODEL, "rollout ended"))
    assert ended.actor.startswith("ada, run") and ended.reason == "I looked"
    assert command() == (0, f"{MODEL}: no rollout is open\n")


def told(replica: str, *loadings: tuple[int, str, int | None]) -> None:
    with database.connect() as connection:
        replicas.enter(connection, replica)
        replicas.beat(connection, replica, [MODEL])
        rows = [
            Loading(replica, MODEL, number, role, "serves", None, None, share=share) for number, role, share in loadings
        ]
        replicas.say(connection, replica, rows, [])


FOLLOWS: Callable[[str], None] = lambda name: told(name, (1, "champion", None), (2, "shadow", 0))  # noqa: E731


def test_whoever_moves_names_the_replicas_that_do_not_follow(world: World) -> None:
    told("a", (1, "champion", None))
    told("b", (1, "champion", None), (2, "challenger", 50))
    FOLLOWS("c")
    assert deployment.settled(MODEL) == (
        "replica a does not serve version 2 as a shadow",
        "replica b does not serve version 2 as a shadow",
    )
    controller.roll_back(MODEL, ROLLOUT, as_of=START, actor="ada", reason="slow")
    assert deployment.settled(MODEL) == (
        "replica b serves version 2 as a challenger still",
        "replica c serves version 2 as a shadow still",
    )


def test_no_live_replica_is_said(world: World) -> None:
    assert deployment.settled(MODEL) == ("no live replica has the model's folder",)
