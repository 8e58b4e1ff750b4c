"""A registered version comes out again from what is pinned, to the last bit; where it does not, what moved is named."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable

from evergreen import cli
from evergreen.cli import reproduce as command
from evergreen.database import connect
from evergreen.erasure import artifacts, erasing
from evergreen.erasure.rules import Learned
from evergreen.errors import ArtifactUntrusted, SpecError
from evergreen.history import events, ledger, timeline
from evergreen.lake import schema, tables
from evergreen.lake.rewriting import Key
from evergreen.registry import loading, records, tracking
from evergreen.registry import stages as registry
from evergreen.registry.contents import GRAPH, Environment, Queries
from evergreen.reproduce import rules
from evergreen.reproduce.repeating import Repetition
from evergreen.reproduce.rules import Reproduction
from evergreen.settings import Settings, settings
from evergreen.spec.load import Declared
from evergreen.spec.schema import ModelSpec
from evergreen.train import records as training_sets
from evergreen.train import stages

from .conftest import SECTIONS, run_as_of, spec_in
from .history import publish, telling
from .test_refit import judged

SMALL: dict[str, dict[str, Any]] = {
    "logistic_regression": {},
    "gradient_boosting": {"max_iter": [5, 15]},
    "mlp": {"epochs": [2, 4], "units": [4, 8], "batch_size": [64, 128]},
}
Version = tuple[ModelSpec, int]
Made = Callable[..., Version]


@pytest.fixture
def version(home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Makes a version of a family on a history that tells something of its label."""
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()

    def make(family: str, **sections: Any) -> Version:
        asked = {"minimum_rows": 20, "minimum_positives": 5, "floor": {"roc_auc": 0.5}, "better_than_baseline": 0.0}
        gates = asked | sections.pop("gates", {})
        spec = spec_in(
            tmp_path / "model",
            model=f"m_{home.database_prefix}again".replace("__", "_"),
            families={family: SMALL[family]},
            search={"trials": 2, "seed": 7},
            gates=gates,
            **sections,
        )
        publish(spec, *telling())
        run = run_as_of(spec)
        _, passed = judged(run)
        assert passed.passed, passed.reason
        return spec, registry.register(run, stages.refit(run, passed)).version

    return make


def again(
    spec: ModelSpec, number: int, *, search: bool = False, now: ModelSpec | SpecError | None = None
) -> Reproduction:
    return Repetition(spec.model, number, search=search).made(spec if now is None else now)


def told(found: Reproduction) -> str:
    return "\n".join(rules.lines(found))


def different(found: Reproduction) -> list[str]:
    return [each.what for each in found.compared if not each.same]


PERSON = Key(frozenset({"customer_id"}), "c1")
FULLY = {"slices": {"by": ("minutes < 30",), "minimum_rows": 10, "margin": 5.0}, "packaged": {"milliseconds": 1000.0}}


@pytest.mark.parametrize(
    ("family", "calibrate"),
    [
        pytest.param("logistic_regression", None, marks=pytest.mark.long),
        ("gradient_boosting", "isotonic"),
        pytest.param("mlp", "sigmoid", marks=pytest.mark.long),
    ],
)
def test_a_refit_comes_out_again_with_its_search_and_the_fit_that_its_gates_judged(
    version: Made, family: str, calibrate: str | None
) -> None:
    # Of the features one says the same as another, one is the same in every row, one is another in every row.
    selection = {"loss": 0.05} if family == "gradient_boosting" else None
    spec, number = version(family, refit=True, gates=FULLY, calibrate=calibrate, selection=selection)
    assert records.version(spec.model, number).key.endswith("-refit")
    found = again(spec, number, search=True)
    assert found.outcome == "identical", told(found)
    graph = ["graph that answers"] if GRAPH in records.candidate(found.run_id).files else []
    fitted = ["fitted numbers", *graph, "predictions of the probe's rows"]
    assert [each.what for each in found.compared] == [
        "training set",
        "trials of the search",
        "recipe",
        *fitted,
        "predictions of the evaluation rows",
        "scores",
        "verdicts of the gates",
        "training set",
        "recipe, as the gated fit's",
        *fitted,
        "checks against the gated fit",
    ]
    assert (found.moved, found.unlooked) == ((), ())
    assert found.clocked == ("latency of an answer",)
    if selection:
        (chosen,) = (each for each in again(spec, number).compared if each.what == "selection of features")
        assert chosen.same, "without its search too"
        taken = loading.spec(spec.model, records.version(spec.model, number)).feature_types.keys()
        assert len(taken & {"minutes", "sessions"}) == 1 and "mobile" not in taken, "the refit takes them too"
        record = training_sets.of(spec.model, records.version(spec.model, number))
        quoted = artifacts.erase(Learned(spec.model, record.key, (number,), 1), record, PERSON, apply=False)
        assert next(quoted) > 0, "an erasure finds a person's rows by the features that are taken"


