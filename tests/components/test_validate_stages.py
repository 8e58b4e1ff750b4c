"""The validation stages on the real Great Expectations, from landed bytes to staged rows and a page."""

from __future__ import annotations

import logging
import re
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser

import pyarrow as pa
import pytest
import yaml

from evergreen.errors import ContractBroken, EvidenceMissing, SpecError
from evergreen.handovers.handover import Handover
from evergreen.handovers.ingest import Computed, FeatureCandidate
from evergreen.handovers.train import SoundTrainingSet, Stretch, TrainingSet
from evergreen.history import ledger, timeline
from evergreen.ingest.stages import extract
from evergreen.interval import Interval
from evergreen.lake import staging
from evergreen.links import Link
from evergreen.run import DatasetRun, Run
from evergreen.settings import PROJECT, settings
from evergreen.spec.load import load_spec
from evergreen.validate.stages import validate, validate_features, validate_training
from tests.small_models import SHOP, write_shop

DAY = Interval.of_day(date(2026, 1, 5))
SOURCE = "visits"
CONTRACTS = {
    SOURCE: [
        {"type": "expect_column_values_to_not_be_null", "column": "guest_id"},
        {"type": "expect_column_values_to_be_between", "column": "spent", "min_value": 0, "mostly": 0.9},
        {"type": "expect_column_values_to_be_between", "column": "spent", "max_value": 500, "severity": "warning"},
        {"type": "expect_column_proportion_of_non_null_values_to_be_between", "column": "spent", "min_value": 0.5},
        {
            "type": "expect_column_distinct_values_to_be_in_set",
            "column": "kind",
            "value_set": ["web", "desk"],
            "severity": "warning",
        },
        {"type": "expect_table_row_count_to_be_between", "min_value": 1, "max_value": 1000},
    ],
    "habits": [
        {"type": "expect_column_values_to_be_between", "column": "visits_7d", "min_value": 0},
        {"type": "expect_column_values_to_not_be_null", "column": "kind", "severity": "warning"},
    ],
}
HEADER = "visit_id,guest_id,at,spent,kind"


def visit(number, spent="10.5", kind="web", guest="g1", key=None):
    return f"{key or f'v{number}'},{guest},2026-01-05T10:00:00Z,{spent},{kind}"


@pytest.fixture
def run(home, tmp_path):
    """A run of a small model, with a home of its own."""
    folder = write_shop(tmp_path / "models" / "shop", SHOP, CONTRACTS)
    return DatasetRun(load_spec(folder).own_data(), DAY)


def training(run):
    """A training of the same model."""
    return Run(load_spec(run.spec.folder), DAY)


def land(*lines):
    file = settings().home / "landing" / "shop" / SOURCE / f"{DAY.partition}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([HEADER, *lines]) + "\n")


def validated(run, *lines):
    land(*lines)
    result = validate(run, extract(run))
    assert list(result.sources) == [SOURCE]
    return result


def counts(result):
    """Rows read, accepted and rejected."""
    parted = result.sources[SOURCE]
    return parted.batch.staged.rows, parted.accepted.rows, parted.rejected.rows


def page(shown):
    """The page that a task shows, by its hand-over or its error."""
    links = shown.links() if isinstance(shown, Handover) else shown.links
    path = links[Link.DATA_DOCS].removeprefix(settings().reports_url + "/")
    return (settings().reports / path).read_text()


def rows(file):
    return staging.read(file).to_pylist()


def test_sound_rows_are_accepted_with_the_declared_columns(run):
    result = validated(run, *[visit(n) for n in range(30)])
    assert (counts(result), result.warnings) == ((30, 30, 0), ())
    accepted = staging.read(result.sources[SOURCE].accepted)
    assert accepted.column_names == HEADER.split(",")
    assert accepted["visit_id"].to_pylist() == [f"v{n}" for n in range(30)]
    assert rows(result.sources[SOURCE].rejected) == []


