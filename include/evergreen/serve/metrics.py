"""What the server tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from evergreen.serve.models import Loaded, Models

_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Serving(Collector):
    """Which versions serve, read when it is asked for."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        version = GaugeMetricFamily("evergreen_serving_version", "Version that serves; 0: none", labels=["model"])
        fallback = GaugeMetricFamily(
            "evergreen_serving_last_known_good", "1 while the champion cannot be loaded and the last known good version serves", labels=["model"]
        )  # fmt: skip
        failures = GaugeMetricFamily(
            "evergreen_load_failures", "Versions that could not be loaded since the start", labels=["model"]
        )
        for slot in self._models.all():
            version.add_metric([slot.model], slot.current.version.number if slot.current else 0)
            fallback.add_metric([slot.model], float(slot.fallback))
            failures.add_metric([slot.model], slot.failures)
        yield from (version, fallback, failures)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self.registry = CollectorRegistry()
        self.registry.register(_Serving(models))
        self._requests = Counter("evergreen_requests", "Answered requests", ["path", "status"], registry=self.registry)
        self._seconds = Histogram(
            "evergreen_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self._predictions = Counter(
            "evergreen_predictions", "Predictions, all of them in the log", ["model", "version"], registry=self.registry
        )
        self._unknown = Counter(
            "evergreen_unknown_entities", "Entities without features", ["model"], registry=self.registry
        )

    def answered(self, request: Request, status: int, seconds: float) -> None:
        """Count a request under its route, with the model where there is such a model; every path without a route is the same,
        so that nobody can make up labels."""
        path = getattr(request.scope.get("route"), "path", "other")
        model = request.path_params.get("model")
        if model in self._models.slots:
            path = path.replace("{model}", model)
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def predicted(self, loaded: Loaded, known: int, unknown: int) -> None:
        """Count an answer's predictions and the entities it had none for."""
        self._predictions.labels(loaded.spec.model, str(loaded.version.number)).inc(known)
        self._unknown.labels(loaded.spec.model).inc(unknown)
