"""Any life of a model with rollouts in it: whatever is observed, killed, wanted by people, or changed beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evergreen.history import events, story
from evergreen.history.events import (
    Deployed,
    Deploying,
    Event,
    Judged,
    NotDeployed,
    Promoted,
    Registered,
    Retired,
    RolledBack,
)
from evergreen.history.rollouts import Compared, Observed, Rollout, RolloutEnded, RolloutOpened, Verdict
from evergreen.history.story import Entry, Standing
from evergreen.registry import rules as registry
from evergreen.registry.rules import Version
from evergreen.rollout import recording, rules
from evergreen.rollout.rules import Evidence, Move, Watched
from evergreen.rollout.wanted import wanted
from evergreen.spec.rollout import ABRollout, CanaryRollout, ShadowRollout

DAY = timedelta(days=1)
STRATEGIES: list[Watched] = [
    ShadowRollout(strategy="shadow", minimum_answers=10, at_most=5 * DAY),
    CanaryRollout(strategy="canary", minimum_answers=10, at_most=9 * DAY),
    CanaryRollout(strategy="canary", shadow=False, shares=(20,), minimum_answers=10, at_most=5 * DAY),
    ABRollout(strategy="ab", minimum_answers=10, at_most=5 * DAY),
]
VERDICTS: list[Verdict] = ["undecided", "not worse", "better", "worse"]
OBSERVED = st.builds(
    Observed,
    answers=st.sampled_from([0, 9, 10, 10, 50, 50]),
    # Mostly what lets a rollout go on, so that its later steps are reached.
    verdict=st.sampled_from([*VERDICTS, "better", "better", "better", "not worse"]),
    compared=st.sampled_from([{}, *[{"errors": Compared(verdict="undecided")}] * 5]),
)


class Life(RuleBasedStateMachine):
    """A model's ledger, and what may be added to it, as the stages and commands see to it."""

    def __init__(self) -> None:
        super().__init__()
        self.life: list[Event] = []
        self.passed: dict[int, bool] = {}  # version → whether every gate that judged it passed
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.ever = False  # there was a champion

    # What there is

    @property
    def now(self) -> Standing:
        return story.standing(self.life)

    @property
    def entries(self) -> list[Entry]:
        return [Entry(number, self.clock, event) for number, event in enumerate(self.life, 1)]

    def common(self, id: str) -> dict[str, Any]:
        return {"id": id, "model": "churn", "as_of": self.clock, "actor": "ada", "reason": "why"}

    def version(self, number: int) -> Version:
        now = self.now
        as_of = next(e.as_of for e in self.life if isinstance(e, Registered) and e.version == number)
        assert as_of is not None
        return Version(
            number, f"run{number}", f"key{number}", as_of, number in now.rolled_back, "ridge", number in now.retired
        )

    def champion(self) -> Version | None:
        return None if self.now.champion is None else self.version(self.now.champion)

    def add(self, *added: Event) -> None:
        known = {event.id for event in self.life}
        self.life += [event for event in added if event.id not in known]
        assert all(events.from_text(events.to_text(event)) == event for event in added)

    # What may happen

    @initialize(declared=st.sampled_from(STRATEGIES), some=st.sampled_from([True] * 4 + [False]))
    def a_life_begins(self, declared: Watched, some: bool) -> None:
        """Mostly with an open rollout: left to chance, few lives come to one and go on from there."""
        if some:
            self._register(["pass"])
            self._intend(1, "promotion", None)
            self._complete()
            self.clock += DAY
            self._register(["pass"])
            self._want(2, declared, compared=1)
            assert self.now.rollout is not None

    @rule(hours=st.integers(1, 60))
    def time_goes_on(self, hours: int) -> None:
        self.clock += timedelta(hours=hours)

    @rule(verdicts=st.just(["pass", "pass"]) | st.lists(st.sampled_from(["pass", "fail", "no evidence"]), max_size=3))
    def a_candidate_is_registered(self, verdicts: list[Any]) -> None:
        self._register(verdicts)

    @precondition(lambda self: self.now.pending is None and self.passed)
    @rule(data=st.data(), killed=st.booleans())
    def a_version_is_deployed_at_once(self, data: st.DataObject, killed: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.passed)))
        champion = self.champion()
        if not self.passed[number] or registry.promotion_refusal(self.version(number), champion):
            return
        if champion is None or champion.number != number:
            self._intend(number, "promotion", None if champion is None else champion.number)
            if not killed:
                self._complete()

    @precondition(lambda self: self.now.pending is None and self.now.champion is not None)
    @rule(killed=st.booleans())
    def the_champion_is_rolled_back(self, killed: bool) -> None:
        now = self.now
        if now.last_known_good not in (None, now.champion) and now.last_known_good not in now.rolled_back:
            assert now.last_known_good is not None
            self._intend(now.last_known_good, "rollback", now.champion)
            if not killed:
                self._complete()

    @precondition(lambda self: self.now.pending is not None)
    @rule(carried_out=st.booleans())
    def somebody_ends_what_was_killed(self, carried_out: bool) -> None:
        pending = self.now.pending
        assert pending is not None
        if carried_out or pending.purpose == "rollback":
            self._complete()
        else:
            self.add(NotDeployed(**self.common(f"not/{pending.id}"), version=pending.version, intent=pending.id))

    @precondition(lambda self: self.now.pending is None and self.passed)
    @rule(data=st.data())
    def a_version_is_retired(self, data: st.DataObject) -> None:
        number, now = data.draw(st.sampled_from(sorted(self.passed))), self.now
        if number == now.champion and now.last_known_good not in (None, number):
            return  # it would be rolled back from
        self.add(Retired(**self.common(f"retired/{number}"), version=number))

    @precondition(lambda self: self.passed)
    @rule(data=st.data(), declared=st.sampled_from(STRATEGIES), other=st.sampled_from([False] * 9 + [True]))
    def a_rollout_is_wanted(self, data: st.DataObject, declared: Watched, other: bool) -> None:
        champion = self.now.champion
        self._want(data.draw(st.sampled_from(sorted(self.passed))), declared, None if other else champion)

    @precondition(lambda self: self.now.rollout is not None)
    @rule(
        looks=st.lists(
            st.tuples(OBSERVED, st.sampled_from([0, 3, 30, 30]), st.sampled_from([False] * 5 + [True]), st.booleans()),
            min_size=1,
            max_size=6,
        )
    )
    def it_is_observed(self, looks: list[tuple[Observed, int, bool, bool]]) -> None:
        for observed, hours, stale, twice in looks:
            self.clock += timedelta(hours=hours)
            if self.now.rollout is not None:
                self._look(observed, stale=stale, twice=twice)

    @precondition(lambda self: self.now.rollout is not None)
    @rule()
    def a_person_advances_it(self) -> None:
        self._move(rules.onwards(self._open(), "I looked"), None)

    @precondition(lambda self: self.now.rollout is not None)
    @rule(pause=st.booleans())
    def a_person_pauses_it(self, pause: bool) -> None:
        before = self._open()
        self.add(*recording.pausing(before, self.entries, pause=pause, actor="ada", reason="why"))
        after = self._open()
        assert after.paused == pause and (after.number, after.since) == (before.number, before.since)

    @precondition(lambda self: self.now.rollout is not None)
    @rule()
    def a_person_takes_it_back(self) -> None:
        self._move(Move("roll back", "complaints"), None)
        assert self.now.rollout is None

    # What always holds

    @invariant()
    def a_champion_serves(self) -> None:
        now = self.now
        self.ever = self.ever or now.champion is not None
        assert (wanted(now).champion is not None) == self.ever

    @invariant()
    def what_stands_beside_it_is_sound(self) -> None:
        now = self.now
        beside = wanted(now).beside
        if beside is None:
            return
        assert beside.version != wanted(now).champion == now.champion
        assert beside.version not in now.rolled_back | now.rejected | now.retired
        assert (beside.share == 0) == (beside.role == "shadow") and 0 <= beside.share < 100
        assert self.passed[beside.version]

    @invariant()
    def nothing_is_promoted_without_its_gates(self) -> None:
        for event in self.life:
            if isinstance(event, Promoted | RolloutOpened):
                assert self.passed[event.version]
        promoted = [event.version for event in self.life if isinstance(event, Promoted)]
        assert len(promoted) == len(set(promoted))

    @invariant()
    def at_most_one_is_open(self) -> None:
        ended = {event.rollout for event in self.life if isinstance(event, RolloutEnded)}
        opened = [event for event in self.life if isinstance(event, RolloutOpened)]
        for event in opened:  # what was decided about a version stays decided
            later = [e for e in self.life[self.life.index(event) :] if isinstance(e, RolloutEnded)]
            assert [e.version for e in later].count(event.version) <= 1
        now = self.now
        if now.rollout is not None:
            assert now.rollout.id == opened[-1].id not in ended

    @invariant()
    def going_back_is_always_possible(self) -> None:
        now = self.now
        if now.rollout is None:
            return
        back = recording.moving(now, Move("roll back", "complaints"), None, as_of=self.clock, actor="ada")
        then = story.standing([*self.life, *back])
        assert wanted(then).beside is None and then.champion == now.champion
        assert now.rollout.version in then.rolled_back and then.pending == now.pending

    # How

    def _register(self, verdicts: list[Any]) -> None:
        number = len(self.passed) + 1
        self.passed[number] = bool(verdicts) and set(verdicts) == {"pass"}
        for gate, verdict in enumerate(verdicts):
            self.add(
                Judged(
                    **self.common(f"judged/{number}/{gate}"),
                    run_id=f"run{number}",
                    key=f"key{number}",
                    family="ridge",
                    judgement=1,
                    gate=f"gate {gate}",
                    observed=None,
                    bound=None,
                    verdict=verdict,
                    compared_with=self.now.champion,
                )
            )
        self.add(
            Registered(
                **self.common(f"registered/{number}"),
                version=number,
                run_id=f"run{number}",
                key=f"key{number}",
                family="ridge",
            )
        )

    def _want(self, number: int, declared: Watched, compared: int | None) -> None:
        version, champion, now = self.version(number), self.champion(), self.now
        gates = story.gates(self.entries, number)
        if rules.opening_refusal(version, champion, now, gates, compared) is None:
            assert champion is not None
            opened = recording.opening(
                declared,
                version,
                champion,
                gates,
                model="churn",
                attempt=1 + sum(isinstance(e, RolloutOpened) and e.version == number for e in self.life),
                as_of=self.clock,
                actor="run",
                reason="scheduled",
                decision_id=None,
            )
            assert opened.id not in {event.id for event in self.life}, "it would be left out"
            self.add(opened)

    def _look(self, observed: Observed, *, stale: bool, twice: bool) -> None:
        before = self.now
        rollout = self._open()
        evidence = Evidence(rollout.id, rollout.number - stale, self.clock, observed)
        for _ in range(1 + twice):  # another controller has the same evidence
            now = self.now
            if now.rollout is not None:
                self._move(rules.move(now.rollout, evidence), observed)
        if stale:
            assert self.now == before
        elif observed.verdict == "worse":
            assert self.now.rollout is None and rollout.version in self.now.rolled_back
            assert self.now.champion == before.champion
        elif rollout.paused:
            assert self.now == before

    def _open(self) -> Rollout:
        rollout = self.now.rollout
        assert rollout is not None
        return rollout

    def _move(self, move: Move, observed: Observed | None) -> None:
        now = self.now
        if move.kind in ("advance", "promote") and now.pending is not None:
            return
        self.add(*recording.moving(now, move, observed, as_of=self.clock, actor="run"))

    def _intend(self, number: int, purpose: Any, replaces: int | None) -> None:
        self.add(
            Deploying(
                **self.common(story.next_id(f"deploying/{purpose}/{number}", self.entries)),
                version=number,
                purpose=purpose,
                replaces=replaces,
                run_id=f"run{number}",
                key=f"key{number}",
            )
        )

    def _complete(self) -> None:
        pending, now = self.now.pending, self.now
        assert pending is not None
        deployed = Deployed(**self.common(f"deployed/{pending.id}"), version=pending.version, intent=pending.id)
        if pending.purpose == "rollback":
            assert pending.replaces is not None
            left = pending.replaces
            self.add(deployed, RolledBack(**self.common(f"rollback/{left}"), version=pending.version, left=left))
        else:
            good = registry.last_known_good_after(
                self.version(pending.version),
                self.champion(),
                None if now.last_known_good is None else self.version(now.last_known_good),
            )
            self.add(
                deployed,
                Promoted(
                    **self.common(f"promotion/churn/{pending.version}"),
                    version=pending.version,
                    replaced=None if good is None else good.number,
                ),
            )


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