def test_every_bad_row_is_in_quarantine_once_with_all_its_reasons(run, caplog):
    bad = [
        visit(30, spent="ten"),
        visit(31, key="v1"),
        visit(32, spent="-1"),
        visit(33, spent="900"),
        visit(34, spent="-2", key="v2"),
    ]
    with caplog.at_level(logging.INFO, "evergreen"):
        result = validated(run, *[visit(n) for n in range(30)], *bad)
    assert {row["_row"]: row["_reasons"] for row in rows(result.sources[SOURCE].rejected)} == {
        30: "unparsable: line 32: spent=ten (spent is a float, such as 1299.5)",
        31: "duplicate key",
        32: "expect_column_values_to_be_between(spent)",
        33: "expect_column_values_to_be_between(spent)",
        34: "duplicate key",
    }
    assert counts(result) == (35, 30, 5)
    assert [row["visit_id"] for row in rows(result.sources[SOURCE].accepted)] == [f"v{n}" for n in range(30)]
    misfit, warning = result.warnings
    assert misfit.startswith(f"{SOURCE}: 1 of 35 rows has a cell that does not fit its declared type")
    assert misfit.endswith(": line 32: spent=ten (spent is a float, such as 1299.5)")
    assert "max_value=500" in warning
    assert "1 of 32 rows fail (row 33; value 900.0)" in warning
    assert "5 to quarantine (2 duplicate key, 2 expect_column_values_to_be_between(spent), 1 unparsable)" in caplog.text
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [misfit, warning]
    assert warning.startswith(f"{SOURCE}: ")


def test_a_new_category_alerts_and_its_rows_stay(run):
    result = validated(run, *[visit(n, kind="kiosk" if n > 20 else "web") for n in range(30)])
    assert counts(result) == (30, 30, 0)
    assert "expect_column_distinct_values_to_be_in_set(kind)" in result.warnings[0]
    assert "kiosk" in result.warnings[0]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "expect_table_row_count_to_be_between(), min_value=1, max_value=1000: found 0"),
        (
            [visit(n, spent="") for n in range(30)],
            "expect_column_proportion_of_non_null_values_to_be_between(spent), min_value=0.5: found 0.0",
        ),
        (
            [visit(n, guest="" if n in (3, 4) else "g1") for n in range(30)],
            "expect_column_values_to_not_be_null(guest_id): 2 of 30 rows fail (rows 3, 4; value null)",
        ),
        (
            [visit(n, spent=str(-n)) for n in range(30)],
            "mostly=0.9, min_value=0.0: 29 of 30 rows fail"
            " (rows 1, 2, 3, 4, 5, …; values -1.0, -2.0, -3.0, -4.0, -5.0, …)",
        ),
        ([visit(n, spent="n/a") for n in range(30)], "30 of 30 rows would go to quarantine: 30 unparsable"),
        (
            [visit(n, spent="n/a") for n in range(3)],
            "3 of 3 rows would go to quarantine: 3 unparsable. 3 of 3 rows have a cell that does not fit its declared "
            "type: line 2: spent=n/a (spent is a float, such as 1299.5); line 3: spent=n/a",
        ),
        ([visit(n, key="v0") for n in range(30)], "29 of 30 rows would go to quarantine: 29 duplicate key"),
    ],
    ids=[
        "empty batch",
        "all-null column",
        "missing keys",
        "out of range",
        "wrong types",
        "nothing accepted",
        "duplicate keys",
    ],
)
def test_a_broken_batch_stops_the_run_and_says_what_where_and_what_to_do(run, lines, problem):
    with pytest.raises(ContractBroken) as caught:
        validated(run, *lines)
    message = str(caught.value)
    assert "validating the sources of shop 2026-01-05" in message
    assert f"{SOURCE}: " in message
    assert problem in message
    assert "nothing was published" in message
    assert caught.value.links[Link.DATA_DOCS] in message
    assert message.splitlines()[-1].startswith("  next step: correct the batch upstream")
    assert problem.replace("≥", "") in page(caught.value)


def test_an_empty_batch_passes_a_contract_that_allows_it(run):
    file = run.spec.contract_file(SOURCE)
    file.write_text(yaml.safe_dump({"expectations": CONTRACTS[SOURCE][:-1]}))
    result = validated(run)
    assert counts(result) == (0, 0, 0)
    assert staging.read(result.sources[SOURCE].accepted).column_names == HEADER.split(",")
    assert "the table has no rows" in page(result)


def test_what_a_batch_that_can_be_read_should_still_be_told_reaches_the_owner_and_the_page(run):
    result = validated(run, *[visit(n, kind=f"{n}.0") for n in range(3)])
    warning = next(each for each in result.warnings if "every value" in each)
    assert warning.startswith(f"{SOURCE}: kind: every value is a whole number with .0, such as '0.0'")
    assert "pandas writes integers where one is missing" in page(result)


