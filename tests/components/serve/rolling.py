"""A rollout of a served model, as `deploy` and the rollout's controller record it."""

from __future__ import annotations

from evergreen import database
from evergreen.history import ledger
from evergreen.history.events import GateVerdict, Judged
from evergreen.registry import records
from evergreen.rollout import controller
from evergreen.serve.predictions import TABLE, Prediction
from evergreen.spec.rollout import CanaryRollout, ShadowRollout

from .conftest import ServedModel, Server, until

SHADOW = ShadowRollout(strategy="shadow")


def canary(*shares: int) -> CanaryRollout:
    return CanaryRollout(strategy="canary", shares=shares, shadow=False)


def judged(served: ServedModel, number: int, compared: int | None, verdict: GateVerdict = "pass") -> None:
    """Record the gate of a registered version, as its training does.

    Args:
        compared: the champion that it was compared with.
    """
    version = records.version(served.name, number)
    ledger.append(
        Judged(
            id=f"judged/{version.run_id}/{number}",
            model=served.name,
            as_of=version.as_of,
            actor="run",
            reason="scheduled",
            run_id=version.run_id,
            key=version.key,
            family="logistic_regression",
            judgement=2,  # the last one counts
            gate="floor",
            observed=0.8,
            bound=0.7,
            verdict=verdict,
            compared_with=compared,
        )
    )


def opened(served: ServedModel, number: int, declared: CanaryRollout | ShadowRollout) -> str:
    """The id of the rollout of a version that passed its gates."""
    version, champion = records.version(served.name, number), ledger.standing(served.name).champion
    judged(served, number, champion)
    refused = controller.open_rollout(
        declared, served.name, number, compared=champion, as_of=version.as_of, actor="run", reason="scheduled"
    )
    assert refused is None, refused
    rollout = ledger.standing(served.name).rollout
    assert rollout is not None
    return rollout.id


def stands(served: ServedModel, server: Server, role: str | None, share: int = 0) -> None:
    """Until a server has a version beside the champion in that role; None: it has none."""

    wanted = None if role is None else (role, share)

    def so() -> bool:
        beside = server.describe(served.name)["beside"]
        return (beside and (beside["role"], beside["share"])) == wanted

    until(so, f"{role} with {share} % at {server.url}")


def asked_of(served: ServedModel, rollout: str) -> list[Prediction]:
    """What the log has of a rollout."""
    rest = "where model = %s and rollout = %s order by as_of, request_id, position, version"
    with database.connect() as connection:
        return TABLE.select(connection, rest, [served.name, rollout])
