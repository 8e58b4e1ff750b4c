"""Point-in-time join, validation and monitoring against the bare computation of the same result."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from benchmarks import workload
from benchmarks.document import ratios
from benchmarks.measure import Ratio, side_by_side
from evergreen.features import historical, objects
from evergreen.ingest import stages as ingest
from evergreen.lake import staging, tables
from evergreen.lake.schema import FEATURES, LABELS
from evergreen.monitor import comparison, drift_report
from evergreen.run import DatasetRun, Run
from evergreen.settings import Settings
from evergreen.spec.columns import EVENT, PREDICTION
from evergreen.spec.contract import Contract, Expectation, load_contract
from evergreen.spec.schema import ModelSpec
from evergreen.validate import expectations, rules
from evergreen.validate import stages as validate
from evergreen.validate.usable import unusable_rows

CUSTOMERS, DAYS = 1000, 20
MANY, WIDTH = 1_000_000, 20  # rows and columns of a large table
WINDOW, REFERENCE = 5_000, 20_000  # predictions of a monitored window; rows of the version's reference
Counts = dict[tuple[str, int], int]  # (source, number of the expectation in its contract) → rows that fail


def run() -> str:
    """The section's text."""
    with workload.home() as here:
        spec = workload.model(here)
        print(f"  ingesting {DAYS} days of {CUSTOMERS} customers")
        for day in workload.deliver(here, CUSTOMERS, workload.FIRST, DAYS):
            workload.ingest(spec, day)
        workload.labels(Run(spec, day))
        objects.ensure_applied(spec)  # as a training does: the join asks for the model's service
        run = DatasetRun(spec.datasets[spec.model], day)
        rows = [*point_in_time_join(spec), *validation(run), *validation_of_many(here), *monitoring(spec, here)]
    return f"{_PROSE}\n\n{ratios(rows)}"


def point_in_time_join(spec: ModelSpec) -> Iterator[Ratio]:
    """Feast's `get_historical_features` against DuckDB's `ASOF JOIN` over the same Delta tables."""
    labels = tables.read(LABELS.of(spec.model, spec.label.name), columns=[*spec.entity.columns, EVENT])
    assert labels is not None
    rows = labels.to_pandas()
    key = [*spec.entity.columns, EVENT]

    def feast() -> pd.DataFrame:
        return historical.read(spec, rows)

    def bare() -> pd.DataFrame:
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.register("rows", rows)
            joins = ""
            for view in spec.features:
                connection.register(view, tables.dataset(tables.table_path(FEATURES.of(spec.dataset_of(view), view))))
                on = f"rows.{key[0]} = {view}.{key[0]} and rows.event_timestamp >= {view}.event_timestamp"
                joins += f" asof left join {view} on {on}"
            columns = [f"{view}.{name}" for view, declared in spec.features.items() for name in declared.features]
            joined: pd.DataFrame = connection.sql(f"select rows.*, {', '.join(columns)} from rows{joins}").df()
            return joined

    ours, theirs = (join().sort_values(key, ignore_index=True) for join in (feast, bare))
    pd.testing.assert_frame_equal(ours, theirs[ours.columns], check_dtype=False)
    size = f"{len(rows):,} rows by {len(spec.feature_types)} features"
    yield Ratio("point-in-time join through Feast", size, *side_by_side(feast, bare), "DuckDB `ASOF JOIN`", _JOIN)