def test_a_contract_that_great_expectations_cannot_read_names_the_file(run):
    run.spec.contract_file(SOURCE).write_text("expectations: [{type: expect_column_values_to_be_nice, column: spent}]")
    with pytest.raises(SpecError, match=r"shop/contracts/visits\.yaml"):
        validated(run, visit(1))


def test_validating_again_leaves_the_same_files_and_one_page(run):
    lines = [visit(n, spent="-1" if n == 7 else "1") for n in range(30)]
    first = validated(run, *lines)
    files = [first.sources[SOURCE].accepted, first.sources[SOURCE].rejected]
    before = [staging.read(file) for file in files]
    again = validated(run, *lines)
    assert again == first
    assert [staging.read(file) for file in files] == before
    assert [file.name for file in (settings().reports / "shop/data_docs/sources").iterdir()] == ["2026-01-05.html"]


class Resources(HTMLParser):
    """Everything that a browser would load, and every script."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        loads = [
            value
            for name, value in attrs
            if name in ("src", "srcset", "data", "action") or (tag == "link" and name == "href")
        ]
        self.found += [(tag, value) for value in loads] + ([(tag, "")] if tag in ("script", "iframe") else [])


def test_the_page_needs_no_network_and_escapes_what_it_shows(run):
    result = validated(
        run,
        *[visit(n, kind="<script>alert(1)</script>" if n == 3 else "web") for n in range(30)],
        visit(31, spent="-3"),
    )
    text = page(result)
    assert Resources(text).found == []
    assert not re.search(r"@import|url\(", text)
    assert not re.search(r"""(href|src)=["']?(https?:)?//""", text)
    for shown in (
        SOURCE,
        "warnings",
        "greater than or equal to",
        "expect_column_values_to_be_between(spent)",
        "31",
        "30",
    ):
        assert shown in text


def features(run, *kinds, visits=3, partition=DAY.partition):
    table = pa.table(
        {"guest_id": [f"g{n}" for n in range(len(kinds))], "visits_7d": [visits] * len(kinds), "kind": list(kinds)}
    )
    staged = staging.write(
        staging.WorkingFile(of="shop", run=DAY.partition, name=f"features/habits/{partition}"),
        table,
        task="features",
    )
    candidate = FeatureCandidate(staged=staged, content_hash="c", query_hash="q", inputs_hash="i")
    return Computed(views={"habits": {partition: candidate}})


def together(*computed):
    """Partitions of one view that one run computed."""
    return Computed(views={"habits": {name: each for one in computed for name, each in one.views["habits"].items()}})


def test_feature_rows_pass_whole_and_warnings_are_told(run):
    computed = features(run, "web", None, "desk")
    result = validate_features(run, computed)
    assert result.views == computed.views
    assert result.warnings == (
        "habits: expect_column_values_to_not_be_null(kind): 1 of 3 rows fail (row 1; value null)",
    )
    assert result.links()[Link.DATA_DOCS].endswith("/shop/data_docs/features/2026-01-05.html")


def test_a_critical_expectation_of_a_view_stops_the_run(run):
    with pytest.raises(
        ContractBroken, match=r"habits of 2026-01-03: expect_column_values_to_be_between\(visits_7d\).*2 of 2 rows fail"
    ) as caught:
        validate_features(run, features(run, "web", "web", visits=-1, partition="2026-01-03"))
    assert "no feature of the interval was published" in caught.value.expected


def test_several_partitions_of_a_view_are_judged_each_by_the_whole_contract(run):
    """A day that comes last completes the windows of later ones: an expectation object belongs to one suite only."""
    computed = together(
        features(run, "web", "desk", partition="2026-01-04"),
        features(run, "web", None, partition=DAY.partition),
        features(run, "web", None, partition="2026-01-06"),
    )
    result = validate_features(run, computed)
    warning = "expect_column_values_to_not_be_null(kind): 1 of 2 rows fail (row 1; value null)"
    assert result.warnings == (f"habits: {warning}", f"habits of 2026-01-06: {warning}")
    text = page(result)
    assert all(name in text for name in ("habits of 2026-01-04", "habits of 2026-01-06")), (
        "a partition is not on the page"
    )


def test_one_broken_partition_of_several_stops_the_run(run):
    computed = together(
        features(run, "web", partition="2026-01-04"), features(run, "web", visits=-1, partition="2026-01-06")
    )
    with pytest.raises(ContractBroken) as caught:
        validate_features(run, computed)
    assert caught.value.found.startswith("habits of 2026-01-06: ")


