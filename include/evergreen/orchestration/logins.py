"""Who is whom in Airflow, and how long a training may wait for them."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk.configuration import conf

from evergreen.errors import RunError
from evergreen.loops.wire import LoopName
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

_ALL_ADMINS = "simple_auth_manager_all_admins"


def check(spec: DatasetSpec | ModelSpec, loop: LoopName) -> None:
    """Refuse an Airflow in which everybody is an administrator: an approval would be anybody's.

    Raises:
        RunError: it is one, and trainings of the model ask for approvals.
    """
    risk = spec.risk if isinstance(spec, ModelSpec) else None
    if loop != "train" or risk is None or not risk.asks:
        return
    if conf.getboolean("core", _ALL_ADMINS, fallback=False):
        raise RunError(
            f"asking who allows a version of {spec.name}",
            found=f"[core] {_ALL_ADMINS} = True: whoever opens Airflow is an administrator",
            expected=f"a login for each of {', '.join(risk.approvers)} (risk.approvers in model.yaml)",
            next_step=f"set AIRFLOW__CORE__{_ALL_ADMINS.upper()}=False, and give each of them a login",
        )


def waits(spec: DatasetSpec | ModelSpec, loop: LoopName) -> timedelta:
    """How long a run of a loop may wait for a person, beside its work."""
    risk = spec.risk if isinstance(spec, ModelSpec) else None
    return risk.waits if loop == "train" and risk is not None else timedelta()
