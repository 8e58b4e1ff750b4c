"""The model server as it runs, with one version that was not registered anywhere and with the limits that a
test needs: what test_http attacks.

Arguments: the port, and for how many seconds the server waits for a client. The environment names the databases; MLflow
is away.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pandas as pd
import pyarrow as pa

from evergreen.features import objects, online_values
from evergreen.model import families
from evergreen.model.rows import inputs
from evergreen.registry.pipelines import PipelinePredictor
from evergreen.registry.rules import Version
from evergreen.serve.app import create_serving_app
from evergreen.serve.door import Limits
from evergreen.serve.hosts import allowed
from evergreen.serve.loaded import Loaded
from evergreen.serve.models import Models
from evergreen.serve.protocol import listen
from evergreen.settings import settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

AT = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "category": pa.string()}
SAMPLES: dict[str, list[Any]] = {
    "int": [1, 7, 30],
    "float": [0.5, 10.0, 99.0],
    "bool": [True, False, True],
    "category": ["a", "b", "c"],
}


def fitted(spec: ModelSpec) -> PipelinePredictor:
    rows = pd.DataFrame({name: SAMPLES[kind] * 20 for name, kind in spec.feature_types.items()})
    pipeline = families.build("logistic_regression", {"C": 1.0}, spec.feature_types, 0)
    return PipelinePredictor(pipeline.fit(inputs(spec.feature_types, rows), [0, 1, 0] * 20), spec.feature_types)


def main() -> None:
    port, waits = int(sys.argv[1]), float(sys.argv[2])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    spec = load_spec(settings().models / "churn")
    objects.ensure_applied(spec)
    for view, declared in spec.features.items():
        columns = {spec.entity.key: pa.array(["c-0", "c-1", "c-2"])}
        columns |= {name: pa.array(SAMPLES[kind], TYPES[kind]) for name, kind in declared.features.items()}
        columns |= {name: pa.array([AT] * 3, pa.timestamp("us", "UTC")) for name in ("event_timestamp", "known_at")}
        online_values.write(spec, view, pa.table(columns))
    models = Models([spec.model])
    slot = models.slots[spec.model]
    slot.current, slot.settled = Loaded(spec, Version(1, "run", "key", AT), fitted(spec)), True
    listen(
        create_serving_app(models, allowed("127.0.0.1", settings().server_url)),
        host="127.0.0.1",
        port=port,
        trusted=(ip_network("127.0.0.9/32"),),
        limits=Limits(
            header_seconds=waits,
            body_seconds=waits,
            idle_seconds=waits,
            drain_seconds=1,
            connections=90,
            connections_of_a_client=60,
        ),
    )


if __name__ == "__main__":
    main()