def validation(run: DatasetRun) -> Iterator[Ratio]:
    """A day's contracts by Great Expectations against one DuckDB query per source
    that counts what fails each expectation."""
    extracted = ingest.extract(run)
    batches = {name: source.staged for name, source in extracted.sources.items()}
    contracts = {name: load_contract(run.spec, name) for name in batches}

    def stage() -> object:
        return validate.validate(run, extracted)

    def judged() -> Counts:
        judge = expectations.Judge()
        counts: Counts = {}
        for name, file in batches.items():
            table, suite = staging.read(file), expectations.suite(contracts[name], name, name)
            unusable = unusable_rows(table, run.spec.sources[name].keys, {})
            usable = [position for position in range(table.num_rows) if position not in unusable]
            judgeable = table.take(usable) if unusable else table
            findings, _ = judge(suite, judgeable.select(list(run.spec.sources[name].columns)), usable, name, run.as_of)
            counts |= {(name, at): _failing(finding) for at, finding in enumerate(findings)}
        return counts

    def bare() -> Counts:
        counts: Counts = {}
        with duckdb.connect(config={"threads": 2}) as connection:
            for name, file in batches.items():
                columns = ", ".join(_sql(each) for each in contracts[name].expectations)
                # As the stage does: rows that cannot be parsed and repeated keys are not judged.
                keys = run.spec.sources[name].keys
                partition, unkeyed = ", ".join(keys), " or ".join(f"{key} is null" for key in keys)
                usable = (
                    f"select * from (select *, row_number() over () as _at from read_parquet('{file.path}') where "
                    f"_unparsed is null) qualify row_number() over (partition by {partition} order by _at) = 1 "
                    f"or {unkeyed}"
                )
                failing = connection.sql(f"select {columns} from ({usable})").fetchall()[0]
                counts |= {(name, at): int(count) for at, count in enumerate(failing)}
        return counts

    assert judged() == bare(), "the two do not count the same"
    rows = sum(source.staged.rows for source in extracted.sources.values())
    size = (
        f"{rows:,} rows of {len(batches)} sources, {sum(len(each.expectations) for each in contracts.values())} "
        "expectations"
    )
    yield Ratio("contracts by Great Expectations", size, *side_by_side(judged, bare), "DuckDB counts", _CONTRACTS)
    yield Ratio("the stage `validate`", size, *side_by_side(stage, bare), "DuckDB counts", _VALIDATE)


def validation_of_many(here: Settings) -> Iterator[Ratio]:
    """A contract of as many expectations as columns on a large table, against one DuckDB query that counts."""
    random, names = np.random.default_rng(0), [f"c{number:02}" for number in range(WIDTH)]
    plans = np.array(["basic", "plus", "family", "unknown"])
    columns: dict[str, pa.Array] = {}
    stated: list[dict[str, object]] = []
    for number, name in enumerate(names):
        absent = random.random(MANY) < (0.001 if number % 2 else 0)
        match number % 4:
            case 0 | 1:
                columns[name] = pa.array(random.normal(size=MANY), mask=absent)
                about: dict[str, object] = {"type": "expect_column_values_to_be_between", "min_value": -3.2}
            case 2:
                columns[name] = pa.array(random.integers(0, 1000, MANY), mask=absent)
                about = {"type": "expect_column_values_to_not_be_null"}
            case _:
                chosen = random.choice(4, MANY, p=[0.5, 0.3, 0.199, 0.001])
                columns[name] = pa.array(plans[chosen], mask=absent)
                about = {"type": "expect_column_values_to_be_in_set", "value_set": ["basic", "plus", "family"]}
        stated.append(about | {"column": name, "mostly": 0.9})
    file, contract = here.home / "many.parquet", Contract.model_validate({"expectations": tuple(stated)})
    pq.write_table(pa.table(columns), file)
    del columns

    def judged() -> list[int]:
        table = pq.read_table(file)
        suite = expectations.suite(contract, "many", "many.yaml")
        findings, _ = expectations.Judge()(
            suite, table, range(table.num_rows), "many", datetime(2026, 1, 2, tzinfo=UTC)
        )
        return [_failing(finding) for finding in findings]

    def bare() -> list[int]:
        counts = ", ".join(_sql(each) for each in contract.expectations)
        with duckdb.connect(config={"threads": 2}) as connection:
            return [int(count) for count in connection.sql(f"select {counts} from '{file}'").fetchall()[0]]

    assert judged() == bare(), "the two do not count the same"
    size = f"{MANY:,} rows by {WIDTH} columns, {WIDTH} expectations"
    yield Ratio("contracts by Great Expectations", size, *side_by_side(judged, bare), "DuckDB counts", _MANY)


