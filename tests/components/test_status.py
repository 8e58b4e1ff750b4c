"""What `evergreen status`, the metrics and the alarms say, from a real catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from evergreen import cli, status_report
from evergreen.history import ledger
from evergreen.history.events import Alerted, Decided, Told
from evergreen.interval import Interval, days
from evergreen.lake import catalogue
from evergreen.lake.schema import FEATURES, PREDICTIONS, QUARANTINE, RAW, TableId, online
from evergreen.serve.data import Data
from evergreen.serve.metrics import Metrics
from evergreen.serve.models import Models
from evergreen.settings import Settings, settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.status import alarms, facts, rules
from tests.churn import declared, one_folder

FIRST = date(2026, 1, 1)
NOW = datetime(2026, 1, 9, 5, tzinfo=UTC)  # the 8th is over, and late


@dataclass(frozen=True)
class Steady:
    """A model whose days go on."""

    spec: ModelSpec

    @property
    def data(self) -> DatasetSpec:
        """Its data, which it is alone with."""
        return self.spec.datasets["steady"]

    def record(self, table: TableId, *intervals: Interval, rows: int = 3) -> None:
        catalogue.record(
            *(
                catalogue.Entry(table.of, table.layer, table.name, each.partition, rows, "h", None, 0, each.end)
                for each in intervals
            )
        )

    def ingested(self, *intervals: Interval) -> None:
        for source in self.spec.sources:
            self.record(RAW.of(self.spec.model, source), *intervals)
        for view in self.spec.features:
            self.record(online(FEATURES.of(self.spec.model, view)), *intervals)


@pytest.fixture
def steady(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steady]:
    content = declared("steady")
    content |= {"first_day": FIRST, "last_day": None}
    content["features"]["activity"]["freshness"] = {"bound": "2d", "beyond": "nulls"}
    folder = one_folder(tmp_path / "models" / "steady", **content)
    monkeypatch.setenv("EVERGREEN_MODELS", str(folder.parent))
    monkeypatch.setenv("EVERGREEN_SERVER_URL", "http://127.0.0.1:9")  # nobody answers there
    settings.cache_clear()
    yield Steady(load_spec(folder))
    settings.cache_clear()


ALL = days(FIRST, date(2026, 1, 8))


def test_an_interval_counts_as_done_once_all_its_sources_are_published(steady: Steady) -> None:
    steady.ingested(*ALL[:4], ALL[5])
    steady.record(RAW.of("steady", "usage"), ALL[4])
    worked = facts.ingested(steady.data, NOW)
    assert worked.intervals == {
        "done": [*ALL[:4], ALL[5]],
        "waiting": [],
        "late": [ALL[7]],
        "missing": [ALL[4], ALL[6]],
    }
    before = facts.ingested(steady.data, NOW - timedelta(hours=3))
    assert (before.intervals["waiting"], before.intervals["late"]) == ([ALL[7]], [])


def test_what_is_monitored_begins_with_the_first_monitored_interval(steady: Steady) -> None:
    assert not any(facts.monitored(steady.spec, NOW).intervals.values())
    steady.record(PREDICTIONS.of("steady"), ALL[3], ALL[5], rows=0)
    worked = facts.monitored(steady.spec, NOW)
    assert (worked.intervals["done"], worked.intervals["missing"]) == ([ALL[3], ALL[5]], [ALL[4], ALL[6]])


def test_the_report_says_what_is_there_and_how_to_run_what_is_not(
    steady: Steady, capsys: pytest.CaptureFixture[str]
) -> None:
    steady.ingested(*ALL[:4], ALL[5])
    steady.record(QUARANTINE.of("steady", "usage"), ALL[1], rows=12)
    steady.record(QUARANTINE.of("steady", "usage"), ALL[2], rows=0)
    lines = list(status_report.of(steady.data, steady.spec, NOW).lines())
    assert lines[0].startswith("steady: no champion yet; the model server does not answer")
    said = [line.strip() for line in lines[1:]]
    assert said[:6] == [
        "ingest       5 of 8 intervals published, the newest 2026-01-06",
        "late: 2026-01-08 (1)",
        "missing: 2026-01-05, 2026-01-07 (2)",
        "to run them: evergreen airflow backfill create --dag-id steady__ingest"
        " --from-date 2026-01-05 --to-date 2026-01-05 --reprocess-behavior failed",
        "to run them: evergreen airflow backfill create --dag-id steady__ingest"
        " --from-date 2026-01-07 --to-date 2026-01-07 --reprocess-behavior failed",
        "monitor      0 of 0 intervals monitored",
    ]
    assert "quarantined  12 rows: 2026-01-02 (12)" in said
    assert "features     activity: 2d 5h old, beyond its bound of 2d: the server predicts without them" in said
    assert any(line.startswith("features     account: 2d 5h old") for line in said)

    assert cli.main(["status", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    assert found["quarantined"] == {"2026-01-02": 12}
    assert found["loops"]["ingest"]["done"] == [each.partition for each in (*ALL[:4], ALL[5])]
    assert found["features"]["activity"]["stale"] and found["features"]["activity"]["newest"] == "2026-01-06"


def test_the_age_before_an_interval_is_of_what_was_online_then(steady: Steady) -> None:
    steady.ingested(*ALL[:4], ALL[5])
    views = facts.views(steady.spec, ALL[5])
    assert {view.age(ALL[5].end) for view in views.values()} == {timedelta(days=2)}


def test_the_metrics_count_what_is_missing_and_how_old_features_are(steady: Steady) -> None:
    steady.ingested(*ALL[:4], ALL[5])
    data = Data(lambda: ["steady", "nobody"])
    data.look()
    text = generate_latest(Metrics(Models(()), None, data).registry).decode()
    assert 'evergreen_intervals{loop="ingest",name="steady",state="done"} 5.0' in text
    assert 'evergreen_feature_age_bound_seconds{model="steady",view="activity"} 172800.0' in text
    (age,) = [
        line for line in text.splitlines() if line.startswith("evergreen_feature_age_seconds") and "activity" in line
    ]
    assert float(age.rpartition(" ")[2]) >= (datetime.now(UTC) - ALL[5].end).total_seconds() - 60


def test_a_dataset_is_looked_at_once_whoever_uses_it(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    ingested = facts.ingested

    def counted(spec: DatasetSpec, now: datetime) -> facts.Worked:
        seen.append(spec.name)
        return ingested(spec, now)

    monkeypatch.setattr(facts, "ingested", counted)
    data = Data(lambda: ["churn", "newsletter", "tickets"])
    data.look()
    assert sorted(seen) == ["churn", "outreach"]
    assert set(data.standings) == {"churn", "newsletter", "tickets"}
    assert data.standings["newsletter"].views.keys() == load_spec(home.models / "newsletter", home.data).features.keys()


def test_an_interval_is_told_once_and_again_if_it_goes_missing_again(steady: Steady) -> None:
    one, other = (each.partition for each in ALL[:2])
    assert alarms.untold("steady", "ingest", [one, other]) == [one, other]
    alarms.record("steady", "ingest", [one])
    assert alarms.untold("steady", "ingest", [one, other]) == [other]
    assert alarms.untold("steady", "monitor", [one]) == [one], "each loop has its own"
    assert alarms.untold("steady", "ingest", [other]) == [other]
    assert alarms.untold("steady", "ingest", [one]) == [one]


def test_a_backfill_of_what_is_missing_is_named_as_airflow_takes_it() -> None:
    assert rules.backfill("steady", "ingest", ALL[0], ALL[2]) == (
        "evergreen airflow backfill create --dag-id steady__ingest --from-date 2026-01-01 --to-date 2026-01-03"
        " --reprocess-behavior failed"
    ), "a backfill leaves a run alone that failed, unless it says so"


def test_what_the_monitor_believes_stands_with_since_when_and_when_it_can_be_mended(steady: Steady) -> None:
    assert status_report.of(None, steady.spec, NOW).watched is None
    evidence = {"fast": 6.25, "slow": 3.5, "windows": 12, "avoided": 0.3, "cost": 0.2, "gap": 0.1}
    least = steady.spec.split.minimum_rows, steady.spec.gates.minimum_rows
    loss = Told(
        cause="performance", kind="loss", state="changed", since=ALL[4].start, observed=0.2, said="it fell by 0.2",
        doing="a retraining waits for labels",
    )  # fmt: skip
    over = loss.model_copy(update={"cause": "volume", "kind": "incident", "state": "resolved"})
    common = {"model": "steady", "as_of": ALL[6].end, "actor": "a test", "decision_id": "d1", "start": ALL[6].start}
    decided = Decided(
        **common, id="decided/d1", reason="waiting", end=ALL[6].end, version=1, action="wait for labels",
        triggers=False, changed_at=ALL[4].start,
        evidence={"compared": evidence, "labels": {"learn": least[0], "evaluate": least[1] // 2, "folds": 1}},
    )  # fmt: skip
    told = Alerted(**common, id="alert/d1", reason="it fell", told=(loss, over), lines=("it fell",))
    ledger.append(decided, told)
    report = status_report.of(None, steady.spec, NOW)
    lines = list(report.lines())
    assert "  decided      2026-01-07: wait for labels" in lines
    assert "  loss         it fell by 0.2 (since 2026-01-05); what is done: a retraining waits for labels" in lines
    assert not any("volume" in line for line in lines), "it is over"
    assert "  evidence     6.2 of 4, or 3.5 of 20 (slow), that a fresh fit would do better, from 12 windows" in lines
    assert any(
        "a fresh fit would have avoided a loss of 0.3; the cost of a retraining is 0.2" in line for line in lines
    )
    assert any("50% of the labels that a retraining needs are there" in line for line in lines)
    monitor = report.as_json()["monitor"]
    assert (monitor["window"], monitor["action"], monitor["bounds"]) == (
        "2026-01-07",
        "wait for labels",
        {"fast": 4.0, "slow": 20.0},
    )
    assert [(each["cause"], each["since"]) for each in monitor["open"]] == [("performance", "2026-01-05T00:00:00Z")]
    assert json.dumps(report.as_json())
