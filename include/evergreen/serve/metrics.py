"""What the server tells Prometheus."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from evergreen.serve.answering import Made
from evergreen.serve.data import Data
from evergreen.serve.following import Following
from evergreen.serve.models import Models
from evergreen.serve.space import Space

_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Serving(Collector):
    """Which versions serve, read when it is asked for."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        version = GaugeMetricFamily("evergreen_serving_version", "Version that serves; 0: none", labels=["model"])
        fallback = GaugeMetricFamily(
            "evergreen_serving_last_known_good",
            "1 while the champion cannot be loaded and the last known good version serves",
            labels=["model"],
        )
        problem = GaugeMetricFamily(
            "evergreen_problem", "1 while /models says that something is wrong with what serves", labels=["model"]
        )
        failures = GaugeMetricFamily(
            "evergreen_load_failures",
            "Loads of a version that failed since the start, each try of its own",
            labels=["model"],
        )
        beside = GaugeMetricFamily(
            "evergreen_beside_version",
            "Version that is asked beside the champion in an open rollout; 0: none",
            labels=["model"],
        )
        share = GaugeMetricFamily(
            "evergreen_beside_share", "Of the entities, which it answers; of a shadow 0", labels=["model"]
        )
        for slot in self._models.all():
            other = slot.beside
            beside.add_metric([slot.model], other.version if other else 0)
            share.add_metric([slot.model], other.second.share / 100 if other else 0)
            version.add_metric([slot.model], slot.current.version.number if slot.current else 0)
            fallback.add_metric([slot.model], float(slot.fallback))
            problem.add_metric([slot.model], float(slot.problem is not None))
            failures.add_metric([slot.model], slot.failures)
        yield from (version, beside, share, fallback, problem, failures)


class _Following(Collector):
    """Whether this replica knows what should serve."""

    def __init__(self, following: Following) -> None:
        self._following = following

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "evergreen_cut_off_seconds",
            "Since Postgres said last what should serve; 0: it does",
            value=self._following.cut_off,
        )