def _failing(finding: rules.Finding) -> int:
    """How many rows fail an expectation about rows; 0 or 1 for one about the table."""
    return int(not finding.success) if finding.failing is None else len(finding.failing)


def _sql(expectation: Expectation) -> str:
    """The expression that counts what `_failing` counts."""
    given = expectation.arguments
    column, values = given.get("column"), ", ".join(f"'{value}'" for value in given.get("value_set", []))
    low, high = given.get("min_value"), given.get("max_value")
    between = "{0} between " + f"{low if low is not None else '-1e300'} and {high if high is not None else '1e300'}"
    match expectation.type:
        case "expect_column_values_to_not_be_null":
            return f"count(*) - count({column})"
        case "expect_column_values_to_be_between":
            return f"count(*) filter (not ({between.format(column)}))"
        case "expect_column_values_to_be_in_set":
            return f"count(*) filter ({column} not in ({values}))"
        case "expect_column_distinct_values_to_be_in_set":
            return f"(count(*) filter ({column} not in ({values})) > 0)::int"
        case "expect_table_row_count_to_be_between":
            return f"(not ({between.format('count(*)')}))::int"
        case "expect_column_proportion_of_non_null_values_to_be_between":
            return f"(not ({between.format(f'count({column}) / count(*)')}))::int"
        case unknown:
            raise ValueError(
                f"a contract asks {unknown}, which has no counterpart in SQL: add a case above, so that both "
                "count the same"
            )


def monitoring(spec: ModelSpec, here: Settings) -> Iterator[Ratio]:
    """A window's distances, and the Evidently report on a sample of it, against bare numpy and scipy."""
    random = np.random.default_rng(0)
    kinds = spec.feature_types | {PREDICTION: "float"}

    def side(size: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                name: random.choice(["a", "b", "c"], size) if kind == "category" else random.normal(size=size)
                for name, kind in kinds.items()
            }
        )

    window, reference = side(WINDOW), side(REFERENCE)

    def ours() -> dict[str, float]:
        measured = comparison.Reference(spec, reference).distances(window)
        return {name: each.value for name, each in measured.items() if name != comparison.CONFIDENCE}

    def report() -> None:
        drift_report.write(spec, "window", window, reference, {})

    def bare() -> dict[str, float]:
        return {
            name: _distance(kind, window[name].to_numpy(), reference[name].to_numpy()) for name, kind in kinds.items()
        }

    theirs = bare()
    # Ours looks at 128 quantiles of the reference, theirs at each of its values.
    assert all(abs(distance - theirs[name]) < 0.01 for name, distance in ours().items()), "the distances differ"
    size = f"{WINDOW:,} rows against {REFERENCE:,}, {len(kinds)} columns"
    yield Ratio("a window's distances", size, *side_by_side(ours, bare), "numpy and scipy", _DISTANCES)
    size = f"samples of {spec.monitoring.report_rows:,} rows, {len(kinds)} columns"
    yield Ratio(
        "the Evidently report", size, *side_by_side(report, bare, rounds=3), "numpy and scipy, all rows", _REPORT
    )


def _distance(kind: str, window: np.ndarray, reference: np.ndarray) -> float:
    if kind != "category":
        return float(ks_2samp(reference, window, method="asymp").statistic)
    names = np.unique(np.concatenate([window, reference]))
    shares = [np.array([(side == name).mean() for name in names]) for side in (reference, window)]
    return float(jensenshannon(*shares, base=2))


_PROSE = """Before anything is timed, both sides must give the same: the join the same rows, the contracts the same
count of failures for every expectation, the monitor the same distances."""
_JOIN = "also leaves out what was not yet known (`known_at`), and asks Feast's registry"
_CONTRACTS = "also names the rows that fail, and builds Great Expectations' results of them"
_VALIDATE = "as above; more than half of it writes accepted and rejected rows and the Data Docs page (cProfile)"
_MANY = _CONTRACTS
_DISTANCES = "also learns the bound of each column, from windows drawn out of the reference"
_REPORT = (
    "more than eight tenths of its CPU time draw 64 figures by plotly into one HTML page; decisions do not wait for "
    "it (cProfile)"
)
