"""What the endpoints of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from evergreen.database.connections import OWN
from evergreen.features.online_copy import OnlineCopy
from evergreen.quoting import shown
from evergreen.serve.admission import SMALL, Clients, Lane
from evergreen.serve.answering import Asked, Made, answer, answer_together
from evergreen.serve.batches import Batches
from evergreen.serve.commits import Commits
from evergreen.serve.data import Data
from evergreen.serve.drafts import Draft
from evergreen.serve.following import Following
from evergreen.serve.guards import Guards
from evergreen.serve.idempotency import Memory
from evergreen.serve.keyring import Keyring
from evergreen.serve.loaded import Loaded
from evergreen.serve.metrics import Metrics
from evergreen.serve.models import Models
from evergreen.serve.predictions import Prediction, PredictionLog, write_late
from evergreen.serve.pulse import Pulse
from evergreen.serve.shadows import Shadows
from evergreen.serve.slot import Slot
from evergreen.serve.space import Space
from evergreen.serve.unlogged import Unlogged
from evergreen.settings import settings

FEATURES = "feast"  # the database of the online store


@dataclass
class State:
    """One server's parts, made once at its start."""

    models: Models
    metrics: Metrics

    def slot(self, model: str) -> Slot:
        """The model's place; 404 without one."""
        if model not in self.models.slots:
            raise HTTPException(404, f"unknown model {shown(model)}; known: {', '.join(self.models.slots) or 'none'}")
        return self.models.slots[model]

    def serving(self, model: str) -> Loaded:
        """The version that serves; 503 while none does."""
        slot = self.slot(model)
        if slot.current is None:
            # What is wrong speaks to the operator; the model's own page has it.
            raise HTTPException(503, f"no version of {model} serves yet; GET /models/{model} says why")
        return slot.current

    @property
    def warnings(self) -> list[str]:
        """What an operator should attend to before it stops the server."""
        return []

    @property
    def refuses(self) -> bool:
        """No prediction is answered, whatever the models do."""
        return False


@dataclass
class Pipeline:
    """Where requests of one size are worked on and logged; they share neither
    threads nor commits with those of the other."""

    lane: Lane
    log: PredictionLog


@dataclass
class Challenger:
    """Where requests to the version beside a model's champion are worked on."""

    together: Batches[Asked, Made] = field(
        default_factory=lambda: Batches("requests to a challenger", places=200, most=64, work=answer_together)
    )
    lane: Lane = field(default_factory=lambda: Lane("requests to a challenger", threads=2, places=100))


