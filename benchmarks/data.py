"""Point-in-time join, validation and monitoring, each against the bare computation of the same result."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from benchmarks.measure import Ratio, side_by_side
from evergreen.features import store
from evergreen.ingest import stages as ingest
from evergreen.lake import staging, tables
from evergreen.monitor import drift
from evergreen.run import Run
from evergreen.spec.schema import ModelSpec
from evergreen.validate import stages as validate


def point_in_time_join(spec: ModelSpec) -> Iterator[Ratio]:
    """Feast's `get_historical_features` against DuckDB's `ASOF JOIN` over the same Delta tables."""
    name = spec.label.name
    labels = tables.read(spec.model, "labels", name, columns=[spec.entity.key, "event_timestamp"])
    assert labels is not None
    rows = labels.to_pandas()

    def feast() -> pd.DataFrame:
        return store.historical_features(spec, rows)

    def bare() -> pd.DataFrame:
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.register("rows", rows)
            joins = ""
            for view in spec.features:
                connection.register(view, tables.dataset(tables.table_path(spec.model, "features", view)))
                joins += f" asof left join {view} on rows.{spec.entity.key} = {view}.{spec.entity.key}" \
                         f" and rows.event_timestamp >= {view}.event_timestamp"  # fmt: skip
            columns = ", ".join(
                f"{view}.{feature}" for view, declared in spec.features.items() for feature in declared.features
            )
            found: pd.DataFrame = connection.sql(f"select rows.*, {columns} from rows{joins}").df()
            return found

    key = [spec.entity.key, "event_timestamp"]
    ours, theirs = (f().sort_values(key, ignore_index=True) for f in (feast, bare))
    pd.testing.assert_frame_equal(ours, theirs[ours.columns], check_dtype=False)
    size = f"{len(rows):,} rows by {len(spec.feature_types)} features"
    yield Ratio(
        "point-in-time join through Feast",
        size,
        *side_by_side(feast, bare),
        "DuckDB ASOF JOIN",
        "respects known_at as well",
    )


def validation(run: Run) -> Iterator[Ratio]:
    """A day's contracts by Great Expectations, with quarantine and page, against one DuckDB query with the same counts."""
    extracted = ingest.extract(run)
    usage = staging.read(extracted["sources"]["usage"]["staged"])

    def gx() -> object:
        return validate.validate(run, extracted)

    def bare() -> list[tuple[int, ...]]:
        found = []
        with duckdb.connect(config={"threads": 2}) as connection:
            for name, source in extracted["sources"].items():
                connection.register(name, staging.read(source["staged"]))
                declared = run.spec.sources[name]
                nulls = ", ".join(f"count(*) - count({column})" for column in declared.columns)
                keys = ", ".join(declared.keys)
                found.append(
                    connection.sql(f"select count(*), count(distinct ({keys})), {nulls} from {name}").fetchall()[0]
                )
            found.append(
                connection.sql("select count(*) from usage where minutes not between 0 and 1440").fetchall()[0]
            )
        return found

    rows = sum(source["rows"] for source in extracted["sources"].values())
    size = f"{rows:,} rows of {len(extracted['sources'])} sources ({usage.num_rows:,} sessions)"
    note = "also writes accepted, rejected and the Data Docs page"
    yield Ratio("a day's validation", size, *side_by_side(gx, bare), "DuckDB counts", note)


def monitoring(spec: ModelSpec, rows: int) -> Iterator[Ratio]:
    """The distances of a window against the reference, against bare scipy on the numbers alone."""
    random = np.random.default_rng(0)

    def side(size: int) -> pd.DataFrame:
        columns = {name: random.choice(["a", "b", "c"], size) if kind == "category" else random.normal(size=size)
                   for name, kind in spec.feature_types.items()}  # fmt: skip
        return pd.DataFrame(columns).assign(prediction=random.random(size))

    window, reference = side(rows), side(20_000)
    numbers = [name for name, kind in spec.feature_types.items() if kind != "category"] + ["prediction"]

    def ours() -> object:
        return drift.distances(spec, window, reference)

    def bare() -> object:
        return [wasserstein_distance(reference[name].to_numpy(), window[name].to_numpy()) for name in numbers]

    yield Ratio(
        "a window's distances",
        f"{rows:,} rows by {len(numbers)} numbers",
        *side_by_side(ours, bare),
        "scipy",
        "categories and null shares as well",
    )
