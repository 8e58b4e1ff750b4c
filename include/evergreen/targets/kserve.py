"""An InferenceService of KServe: its predictor is the newest version, and `canaryTrafficPercent` what that one answers.

KServe keeps the revision before it and deals out the rest to that. So there are a champion and a challenger, and no
shadow: KServe has none within an InferenceService. Which version has which role stands in annotations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from evergreen.answers import Remote, refusal, silence
from evergreen.errors import DeployRefused, ServiceUnavailable, StepRefused
from evergreen.targets import rules
from evergreen.targets.protocol import Packaged
from evergreen.targets.rules import Placed, Role, Serving

_API = "serving.kserve.io/v1beta1"
_CHAMPION, _CHALLENGER = "evergreen.champion", "evergreen.challenger"  # annotations: the version's number


@dataclass(frozen=True)
class Cluster:
    """Where the InferenceService is, and how it runs.

    Attributes:
        url: of the Kubernetes API.
        token: of a service account that may get, create and update InferenceServices in the namespace.
        authority: file of the certificates that the API is trusted by; None: the system's.
        runtime: a ServingRuntime; empty: the cluster's own for MLflow's format.
        wait: seconds between two looks.
        patience: seconds that a step may take.
    """

    url: str
    namespace: str
    token: str = field(repr=False)
    authority: str | None = None
    runtime: str = ""
    service_account: str = ""
    replicas: int = 1
    wait: float = 2.0
    patience: float = 600.0


class KServe:
    """The InferenceService of a model, of the model's name with hyphens."""

    def __init__(self, model: str, cluster: Cluster) -> None:
        self.name = model.replace("_", "-")
        self._cluster = cluster
        self._client = httpx.Client(
            base_url=cluster.url,
            headers={"Authorization": f"Bearer {cluster.token}"},
            timeout=30.0,
            verify=True if cluster.authority is None else _trusting(cluster.authority),
        )
        self._all = f"/apis/{_API}/namespaces/{cluster.namespace}/inferenceservices"

    def serving(self) -> Serving:
        """What KServe says of its traffic."""
        there = self._read()
        return {} if there is None else _placed(there)

    def put(self, version: Packaged, role: Role) -> None:
        """Make the version the predictor; raises as `Target.put` does."""
        if role == "shadow":
            raise StepRefused(
                f"putting version {version.number} on the InferenceService {self.name}",
                found="the role shadow, which KServe's InferenceService has not",
                expected="champion or challenger",
                next_step="let a service mesh mirror requests, or take another target",
            )
        there = self._read()
        now = {} if there is None else _placed(there)
        wanted = rules.put(now, version.number, role)
        if wanted == now:
            assert there is not None, "nothing is served by nothing"
            # An earlier try may have been killed before it was so.
            self._wait(there["metadata"]["generation"], f"putting version {version.number} as {role}")
            return
        challenger = rules.beside(wanted)
        share = None if challenger is None else wanted[challenger].share
        champion = rules.champion_of(wanted)
        annotations = {_CHAMPION: str(champion)} | ({} if challenger is None else {_CHALLENGER: str(challenger)})
        self._apply(there, annotations, self._predictor(version, share), f"putting version {version.number} as {role}")

    def route(self, weights: Mapping[int, int]) -> None:
        """Set the challenger's share; raises as `Target.route` does."""
        there = self._read()
        now = {} if there is None else _placed(there)
        wanted = rules.route(now, weights)
        if wanted == now or there is None:
            return
        challenger = rules.beside(wanted)
        assert challenger is not None, "without a challenger all requests are the champion's"
        predictor = there["spec"]["predictor"] | {"canaryTrafficPercent": wanted[challenger].share}
        self._apply(there, there["metadata"]["annotations"], predictor, "dealing out requests")

    def _predictor(self, version: Packaged, share: int | None) -> dict[str, Any]:
        model: dict[str, Any] = {
            "modelFormat": {"name": "mlflow"},
            "protocolVersion": "v2",
            "storageUri": version.location,
        }
        if self._cluster.runtime:
            model["runtime"] = self._cluster.runtime
        predictor: dict[str, Any] = {"minReplicas": self._cluster.replicas, "model": model}
        if self._cluster.service_account:
            predictor["serviceAccountName"] = self._cluster.service_account
        return predictor if share is None else predictor | {"canaryTrafficPercent": share}

    def _apply(
        self, there: dict[str, Any] | None, annotations: Mapping[str, str], predictor: Mapping[str, Any], doing: str
    ) -> None:
        """Write, and wait until it is so; of a version that does not become ready, write back what was there."""
        if there is None:
            metadata: dict[str, Any] = {"name": self.name, "namespace": self._cluster.namespace}
            body = _object(metadata | {"annotations": dict(annotations)}, predictor)
            made: dict[str, Any] = self._send("POST", self._all, doing, body)
        else:
            made = self._replaced(there, annotations, predictor, doing)
        try:
            self._wait(made["metadata"]["generation"], doing)
        except DeployRefused:
            if there is not None:
                before = self._read() or made
                self._replaced(before, there["metadata"].get("annotations", {}), there["spec"]["predictor"], doing)
            raise

    def _replaced(
        self, there: dict[str, Any], annotations: Mapping[str, str], predictor: Mapping[str, Any], doing: str
    ) -> dict[str, Any]:
        """Whoever wrote in between is not overwritten: Kubernetes refuses an older `resourceVersion`."""
        kept = {
            name: value
            for name, value in there["metadata"].get("annotations", {}).items()
            if name not in (_CHAMPION, _CHALLENGER)
        }
        metadata = {name: there["metadata"][name] for name in ("name", "namespace", "resourceVersion")}
        body = _object(metadata | {"annotations": kept | dict(annotations)}, predictor)
        replaced: dict[str, Any] = self._send("PUT", f"{self._all}/{self.name}", doing, body)
        return replaced

    def _wait(self, generation: int, doing: str) -> None:
        until = time.monotonic() + self._cluster.patience
        while True:
            status = (self._read() or {}).get("status", {})
            conditions = {each["type"]: each for each in status.get("conditions", [])}
            ready = conditions.get("Ready", {})
            seen = status.get("observedGeneration", 0) >= generation
            if seen and ready.get("status") == "True":
                return
            if time.monotonic() > until or (seen and ready.get("status") == "False"):
                broken = [
                    f"{name}: {each.get('message') or each.get('reason') or each['status']}"
                    for name, each in conditions.items()
                    if each["status"] != "True"
                ]
                raise DeployRefused(
                    f"{doing} on the InferenceService {self.name}",
                    found="; ".join(broken) or "no condition",
                    expected="Ready",
                    next_step="look at its pods' logs; the revision before it serves still",
                )
            time.sleep(self._cluster.wait)

    def _read(self) -> dict[str, Any] | None:
        doing = f"looking at the InferenceService {self.name}"
        there: dict[str, Any] | None = self._send("GET", f"{self._all}/{self.name}", doing, None)
        return there

    def _send(self, method: str, path: str, doing: str, body: Mapping[str, Any] | None) -> Any:
        """The object that comes back; None: there is none."""
        try:
            response = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise silence(doing, f"{type(error).__name__}: {error}", self._server) from error
        if method == "GET" and response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code == httpx.codes.CONFLICT:
            raise ServiceUnavailable(
                doing,
                found="somebody else has written it in between",
                expected="the InferenceService as it was read",
                next_step="do this again: it is decided anew by what is there",
            )
        if not response.is_success:
            raise refusal(doing, response.status_code, response.text, self._server)
        return response.json()

    @property
    def _server(self) -> Remote:
        name = f"the Kubernetes API at {self._cluster.url}"
        return Remote(name, "the service account's token", "the cluster's address", "its log", "look at the cluster")


def _object(metadata: Mapping[str, Any], predictor: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "InferenceService",
        "metadata": dict(metadata),
        "spec": {"predictor": dict(predictor)},
    }


def _placed(there: Mapping[str, Any]) -> dict[int, Placed]:
    """The versions, by the annotations, with the shares that KServe says it deals out."""
    annotations = there["metadata"].get("annotations", {})
    if _CHAMPION not in annotations:
        return {}
    champion = int(annotations[_CHAMPION])
    if _CHALLENGER not in annotations:
        return {champion: Placed("champion", 100)}
    traffic = there.get("status", {}).get("components", {}).get("predictor", {}).get("traffic", [])
    share = sum(each.get("percent", 0) for each in traffic if each.get("latestRevision"))
    return {champion: Placed("champion", 100 - share), int(annotations[_CHALLENGER]): Placed("challenger", share)}


def _trusting(authority: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=authority)
