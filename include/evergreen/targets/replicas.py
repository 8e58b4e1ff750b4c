"""Evergreen's own model servers as a target: each step is what the ledger has for it, and the replicas follow that.

So the ledger's rules hold beside the target's: a version passed its gates, shares grow as the spec's canary says, and
what was rolled back from does not come back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from evergreen.errors import StageSkipped, StepRefused
from evergreen.history import ledger, story
from evergreen.history.rollouts import Rollout
from evergreen.registry import records, store
from evergreen.registry.rules import Version
from evergreen.rollout import controller
from evergreen.run import Run
from evergreen.serve import deployment, opening, replicas
from evergreen.serve.replicas import Loading
from evergreen.serve.rollback import rollback
from evergreen.spec.rollout import CanaryRollout
from evergreen.targets import rules
from evergreen.targets.protocol import Packaged
from evergreen.targets.rules import Placed, Role, Serving


class Replicas:
    """A model on Evergreen's replicas."""

    def __init__(self, run: Run, canary: CanaryRollout) -> None:
        """
        Args:
            run: on whose behalf steps are taken: model, moment, actor and reason.
            canary: the shares that a challenger comes to; it begins as a shadow.
        """
        spec = run.spec.model_copy(update={"rollout": canary.model_copy(update={"shadow": True})})
        self._run, self._model = dataclasses.replace(run, spec=spec), run.spec.model

    def serving(self) -> Serving:
        """What all live replicas say; of those that differ for a moment, the one that gives least to what stands beside
        the champion."""
        found = [_placed(told) for told in replicas.following(self._model).live.values()]
        return min(found, key=_beside, default={})

    def put(self, version: Packaged, role: Role) -> None:
        """Record what the replicas follow; raises as `Target.put` does."""
        number, now = version.number, self.serving()
        if rules.put(now, number, role) == now:
            return
        with store.locked(self._model):
            deployment.end_pending(self._model)
        rollout = self._rollout
        if rollout is not None and rollout.version != number:
            self._withdraw(rollout)
            rollout = None
        if role == "champion":
            self._promote(number, rollout)
        else:
            self._place(number, role, rollout)
        deployment.settled(self._model)

    def route(self, weights: Mapping[int, int]) -> None:
        """Go on to the step that has the challenger's share; raises as `Target.route` does."""
        now = self.serving()
        wanted = rules.route(now, weights)
        challenger, rollout = rules.beside(wanted), self._rollout
        if wanted == now:
            return
        share = 0 if challenger is None else wanted[challenger].share
        shares = [] if rollout is None else [step.share for step in rollout.opened.steps]
        if rollout is None or share not in shares[rollout.number :]:
            to_come = ", ".join(f"{each} %" for each in shares[rollout.number :]) if rollout else "nothing"
            raise StepRefused(
                f"dealing out requests to {self._model}",
                found=f"{share} % to the challenger",
                expected=f"a share that is still to come: {to_come}",
                next_step="declare it in the spec's rollout, or put the champion to withdraw the challenger",
            )
        while (rollout := self._rollout) is not None and rollout.step.share != share:
            self._advance(rollout)
        deployment.settled(self._model)

    def _place(self, number: int, role: Role, rollout: Rollout | None) -> None:
        """Beside the champion: a shadow by the first step, a challenger by the one after it."""
        if rollout is not None and role == "shadow":
            raise self._refused(number, "a challenger, which does not become a shadow again")
        with store.locked(self._model):
            if rollout is None:
                self._open(number)
        rollout = self._rollout
        if role == "challenger" and rollout is not None and rollout.step.role == "shadow":
            self._advance(rollout)

    def _open(self, number: int) -> None:
        try:
            opening.opened(self._run, self._version(number), store.champion(self._model), self._compared(number))
        except StageSkipped as refused:
            raise self._refused(number, str(refused)) from None

    def _promote(self, number: int, rollout: Rollout | None) -> None:
        champion, good = store.champion(self._model), store.last_known_good(self._model)
        if rollout is not None:
            while (there := self._rollout) is not None:
                self._advance(there)
        elif champion is not None and champion.number == number:
            return  # what stood beside it is withdrawn
        elif champion is not None and good is not None and good.number == number:
            rollback(self._model, reason=self._run.reason, actor=self._run.actor, version=champion.number)
        else:
            with store.locked(self._model):
                if (refusal := self._refusal(number, champion)) is not None:
                    raise self._refused(number, refusal)
                deployment.carry_out(opening.intent(self._run, "promotion", self._version(number), champion))

    def _refusal(self, number: int, champion: Version | None) -> str | None:
        """Why a version may not have all requests at once."""
        if champion is not None:
            return controller.refusal(self._model, number, self._compared(number))
        gates = story.gates(ledger.entries(self._model, "registered", "judged"), number)
        failed = [gate.gate for gate in gates if gate.verdict != "pass"]
        return None if gates and not failed else f"gates that it did not pass: {', '.join(failed) or 'none is known'}"

    def _compared(self, number: int) -> int | None:
        """The champion that the version's gates compared it with."""
        gates = story.gates(ledger.entries(self._model, "registered", "judged"), number)
        return gates[-1].compared_with if gates else None

    def _withdraw(self, rollout: Rollout) -> None:
        controller.roll_back(
            self._model, rollout.id, as_of=self._run.as_of, actor=self._run.actor, reason=self._run.reason
        )

    def _advance(self, rollout: Rollout) -> None:
        about = {"actor": self._run.actor, "reason": self._run.reason}
        controller.advance(self._model, rollout.id, rollout.number, as_of=self._run.as_of, **about)

    def _version(self, number: int) -> Version:
        return records.version(self._model, number)

    @property
    def _rollout(self) -> Rollout | None:
        return ledger.standing(self._model).rollout

    def _refused(self, number: int, why: str) -> StepRefused:
        return StepRefused(
            f"putting version {number} of {self._model}",
            found=why,
            expected="a version that the ledger lets serve",
            next_step=f"`evergreen history {self._model}` says what became of it; train again",
        )


def _placed(told: list[Loading]) -> dict[int, Placed]:
    """What a replica says that it serves."""
    serves = [each for each in told if each.state == "serves"]
    second = next((each for each in serves if each.role in ("challenger", "shadow")), None)
    share = 0 if second is None or second.share is None else second.share
    found = {each.version: Placed("champion", 100 - share) for each in serves if each is not second}
    if second is not None:
        found[second.version] = Placed("shadow" if second.role == "shadow" else "challenger", share)
    return found


def _beside(serving: Serving) -> int:
    """Per cent of the requests that the champion does not answer."""
    return sum(placed.share for placed in serving.values() if placed.role != "champion")
