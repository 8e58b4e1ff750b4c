"""What each stage reads and writes, as a collector of lineage hears it."""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration import datasets
from evergreen.orchestration.collector import LONGEST_WAIT, configure
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec


def test_every_stage_says_what_it_reads_and_writes() -> None:
    stages = {step.stage for loop in LOOPS.values() for step in loop.steps if step.stage is not None}
    assert set(datasets.STAGES) == stages


def test_what_is_declared_is_known_before_a_stage_has_run() -> None:
    spec = load_spec(PROJECT / "include" / "models" / "churn")
    data = spec.datasets["churn"]
    known = {
        step.name: datasets.of(step.stage, spec if loop.of == "model" else data, {}, None)
        for loop in LOOPS.values()
        for step in loop.steps
        if step.stage is not None
    }
    assert {each.name for each in known["publish"].outputs} == {f"churn/raw/{name}" for name in data.sources}
    activity = next(each for each in known["publish_features"].outputs if each.name == "churn/features/activity")
    assert {"customer_id", *spec.features["activity"].features} == set(activity.columns)
    assert activity.made_of and all(
        each.columns.keys() <= data.sources["usage"].columns.keys()
        for each in activity.made_of
        if each.name.endswith("usage")
    )
    assert known["build"].inputs[0].name == "churn/labels/churned"
    assert set(known["build"].outputs[0].same_as) == {*spec.feature_types, "churned"}
    assert known["decide"].outputs[0].name == "churn/decisions"


def test_the_provider_is_told_of_a_collector_only_where_one_is_named() -> None:
    environment = {"PATH": "/bin"}
    configure("", environment)
    assert environment == {"PATH": "/bin"}
    environment = {"AIRFLOW__OPENLINEAGE__NAMESPACE": "ours"}
    configure("http://collector:5000", environment)
    assert environment["AIRFLOW__OPENLINEAGE__NAMESPACE"] == "ours", "what is set for the provider itself stays"
    assert '"url": "http://collector:5000"' in environment["AIRFLOW__OPENLINEAGE__TRANSPORT"]
    assert environment["AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT"] == str(LONGEST_WAIT)