def test_no_computed_partition_is_nothing_to_validate(run):
    result = validate_features(run, Computed(views={"habits": {}}))
    assert (result.views, result.warnings, result.links()) == ({"habits": {}}, (), {})


def training_set(**changed):
    cutoffs = [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 4) for _ in range(15)]
    columns = {
        "guest_id": [f"g{n % 15}" for n in range(30)],
        "event_timestamp": pa.array(cutoffs, pa.timestamp("us", tz="UTC")),
        "returns": [n % 2 for n in range(30)],
        "visits_7d": pa.array([float(n) for n in range(30)]),
        "kind": ["web"] * 30,
    }
    table = pa.table({name: column for name, column in (columns | changed).items() if column is not None})
    staged = staging.write(staging.WorkingFile(of="shop", run="train", name="k"), table, task="build")
    stretch = Stretch(rows=15, start=cutoffs[0], end=cutoffs[-1])
    return TrainingSet(key="k", staged=staged, content_hash="c", versions={}, learn=stretch, evaluate=stretch)


def test_a_sound_training_set_passes_with_a_page(run):
    data = training_set()
    result = validate_training(training(run), data)
    assert result == SoundTrainingSet(**dict(data), page=result.page, warnings=())
    assert "training set" in page(result)


def test_what_a_training_set_warns_of_stands_in_the_ledger_once(run):
    data = training_set(visits_7d=pa.array([None] * 20 + [1.0] * 10, pa.float64()))
    result = validate_training(training(run), data)
    validate_training(training(run), data)
    (entry,) = ledger.entries("shop", "validated")
    assert len(result.warnings) == 1 and "visits_7d" in result.warnings[0]
    assert (entry.event.key, entry.event.warnings) == (data.key, result.warnings)
    (told,) = [line for _, line in timeline.lines([entry])]
    assert told == f"the training set of k met its contract, which warns: {result.warnings[0]}"


IMMATURE = [DAY.as_of - timedelta(days=1)] * 15 + [DAY.as_of - timedelta(days=3)] * 15


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"kind": None}, "expect_table_columns_to_match_set(guest_id, event_timestamp, returns, visits_7d, kind)"),
        ({"kind": pa.nulls(30, pa.string())}, "expect_column_proportion_of_non_null_values_to_be_between(kind)"),
        ({"returns": [None] + [n % 2 for n in range(29)]}, "expect_column_values_to_not_be_null(returns)"),
        ({"returns": [2] + [n % 2 for n in range(29)]}, "expect_column_values_to_be_in_set(returns)"),
        (
            {"event_timestamp": pa.array(IMMATURE, pa.timestamp("us", tz="UTC"))},
            "expect_column_values_to_be_between(event_timestamp)",
        ),
        ({"guest_id": ["g1"] * 30}, "expect_compound_columns_to_be_unique(guest_id, event_timestamp)"),
    ],
    ids=["missing column", "empty feature", "no label", "wrong label", "immature label", "repeated rows"],
)
def test_a_training_set_that_may_not_be_used_stops_the_run(run, changed, problem):
    with pytest.raises(ContractBroken) as caught:
        validate_training(training(run), training_set(**changed))
    assert problem in str(caught.value)


def test_too_little_to_learn_from_is_missing_evidence(run):
    with pytest.raises(EvidenceMissing, match=r"expect_column_unique_value_count_to_be_between\(returns\).*found 1"):
        validate_training(training(run), training_set(returns=[0] * 30))
    short = training_set()
    staging.write(
        staging.WorkingFile(of="shop", run="train", name="k"), staging.read(short.staged).slice(8, 14), task="build"
    )
    with pytest.raises(EvidenceMissing, match=r"expect_table_row_count_to_be_between\(\), min_value=20: found 14"):
        validate_training(training(run), short)


def test_the_stages_of_the_shipped_contracts_are_readable_by_great_expectations():
    from evergreen.spec.contract import load_contract
    from evergreen.spec.load import load
    from evergreen.validate import expectations

    specs = load(PROJECT / "include" / "models").valid_datasets
    tables = [(spec, table) for spec in specs for table in (*spec.sources, *spec.features)]
    assert tables
    for spec, table in tables:
        contract = load_contract(spec, table)
        assert len(expectations.suite(contract, table, table)) == len(contract.expectations)