def kept(spec: ModelSpec) -> tuple[Any, ...]:
    """How much there is of everything that a training leaves."""
    import mlflow

    client = mlflow.MlflowClient(settings().mlflow_url)
    experiment = client.get_experiment_by_name(spec.model)
    assert experiment is not None
    with connect() as connection:
        counted = [
            connection.execute(f"select count(*) from {table}".encode()).fetchall()
            for table in ("candidates", "versions", "training_sets", "ledger", "publications")
        ]
    return counted, len(client.search_runs([experiment.experiment_id]))


@pytest.mark.long
def test_a_network_comes_out_again_in_another_process_with_other_threads(version: Made) -> None:
    """Its library adds in the order of its threads unless told otherwise."""
    spec, number = version("mlp")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "4", "TF_NUM_INTEROP_THREADS": "4"}
    command = [sys.executable, "-m", "evergreen", "reproduce", spec.model, str(number), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["outcome"] == "identical" and all(each["same"] for each in said["compared"])


def planted(run_id: str, kind: type[Environment], **changes: str) -> None:
    """Another file in MLflow, and its digest in Postgres, as if training had written it."""
    from evergreen.registry import artifacts

    candidate = records.candidate(run_id)
    content = kind({**artifacts.load(candidate, kind).root, **changes}).to_bytes()
    records.add_file(run_id, kind.NAME, content)
    tracking.replace(run_id, kind.NAME, content)


def test_what_moved_is_named_also_where_the_result_is_the_same_and_nothing_is_kept_unless_asked(
    version: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.linear_model import LogisticRegression

    spec, number = version("logistic_regression")
    before = kept(spec)
    arguments = ["reproduce", spec.model, str(number)]
    assert cli.main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["outcome"] == "identical" and all(each["same"] for each in said["compared"])
    assert "fitted numbers" in {each["what"] for each in said["compared"]} and said["moved"] == []
    assert [each for each in said["not_looked_at"] if "folder" in each], "no folder of it is on the disk"
    assert kept(spec) == before
    assert cli.main([*arguments, "--record", "--actor", "ada"]) == 0
    assert "IDENTICAL" in capsys.readouterr().out
    (entry,) = ledger.entries(spec.model, "reproduced")
    assert isinstance(entry.event, events.Reproduced)
    assert (entry.event.actor, entry.event.outcome, entry.event.version) == ("ada", "identical", number)
    assert "was made once more (identical)" in timeline.describe(entry.event)

    run_id = records.version(spec.model, number).run_id
    planted(run_id, Environment, **{"scikit-learn": "0.1.0", "processor": "abacus", "code": "commit 1, sources 2"})
    split = {**SECTIONS["split"], "window": "9d"}
    other = spec_in(tmp_path / "now", model=spec.model, families=dict(spec.families), split=split)
    (other.folder / "label.sql").write_text("select 2")
    found = again(spec, number, now=other)
    assert found.outcome == "identical", told(found)
    moved = {each.what: each for each in found.moved}
    assert (moved["scikit-learn"].then, moved["scikit-learn"].used) == ("0.1.0", True)
    assert moved["processor"].then == "abacus" and moved["the code of Evergreen"].then == "commit 1, sources 2"
    query = moved[f"the query {spec.model}/label.sql"]
    digests = [f"sha256 {hashlib.sha256(text).hexdigest()[:12]}" for text in (b"select 1", b"select 2")]
    assert [query.then, query.now] == digests and not query.used and "features/activity.sql" not in told(found)
    assert (moved[f"split.window in {spec.model}/model.yaml"].then) == '"18d"'
    lines = told(found)
    assert "used as it is now" in lines and "used as it was then" in lines

    broken = SpecError("reading", found="no such folder", expected="", next_step="")
    assert again(spec, number, now=broken).unlooked == ("the folder of now: no such folder",)

    # another version of it: numbers a little apart
    fit = LogisticRegression.fit

    def another(self: LogisticRegression, *given: Any, **named: Any) -> LogisticRegression:
        fitted = fit(self, *given, **named)
        fitted.coef_ = np.nextafter(fitted.coef_, np.inf)
        return fitted

    monkeypatch.setattr(LogisticRegression, "fit", another)
    monkeypatch.setattr(command, "_declared", lambda model: spec)
    assert cli.main(arguments) == 1
    shown = capsys.readouterr().out
    found = again(spec, number)
    assert found.outcome == "different" and "fitted numbers" in different(found)
    assert "predictions of the evaluation rows" in different(found) and "training set" not in different(found)
    assert "scikit-learn" in found.reason.partition("moved: ")[2]
    assert "DIFFERENT  gated fit: fitted numbers" in shown and "scikit-learn: 0.1.0 → " in shown
    assert "apart" in shown


def table_of(spec: ModelSpec, number: int) -> tuple[schema.TableId, DeltaTable]:
    from evergreen.train import records as training

    table = schema.FEATURES.of(spec.model, "activity")
    pins = training.of(spec.model, records.version(spec.model, number)).pins
    return table, DeltaTable(tables.table_path(table), pins[table])


def test_rows_that_were_rewritten_lost_or_erased_are_named(version: Made, capsys: pytest.CaptureFixture[str]) -> None:
    spec, number = version("logistic_regression")
    table, delta = table_of(spec, number)
    victim, other = (Path(each) for each in sorted(delta.file_uris())[5:7])
    whole = victim.read_bytes()
    victim.write_bytes(other.read_bytes())
    found = again(spec, number)
    assert found.outcome == "different" and different(found) == ["training set"]
    (moved,) = found.moved
    partition = victim.parent.name.removeprefix("partition=")
    assert moved.what == f"the partition {table}/{partition}" and moved.used
    assert moved.then != moved.now and partition in found.reason

    victim.unlink()
    found = again(spec, number)
    assert (found.outcome, found.compared) == ("not repeated", ())
    (moved,) = found.moved
    assert moved.what == f"the table {table}" and victim.name in moved.now
    assert victim.name in found.reason and "cannot be made once more" in told(found)

    victim.write_bytes(whole)
    assert again(spec, number).outcome == "identical"

    declared = Declared({spec.model: spec.own_data()}, {spec.model: spec})
    erasing.erase(declared, "customer", "c3", actor="ada", reason="request 7", apply=True)
    found = again(spec, number)
    assert found.outcome == "different" and different(found) == ["training set"]
    (event,) = ledger.erased(spec.model)
    (moved,) = found.moved
    assert event.id in moved.what and moved.now == "erased" and event.id in found.reason

    tracking.replace(records.version(spec.model, number).run_id, Queries.NAME, b"{}")
    with pytest.raises(ArtifactUntrusted, match="it was changed after it was recorded"):
        again(spec, number)
    assert cli.main(["reproduce", spec.model, "99"]) == 1
    assert "no such version" in capsys.readouterr().err