@dataclass
class ServingState(State):
    """What predictions for clients need beside the models."""

    space: Space
    pulse: Pulse
    data: Data
    following: Following
    keys: Keyring
    copy: OnlineCopy
    clients: Clients = field(default_factory=lambda: Clients(settings().client_entities, settings().client_requests))
    # A request of one entity takes some 25 ms, of 1,000 some 250 ms; a full line is
    # answered within the patience of those in it.
    small: Pipeline = field(init=False)
    large: Pipeline = field(init=False)
    commits: Commits = field(init=False)  # of the log, of plain requests
    # Of versions with a graph, of which a request of one entity takes less than a thread's turn.
    together: Batches[Asked, Made] = field(
        default_factory=lambda: Batches("requests", places=200, most=64, work=answer_together)
    )
    # Of versions beside a champion, by model: they hold up no other request.
    challengers: dict[str, Challenger] = field(default_factory=dict)
    guards: Guards = field(init=False)
    shadows: Shadows = field(init=False)
    memory: Memory = field(default_factory=Memory)
    lookups: Lane = field(default_factory=lambda: Lane("retries", threads=2, places=100))
    unlogged: Unlogged = field(
        default_factory=lambda: Unlogged(settings().home / "unlogged", settings().unlogged, write_late)
    )

    def __post_init__(self) -> None:
        small, large = (
            Lane("requests", threads=4, places=200),
            Lane(f"requests of more than {SMALL} entities", threads=1, places=24),
        )
        self.small, self.large = (
            Pipeline(lane, PredictionLog(self.unlogged.append, lambda: self.unlogged.behind)) for lane in (small, large)
        )
        self.commits = Commits(self.small.log)
        self.metrics.copied(lambda: self.copy.size)
        replica = self.following.replica
        self.guards = Guards(f"guard of {replica}", lambda model, rollout: self.models.slots[model].withdraw(rollout))
        self.shadows = Shadows(lambda: self.together.taken > 0 or self.commits.busy, self.guards, self.metrics.left_out)

    @property
    def warnings(self) -> list[str]:
        """Where little space is left, which database does not answer, and whether this replica is cut off."""
        silent = [f"the database {name} does not answer" for name in self.pulse.silent()]
        waiting = self.unlogged.size
        kept = [f"{waiting:,} bytes of predictions wait on this disk for the prediction log"] if waiting else []
        if FEATURES in self.pulse.silent() and self.copy.has(self.models.tables()):
            silent.append("features come from this server's own copy, as they were when the database fell silent")
        return self.space.warnings + silent + kept + ([self._cut_off] if self.following.cut_off else [])

    @property
    def _cut_off(self) -> str:
        bound, policy = settings().cut_off, settings().when_cut_off
        then = "stops answering" if policy == "stop" else "goes on"
        return (
            f"cut off from Postgres for {self.following.cut_off:.0f} s, so nobody can say whether what serves still"
            f" should: after {bound:.0f} s this replica {then} (EVERGREEN_WHEN_CUT_OFF={policy})"
        )

    @property
    def stopped(self) -> bool:
        """It was cut off for so long that it answers no more."""
        return settings().when_cut_off == "stop" and self.following.cut_off > settings().cut_off

    @property
    def refuses(self) -> bool:
        """There is no place for the rows of the prediction log, no features, or Postgres has been away for long."""
        silent = set(self.pulse.silent())
        silent -= set() if self.unlogged.full else {OWN}
        silent -= {FEATURES} if self.copy.has(self.models.tables()) else set()
        return self.space.exhausted or bool(silent) or self.stopped

    def serving(self, model: str) -> Loaded:
        """The version that serves; 503 while none does, or nobody has said for long whether it should."""
        loaded = super().serving(model)
        if self.stopped:
            raise HTTPException(503, "this replica is cut off from Postgres, and stops (EVERGREEN_WHEN_CUT_OFF)")
        return loaded

    def pipeline(self, entities: int) -> Pipeline:
        """Where a request of so many entities is answered."""
        return self.small if entities <= SMALL else self.large

    async def worked(self, asked: Asked, draft: Draft[Prediction] | None = None) -> Made:
        """The answer of the version that is asked.

        Args:
            draft: takes the rows of a large request as they are made.

        Raises:
            HTTPException: 503, the server is too busy.
        """
        if asked.loaded.quick and len(asked.entities) <= SMALL:
            return await self.together.run(asked)
        send = None if draft is None else draft.add
        return await self.pipeline(len(asked.entities)).lane.run(answer, asked, send=send)

    async def worked_beside(self, asked: Asked) -> Made:
        """The same of a version beside the champion, by threads of its own."""
        model = asked.loaded.spec.model
        if model not in self.challengers:
            self.challengers[model] = Challenger()
        challenger = self.challengers[model]
        if asked.loaded.quick and len(asked.entities) <= SMALL:
            return await challenger.together.run(asked)
        return await challenger.lane.run(answer, asked)

    def close(self) -> None:
        """Write what is waiting, then stop."""
        self.following.stop()
        self.guards.stop()
        self.shadows.close()
        self.space.stop()
        self.pulse.stop()
        self.data.stop()
        self.copy.stop()
        self.together.close()
        for challenger in self.challengers.values():
            challenger.together.close()
            challenger.lane.close()
        for pipeline in (self.small, self.large):
            pipeline.log.close()
        self.unlogged.stop()
        for lane in (self.small.lane, self.large.lane, self.lookups):
            lane.close()
        self.memory.close()


def _of(request: Request) -> State:
    state: State = request.app.state.server
    return state


Shared = Annotated[State, Depends(_of)]
SharedServing = Annotated[ServingState, Depends(_of)]
