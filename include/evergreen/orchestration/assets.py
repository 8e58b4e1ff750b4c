"""The assets that tie the loops together in Airflow's asset graph; their events carry small extras, never secrets."""

from __future__ import annotations

from airflow.sdk import Asset

from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec


def features(spec: DatasetSpec) -> Asset:
    """The dataset's feature tables: an event for each published partition."""
    return Asset(name=f"{spec.name}_features", uri=f"evergreen://lake/{spec.name}/features", group="features")


def champion(spec: ModelSpec) -> Asset:
    """The version that serves: an event for each deployment."""
    return Asset(name=f"{spec.model}_champion", uri=f"evergreen://registry/{spec.model}/champion", group="models")


def decisions(spec: ModelSpec) -> Asset:
    """What the monitor decided: an event for each window.

    The address is a name, and the one of the release before, whose decisions lay in the lake: Airflow would take
    another one for another asset.
    """
    return Asset(name=f"{spec.model}_decisions", uri=f"evergreen://lake/{spec.model}/decisions", group="decisions")
