"""A version that waits for a person needs one who may allow it."""

from __future__ import annotations

from evergreen.spec.rules.wording import Mistakes, mistake, repeated
from evergreen.spec.schema import ModelSpec


def _approvers(spec: ModelSpec) -> Mistakes:
    risk = spec.risk
    if risk is None:
        return
    if risk.asks and not risk.approvers:
        allowed = f"at least one person who may allow a version: the tier is {risk.tier}"
        yield mistake("risk.approvers", "nobody", allowed, "name them, or write tier: low")
    if not risk.asks and risk.approvers:
        allowed = "nothing: of the tier low nobody is asked"
        yield mistake("risk.approvers", ", ".join(risk.approvers), allowed, "remove it, or write tier: high")
    yield from repeated("risk.approvers", risk.approvers)


OF_SPEC = (_approvers,)