class _Left(Collector):
    """The space that is left, as it was last seen."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def collect(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("evergreen_free_bytes", "Space that is left", labels=["place"])
        reserve = GaugeMetricFamily(
            "evergreen_reserve_bytes", "Space that predictions leave free; below it they are refused", labels=["place"]
        )
        for place in self._space.places:
            free.add_metric([place.name], place.free)
            reserve.add_metric([place.name], place.reserve)
        yield from (free, reserve)


class _Data(Collector):
    """Intervals without data, and how old features are, by the last look at them."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def collect(self) -> Iterator[Metric]:
        intervals = GaugeMetricFamily(
            "evergreen_intervals",
            "Intervals of a dataset or model that are over, by how they stand",
            labels=["name", "loop", "state"],
        )
        age = GaugeMetricFamily(
            "evergreen_feature_age_seconds",
            "Since the end of the newest interval whose features are online",
            labels=["model", "view"],
        )
        bound = GaugeMetricFamily(
            "evergreen_feature_age_bound_seconds",
            "How old features may be, of views that say so",
            labels=["model", "view"],
        )
        skewed = GaugeMetricFamily(
            "evergreen_skewed_share",
            "Answers of the newest window that were made from another value than the offline store has, of the feature"
            " with the most",
            labels=["model"],
        )
        now = datetime.now(UTC)
        # A dataset that several models use is there once.
        worked = {loop: states for each in self._data.standings.values() for loop, states in each.intervals.items()}
        for (name, loop), states in worked.items():
            for state, count in states.items():
                intervals.add_metric([name, loop, state], count)
        for model, standing in self._data.standings.items():
            if standing.skewed is not None:
                skewed.add_metric([model], standing.skewed)
            for name, view in standing.views.items():
                if (seconds := view.age(now)) is not None:
                    age.add_metric([model, name], seconds.total_seconds())
                if view.freshness is not None:
                    bound.add_metric([model, name], view.freshness.bound.total_seconds())
        yield from (intervals, age, bound, skewed)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(
        self,
        models: Models,
        space: Space | None = None,
        data: Data | None = None,
        following: Following | None = None,
    ) -> None:
        self._models = models
        self.registry = CollectorRegistry()
        self.registry.register(_Serving(models))
        if space is not None:
            self.registry.register(_Left(space))
        if data is not None:
            self.registry.register(_Data(data))
        if following is not None:
            self.registry.register(_Following(following))
        # To find a counter by its labels costs more than to count.
        self._counted = lru_cache(1_000)(self._counters)
        self._predicted = lru_cache(1_000)(lambda model, version: self._predictions.labels(model, str(version)))
        self._without = lru_cache(1_000)(lambda model: self._unknown.labels(model))
        self._requests = Counter("evergreen_requests", "Answered requests", ["path", "status"], registry=self.registry)
        self._seconds = Histogram(
            "evergreen_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self._predictions = Counter(
            "evergreen_predictions", "Predictions, all of them in the log", ["model", "version"], registry=self.registry
        )
        self._failed = Counter(
            "evergreen_failed_predictions",
            "Entities that the version beside the champion failed in, so that the champion answered",
            ["model", "version"],
            registry=self.registry,
        )
        self._left_out = Counter(
            "evergreen_shadow_left_out",
            "Entities that no shadow was asked about, or whose rows were not logged: it had too much to do",
            registry=self.registry,
        )
        self._unknown = Counter(
            "evergreen_unknown_entities", "Entities without features", ["model"], registry=self.registry
        )
        self._stale = Counter(
            "evergreen_stale_features",
            "Entities whose features of a view were older than its bound",
            ["model", "view"],
            registry=self.registry,
        )
        self._unseen = Counter(
            "evergreen_unseen_categories",
            "Values of a category that the version was not trained with",
            ["model", "feature"],
            registry=self.registry,
        )
        self._replayed = Counter(
            "evergreen_replayed_answers",
            "Retries that were given the first answer again",
            ["model"],
            registry=self.registry,
        )

    def answered(self, request: Request, status: int, seconds: float) -> None:
        """Count a request under its route, with the model where there is such a model; every path without a route is
        the same, so that nobody can make up labels."""
        path = getattr(request.scope.get("route"), "path", "other")
        model = request.scope.get("path_params", {}).get("model")
        self.counted(path, model if model in self._models.slots else None, status, seconds)

    def counted(self, path: str, model: str | None, status: int, seconds: float) -> None:
        """Count a request under the path of its route, with the model that it named, where there is such a one."""
        requests, took = self._counted(path, model, status)
        requests.inc()
        took.observe(seconds)

    def _counters(self, path: str, model: str | None, status: int) -> tuple[Counter, Histogram]:
        if model is not None:
            path = path.replace("{model}", model)
        return self._requests.labels(path, str(status)), self._seconds.labels(path)

    def predicted(self, model: str, made: Made) -> None:
        """Count an answer's predictions, the entities it had none for, by feature the categories that the version never
        saw, and what the version beside the champion failed in."""
        for version, count in Counts([row.version for row in made.rows]).items():
            self._predicted(model, version).inc(count)
        for row in made.failed:
            self._failed.labels(model, str(row.version)).inc()
        self._without(model).inc(len(made.unknown))
        for view, count in made.stale.items():
            self._stale.labels(model, view).inc(count)
        for feature, count in made.unseen.items():
            self._unseen.labels(model, feature).inc(count)

    def copied(self, size: Callable[[], int]) -> None:
        """Tell how many bytes of features are in this server's memory."""
        told = "Features in memory, for while their database is away"
        Gauge("evergreen_feature_copy_bytes", told, registry=self.registry).set_function(size)

    def left_out(self, entities: int) -> None:
        """Count what no shadow was asked about."""
        self._left_out.inc(entities)

    def replayed(self, model: str) -> None:
        """Count an answer that was given again."""
        self._replayed.labels(model).inc()
