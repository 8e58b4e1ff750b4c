"""Who allows a version, in one process: nobody, somebody by a command, somebody who may not."""

from __future__ import annotations

import importlib.metadata
import json
import re
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from mlflow import MlflowClient

from evergreen import cli
from evergreen.errors import ApprovalWanted, EvidenceMissing, RunError
from evergreen.explain import explaining
from evergreen.govern import card, carding, pack, packing
from evergreen.govern import stages as governing
from evergreen.handovers.described import Described
from evergreen.handovers.gate import between, number
from evergreen.handovers.train import Approved, Registered
from evergreen.history import ledger, story, timeline
from evergreen.history.events import Approval as Recorded
from evergreen.history.events import Validated
from evergreen.interval import Interval
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.registry import allowing, artifacts, loading, records, signing_keys
from evergreen.registry import stages as registry
from evergreen.registry.contents import Evaluation, Explanations, Fitting, Trials
from evergreen.registry.papers import CardPage, CardText, ReportText
from evergreen.registry.tags import Tag
from evergreen.run import Approval, Run
from evergreen.settings import PROJECT, settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import records as training_records
from tests import spot
from tests.components.served_folder import day_run, served_folder, until_it_answers

FIRST, DAYS = date(2026, 1, 1), 11
ANNA = Approval(approved=True, by="anna", reason="the bids were looked at", how="command", given_by="ci")


@pytest.fixture(scope="module")
def model(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    """A model of a high tier with its days ingested; what a test does, the next one finds."""

    def make(folder: Path) -> Path:
        import shutil

        shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "spot", folder)
        content = yaml.safe_load((folder / "model.yaml").read_text())
        content |= {
            "model": "allowed",
            "risk": {"tier": "high", "impact": "A bid is paid.", "approvers": ["anna"]},
            "card": {"intended_use": "Bids <b>of a day</b> ahead.", "limits": ["Nothing is known of | storms."]},
        }
        content["gates"]["packaged"] = {"megabytes": 1, "milliseconds": 50}
        content["gates"]["slices"] = {"by": ["region"], "margin": 100.0, "minimum_rows": 20}
        (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return folder

    def write_days(landing: Path) -> None:
        for number in range(DAYS):
            spot.write(FIRST + timedelta(days=number), landing)

    home = tmp_path_factory.mktemp("allowed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_SIGNING_KEY", str(key_in(home)))
        with served_folder(
            "spot", write_days, home, postgres_url, mlflow_url, services, name="allowed", make=make
        ) as spec:
            for number in range(DAYS):
                inline.ingest(spec, day_run(spec, number).interval)
            until_it_answers()
            yield spec


def recorded(spec: ModelSpec) -> list[Recorded]:
    return [entry.event for entry in ledger.entries(spec.model, "approval") if isinstance(entry.event, Recorded)]


def training(spec: ModelSpec, number: int, **changes: Any) -> Run:
    return replace(inline.of(spec, Interval.of_day(FIRST + timedelta(days=number))), **changes)


def test_without_a_person_it_is_rejected_and_nothing_is_registered(model: ModelSpec) -> None:
    done = inline.run(training(model, DAYS - 2), "train")
    approved, register = done["approve"], done["register"]
    assert isinstance(approved, Approved) and not approved.passed and approved.asked == "its tier is high"
    assert isinstance(register, inline.Skipped) and "--approve NAME" in register.reason
    (said,) = recorded(model)
    assert (said.approved, said.by, said.how, said.tier, said.judgement) == (False, None, "command", "high", 1)
    assert said.actor.startswith("run "), "nobody's name stands for nobody"
    assert ledger.standing(model.model).champion is None


def test_who_may_not_and_who_says_no_reason_is_refused_before_anything_runs(
    model: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    day = (FIRST + timedelta(days=DAYS - 2)).isoformat()
    for options, told in (
        (["--approve", "berta", "--reason", "why not"], "berta is none of those who may"),
        (["--approve", "anna"], "it has no reason"),
        (["--reason", "why not"], "none of those who may"),
    ):
        assert cli.main(["run", model.model, "train", "--day", day, *options]) == 1
        assert told in capsys.readouterr().err
    assert len(recorded(model)) == 1
    with pytest.raises(RunError, match="none of those who may"):
        inline.run(training(model, DAYS - 2, approval=replace(ANNA, by="berta")), "train", first="approve")


def test_a_person_by_a_command_allows_it_and_is_kept_by_name(model: ModelSpec) -> None:
    done = inline.run(training(model, DAYS - 2, approval=ANNA), "train", first="approve")
    carded = done["card"]
    assert isinstance(carded, Registered) and carded.card.endswith("/allowed/cards/1.html")
    approved, registered = done["approve"], done["register"]
    assert isinstance(approved, Approved) and (approved.passed, approved.approver) == (True, "anna")
    assert isinstance(registered, Registered) and registered.version == 1
    said = recorded(model)[-1]
    assert (said.actor, said.reason, said.by, said.given_by, said.approved) == (
        "anna",
        "the bids were looked at",
        "anna",
        "ci",
        True,
    )
    assert timeline.describe(said) == (
        "anna allowed ridge (tier high, told by ci with a command): the bids were looked at"
    )


def test_the_card_of_the_version_says_what_was_recorded(model: ModelSpec) -> None:
    version = records.version(model.model, 1)
    candidate = records.candidate(version.run_id)
    text, page = artifacts.load(candidate, CardText).text, artifacts.load(candidate, CardPage).text
    assert (settings().reports / model.model / "cards" / "1.html").read_text(encoding="utf-8") == page
    evaluation, fitting = artifacts.load(candidate, Evaluation), artifacts.load(candidate, Fitting)
    data = training_records.of(model.model, version)
    low, high = evaluation.intervals["rmse"]
    assert low is not None and high is not None and low < evaluation.scores["rmse"] < high
    assert set(evaluation.intervals) == set(model.problem.metrics)
    kept = settings().home / "runs" / model.model / "train" / training(model, DAYS - 2).run_id / "build.json"
    learned = json.loads(kept.read_text())["learn"]["rows"]
    first = evaluation.importances[0]
    assert first.input == "price" and first.loss is not None and first.loss > 5, "what the price is made of"
    assert first.low is not None and first.high is not None and first.low < first.loss < first.high
    assert {each.input for each in evaluation.importances} == set(model.feature_types)
    assert fitting.rows == learned and fitting.cpu_seconds > 0 and 0 < fitting.wall_seconds < 300
    assert 50 < fitting.peak_memory_mb < 20_000
    for said in (
        "# Model card: allowed, version 1",
        "Bids \\<b>of a day\\</b> ahead.",
        "Nothing is known of \\| storms.",
        data.content_hash.replace("_", "\\_"),
        f"{fitting.rows:,} rows",
        f"{fitting.peak_memory_mb:,.0f} MB",
        "| Allowed by | anna |",
        "| Why | the bids were looked at |",
        "by a command of ci",
        "region = north",
        "| rmse at most |",
        f"{low:.4f}".rstrip("0"),
        f"| price | {number(first.loss)} | {between(first.low, first.high)} |",
        *(f"| {table} | {held} |".replace("_", "\\_") for table, held in data.versions.items()),
    ):
        assert said in text, said
    assert "Bids &lt;b&gt;of a day&lt;/b&gt; ahead." in page and "<b>" not in page and "<script" not in page


def test_the_card_says_what_a_few_answers_are_made_of_and_not_whose(
    model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = records.version(model.model, 1)
    candidate = records.candidate(version.run_id)
    found, text = artifacts.load(candidate, Explanations), artifacts.load(candidate, CardText).text
    answers = sorted(loading.load(model.model, 1).predict(loading.background(model, candidate)).tolist())
    assert [each.which for each in found.rows] == ["highest", "median", "lowest"] and found.reason == ""
    assert found.rows[0].answer == pytest.approx(answers[-1]) and found.rows[-1].answer == pytest.approx(answers[0])
    for each in found.rows:
        made = each.explanation
        assert made is not None and made.way == "one at a time" and each.scale == "in the unit of price_later"
        assert made.usual + sum(part.contribution for part in made.parts) == pytest.approx(made.score)
        assert made.score == pytest.approx(each.answer) and {part.input for part in made.parts} == {
            *model.feature_types
        }
        assert f"| {each.which} | {made.score:.4f}".rstrip("0") in text
        for part in made.parts:
            assert f" {part.contribution:+.4g} |".replace("_", "\\_") in text, part
    assert text.count("exact; they add up to within") == 3
    fields = {"which", "answer", "scale", "explanation", "reason", "way", "usual", "score", "parts", "off"}
    fields |= {"input", "contribution", "error", "rows"}
    assert {*re.findall(r'"(\w+)":', found.to_bytes().decode())} == fields, (
        "neither keys nor moments nor values of a row"
    )

    # Parts that do not add up are not shown, nor those of a version that cannot be asked: the card says why.
    random, raw = np.random.default_rng(0), explaining.raw

    def wandering(*of: Any) -> tuple[str, Any]:
        scale, score = raw(*of)
        return scale, lambda rows: score(rows) + random.normal()

    monkeypatch.setattr(explaining, "raw", wandering)
    missed = explaining.of_version(model.model, version)
    assert all(each.explanation is None and "the parts miss the score by" in each.reason for each in missed.rows)
    facts = carding.facts_of(training(model, DAYS - 2), 1)
    shown = card.paper(training(model, DAYS - 2), replace(facts, explanations=missed)).markdown()
    assert shown.count("none: the parts miss the score by") == 3 and "±" not in shown
    monkeypatch.setattr(explaining, "predict", lambda *_: 1 / 0)
    broken = explaining.of_version(model.model, version)
    shown = card.paper(training(model, DAYS - 2), replace(facts, explanations=broken)).markdown()
    assert broken.rows == () and "Nothing is shown: ZeroDivisionError, see the log of \\`card\\`." in shown


def test_a_training_is_one_run_with_its_candidates_and_their_trials_below_it(model: ModelSpec) -> None:
    begun = time.perf_counter()
    described = inline.run(training(model, DAYS - 2), "train", first="describe")["describe"]
    assert isinstance(described, Described) and described.trials == 0, "they were logged by the training"
    assert time.perf_counter() - begun < 30
    client = MlflowClient(settings().mlflow_url)
    candidate = records.version(model.model, 1).run_id
    assert client.get_run(candidate).data.tags["mlflow.parentRunId"] == described.run.id
    experiment = client.get_run(candidate).info.experiment_id
    trials = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{candidate}'")
    tried = artifacts.load(records.candidate(candidate), Trials).root
    assert len(trials) == len(tried) == model.search.trials
    (taken,) = [each for each in trials if each.data.tags[Tag.TAKEN] == "true"]
    (best,) = [each for each in tried if each.taken]
    assert {name: float(value) for name, value in taken.data.params.items()} == pytest.approx(dict(best.parameters))
    folds = client.get_metric_history(taken.info.run_id, "fold_rmse")
    assert [each.value for each in sorted(folds, key=lambda each: each.step)] == pytest.approx(best.folds)
    assert best.folds and taken.data.metrics["folds_rmse"] == pytest.approx(best.score)
    pictures = {file.path for below in ("search", "evaluation") for file in client.list_artifacts(candidate, below)}
    assert {"search/history.png", "search/slices.png", "evaluation/predicted.png"} <= pictures


def test_an_answer_is_explained_by_its_request_id_from_the_log(
    model: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    (body, *_) = spot.requests(FIRST + timedelta(days=DAYS - 1))
    answer = httpx.post(f"{settings().server_url}/models/{model.model}/predict", json=body, timeout=60).json()
    assert cli.main(["explain", model.model, answer["request_id"], "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    made = told["explanation"]
    assert (told["version"], told["scale"], made["way"]) == (1, "in the unit of price_later", "one at a time")
    assert made["score"] == pytest.approx(answer["predictions"][0]["prediction"], abs=1e-3)
    assert made["usual"] + sum(part["contribution"] for part in made["parts"]) == pytest.approx(made["score"])
    assert {part["input"] for part in made["parts"]} == set(model.feature_types) == set(told["features"])
    assert cli.main(["explain", model.model, answer["request_id"]]) == 0
    assert "exact: the parts add up" in capsys.readouterr().out
    assert cli.main(["explain", model.model, "no-such-request"]) == 1
    assert "nothing of it in the prediction log" in capsys.readouterr().err


@pytest.fixture(scope="module")
def archive(model: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence of version 1, packed by the command."""
    file = tmp_path_factory.mktemp("evidence") / "pack.zip"
    assert cli.main(["evidence", model.model, "1", "--output", str(file)]) == 0
    return file


def test_the_evidence_of_a_version_is_one_archive(
    model: ModelSpec, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = pack.read(archive)
    assert {
        *(
            "card.md",
            "card.html",
            "gate_report.md",
            "gate_report.html",
            "approvals.json",
            "ledger.jsonl",
            "chain.jsonl",
        ),
        *("lineage.json", "training_set.json", "requirements.lock", "sbom.cdx.json", "digests.json", "manifest.json"),
        *(
            "evidence.json",
            "explanations.json",
            "recipe.json",
            "environment.json",
            "spec.json",
            "fitting.json",
            "trials.json",
            "queries.json",
        ),
    } == set(packed)
    version = records.version(model.model, 1)
    assert packed["card.md"] == artifacts.read(records.candidate(version.run_id), "card.md")
    report = packed["gate_report.md"].decode()
    for said in ("there is no champion yet", "| rmse at most |", "Candidates", "rmse on time folds", "| baseline |"):
        assert said in report, f"{said}: as it was when a person was asked"
    (*_, allowed) = json.loads(packed["approvals.json"])
    assert json.loads(allowed["body"])["actor"] == "anna"
    lock = packed["requirements.lock"].decode().splitlines()
    assert f"scikit-learn=={importlib.metadata.version('scikit-learn')}" in lock and len(lock) > 200
    refused = JsonStrictValidator(SchemaVersion.V1_6).validate_str(packed["sbom.cdx.json"].decode())
    assert refused is None, f"by CycloneDX' own schema: {refused}"
    bill = json.loads(packed["sbom.cdx.json"])
    assert (bill["bomFormat"], bill["specVersion"], len(bill["components"])) == ("CycloneDX", "1.6", len(lock))
    assert f"pkg:pypi/mlflow@{importlib.metadata.version('mlflow')}" in {each["purl"] for each in bill["components"]}
    digests = json.loads(packed["digests.json"])[version.run_id]
    assert digests["model.skops"] == records.candidate(version.run_id).files["model.skops"].sha256
    data = training_records.of(model.model, version)
    assert json.loads(packed["training_set.json"])["content_hash"] == data.content_hash
    assert json.loads(packed["lineage.json"])
    again = archive.with_name("again.zip")
    assert cli.main(["evidence", model.model, "1", "--output", str(again)]) == 0
    assert again.read_bytes() == archive.read_bytes(), "the same evidence is the same archive"

    monkeypatch.setenv("EVERGREEN_DATABASE", "postgresql://nobody:nothing@127.0.0.1:1")  # nothing is asked
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", "http://127.0.0.1:1")
    settings.cache_clear()
    number, head = verifying_head(packed)
    assert cli.main(["evidence", "verify", str(archive)]) == 0
    assert cli.main(["evidence", "verify", str(archive), "--witness", f"{number}:{head}"]) == 0
    assert f"the ledger as of {number}:{head}" in capsys.readouterr().out
    assert cli.main(["evidence", "verify", str(archive), "--witness", f"{number}:{'0' * 64}"]) == 1
    monkeypatch.undo()
    settings.cache_clear()


def verifying_head(packed: Mapping[str, bytes]) -> tuple[int, str]:
    last = json.loads(packed["chain.jsonl"].decode().splitlines()[-1])
    return last["number"], last["hash"]


def resealed(packed: dict[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    """A pack in which somebody changed a file, and its digest in the manifest too."""
    changed = {**packed, name: content}
    manifest = json.loads(packed["manifest.json"])
    files = {each: held for each, held in changed.items() if each != "manifest.json"}
    changed["manifest.json"] = pack.text(pack.manifest(manifest["model"], manifest["version"], files))
    return changed


def key_in(folder: Path, name: str = "signing") -> Path:
    """A key that signs; its public half is beside it."""
    private, public = signing_keys.generate()
    (folder / f"{name}.pub").write_bytes(public)
    (folder / f"{name}.key").write_bytes(private)
    return folder / f"{name}.key"


def test_an_archive_says_who_signed_the_version_and_trust_comes_from_outside_of_it(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public = Path(settings().signing_key).with_suffix(".pub")
    assert cli.main(["evidence", "verify", str(archive)]) == 0
    assert "by the pack's own word: --public-key says whom to trust" in capsys.readouterr().out
    other = key_in(tmp_path).with_suffix(".pub")
    trusted = ["--public-key", str(other), "--public-key", str(public)]
    assert cli.main(["evidence", "verify", str(archive), *trusted]) == 0
    assert "signed by a key that was given" in capsys.readouterr().out
    assert cli.main(["evidence", "verify", str(archive), "--public-key", str(other)]) == 1
    assert "which does not count" in capsys.readouterr().err
    assert cli.main(["evidence", "verify", str(archive), "--public-key", str(archive)]) == 1
    assert "of --public-key" in capsys.readouterr().err

    # Whoever writes every hash anew, and the digests with them, has no signature for it.
    packed = pack.read(archive)
    links = [json.loads(line) for line in packed["ledger.jsonl"].decode().splitlines()]
    bodies = [json.loads(link["body"]) for link in links]
    (of_version,) = [body for body in bodies if body["event"] == "signed" and body["version"] == 1]
    run_id = of_version["run_id"]
    digests = json.loads(packed["digests.json"])
    forged = digests | {run_id: digests[run_id] | {"model.skops": "0" * 64}}
    key = signing_keys.read(public, "a test")
    stated = json.loads(packed["manifest.json"])
    own = [pack._link(link) for link in links]
    assert list(pack._signature(stated, digests, own, [key])) == []
    (flaw,) = pack._signature(stated, forged, own, [key])
    assert flaw == "the recorded digests of model.skops are not those that were signed"
    said = [
        body | {"sha256": body["sha256"] | {"model.skops": "0" * 64}} if body is of_version else body for body in bodies
    ]
    claimed = [replace(link, body=json.dumps(body)) for link, body in zip(own, said, strict=True)]
    (flaw,) = pack._signature(stated, forged, claimed, [key])
    assert flaw == f"its signature is not one of the key {key.id}"
    without = [link for link in own if link.event != "signed"]
    assert list(pack._signature(stated, digests, without, [key])) == ["the version is not signed"]


def test_whatever_is_changed_in_an_archive_is_seen(archive: Path) -> None:
    packed = pack.read(archive)
    assert list(pack.flaws(packed)) == []
    for name in packed:
        assert list(pack.flaws({**packed, name: packed[name] + b" "})), name
        assert list(pack.flaws({each: held for each, held in packed.items() if each != name})), name
    assert list(pack.flaws({**packed, "more.txt": b""})) == ["more.txt stands in no manifest"]
    for name in (
        "card.md",
        "card.html",
        "gate_report.md",
        "gate_report.html",
        "evidence.json",
        "spec.json",
        "requirements.lock",
        "recipe.json",
    ):
        (flaw,) = pack.flaws(resealed(packed, name, packed[name].replace(b"ridge", b"sound") + b"\n"))
        assert flaw == f"{name} is not the file that the ledger names"
    bill = json.loads(packed["sbom.cdx.json"])
    bill["components"][0]["version"] += ".1"
    (flaw,) = pack.flaws(resealed(packed, "sbom.cdx.json", pack.text(bill)))
    assert flaw == "sbom.cdx.json does not list what requirements.lock does"
    approved = packed["approvals.json"].replace(b"looked at", b"laughed at")
    assert list(pack.flaws(resealed(packed, "approvals.json", approved))) == [
        "approvals.json is not what the ledger has"
    ]
    ledger_of = packed["ledger.jsonl"].replace(b"looked at", b"laughed at")
    assert any("is not what was recorded" in flaw for flaw in pack.flaws(resealed(packed, "ledger.jsonl", ledger_of)))
    fewer = packed["chain.jsonl"].splitlines(keepends=True)
    gone = b"".join(fewer[:2] + fewer[3:])
    assert any("does not follow" in flaw for flaw in pack.flaws(resealed(packed, "chain.jsonl", gone)))


def test_whatever_is_taken_out_of_an_archive_is_seen_also_where_its_manifest_never_had_it(archive: Path) -> None:
    packed = pack.read(archive)
    for name in set(packed) - {"manifest.json"}:
        rest = {each: held for each, held in packed.items() if each not in (name, "manifest.json")}
        stated = json.loads(packed["manifest.json"])
        sealed = rest | {"manifest.json": pack.text(pack.manifest(stated["model"], stated["version"], rest))}
        assert list(pack.flaws(sealed)) == [f"{name} is not there"]


def test_a_paper_that_the_ledger_does_not_name_is_no_evidence(archive: Path) -> None:
    packed = pack.read(archive)
    entries = [json.loads(line) for line in packed["ledger.jsonl"].decode().splitlines()]
    for entry in entries:
        if entry["event"] == "documented":
            body = json.loads(entry["body"])
            for files in body["sha256"].values():
                files.pop("gate_report.md", None)
            entry["body"] = json.dumps(body)
    flaws = list(pack.flaws(resealed(packed, "ledger.jsonl", pack.lines(entries))))
    assert "the ledger does not name gate_report.md" in flaws


def test_a_version_of_which_a_paper_was_never_kept_has_no_pack(
    model: ModelSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ReportText, "NAME", "never_kept.md")
    with pytest.raises(EvidenceMissing, match=r"no never_kept\.md among the files"):
        packing.write(model.model, 1, tmp_path / "pack.zip")
    assert not (tmp_path / "pack.zip").exists()


def test_a_byte_of_any_file_is_seen_by_the_command(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, random = pack.read(archive), np.random.default_rng(3)
    changed = tmp_path / "pack.zip"
    for name, content in packed.items():
        for at in {0, len(content) - 1, *random.integers(0, len(content), 3).tolist()}:
            byte = bytes([content[at] ^ 1 << int(random.integers(0, 7))])
            changed.write_bytes(packing._zipped({**packed, name: content[:at] + byte + content[at + 1 :]}))
            assert cli.main(["evidence", "verify", str(changed)]) == 1, (name, at)
            assert capsys.readouterr().err
    whole = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        starts = {info.filename: (info.header_offset, info.compress_size) for info in opened.infolist()}
    for name, (start, size) in starts.items():
        for part in (1, 2, 3):
            at = start + 30 + len(name) + size * part // 4  # within what is compressed
            changed.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert cli.main(["evidence", "verify", str(changed)]) == 1, name
    for at in random.integers(0, len(whole), 100).tolist():
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        told = cli.main(["evidence", "verify", str(changed)])
        assert told == 1 or pack.read(changed) == packed, "what the archive says beside its files is not looked at"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"x" * 1000])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pack.zip").write_bytes(content)
    with pytest.raises(ValueError, match="no archive that can be read"):
        pack.read(tmp_path / "pack.zip")
    assert cli.main(["evidence", "verify", str(tmp_path / "pack.zip")]) == 1
    assert cli.main(["evidence", "verify", str(tmp_path / "missing.zip")]) == 1


def test_what_was_allowed_is_not_asked_about_again(model: ModelSpec, caplog: pytest.LogCaptureFixture) -> None:
    count = len(recorded(model))
    with caplog.at_level("INFO", "evergreen"):
        done = inline.run(training(model, DAYS - 2, approval=None), "train", first="approve", last="approve")
    assert done["approve"].approver == "anna" and len(recorded(model)) == count
    assert "anna allowed it before" in caplog.text


def test_a_training_that_could_not_be_promoted_asks_nobody(model: ModelSpec, caplog: pytest.LogCaptureFixture) -> None:
    older = training(model, DAYS - 3, approval=None)
    with caplog.at_level("INFO", "evergreen"):
        done = inline.run(older, "train")
    assert isinstance(done["register"], inline.Skipped) and "Nobody is asked" in caplog.text
    # The gate about age is the first to say so; what is left is told by what is registered.
    passed = done["gates"].model_copy(update={"passed": True})
    vain = governing.approve(older, passed)
    assert not vain.passed and "never replaces the newer champion" in vain.reason and vain.asked == ""


def test_a_person_is_wanted_where_nobody_was_asked_yet(model: ModelSpec) -> None:
    newer = training(model, DAYS - 1, approval=None)
    judged = inline.run(newer, "train", last="gates")["gates"].model_copy(update={"passed": True})
    with pytest.raises(ApprovalWanted) as wanted:
        governing.approve(newer, judged)
    assert "be promoted?" in wanted.value.subject and "**Impact** A bid is paid." in wanted.value.body


@pytest.mark.parametrize("asked", ["its tier is high", ""])
def test_a_hand_over_alone_makes_no_approval(model: ModelSpec, asked: str) -> None:
    newer = training(model, DAYS - 1, approval=None)
    done = inline.run(newer, "train", last="gates")
    forged = Approved(**dict(done["gates"]) | {"passed": True}, asked=asked, approver="anna")
    from evergreen.train import stages as train

    with pytest.raises(EvidenceMissing, match="no approval in the ledger"):
        registry.register(newer, train.refit(newer, forged))


def medium(model: ModelSpec, number: int) -> Run:
    """A training of the model as if its tier were medium, about which nobody was asked yet."""
    assert model.risk is not None
    spec = model.model_copy(update={"risk": model.risk.model_copy(update={"tier": "medium"})}).at(model.folder)
    return training(spec, number, approval=None)


def planted(kept: Sequence[Any], **changes: Any) -> None:
    """A judgement once more, with changes of its last gate."""
    again = [each.model_copy(update={"id": f"{each.id}/again", "judgement": each.judgement + 1}) for each in kept]
    ledger.append(*again[:-1], again[-1].model_copy(update=changes))


def test_what_warns_is_what_was_recorded_whatever_a_task_hands_over(model: ModelSpec) -> None:
    run = medium(model, DAYS - 1)
    judged = inline.run(run, "train", last="gates")["gates"]
    passed = judged.model_copy(update={"passed": True, "warnings": (), "gates": ()})
    kinds = ("validated", "judged", "approval")
    entries = ledger.entries(model.model, *kinds)
    (of_set,) = [each.event for each in entries if isinstance(each.event, Validated) and each.event.key == judged.key]
    assert of_set.warnings == () and story.warnings(entries, judged.run.id) == judged.warnings
    assert story.checked(entries, judged.run.id) == judged.gates

    kept = story.judgement(entries, judged.run.id)
    planted([each for each in kept if each.low is None])  # and so none in doubt
    assert governing.approve(run, passed).asked == "", "nothing warns"
    allowing.check(run, judged.run.id, judged.run.id, asked=False)

    kept = story.judgement(ledger.entries(model.model, *kinds), judged.run.id)
    planted(kept, verdict="pass", bound=1.0, low=0.5, high=1.5)
    with pytest.raises(ApprovalWanted) as wanted:
        governing.approve(run, passed)
    shown = wanted.value.body.replace("\\", "")
    assert "1 thing(s) warn" in shown
    assert f"{kept[-1].gate}: passes, and its interval 0.5 to 1.5 reaches beyond the bound 1" in shown
    assert "| 0.5 to 1.5 | 1 |" in shown, "the person is shown what the ledger says"
    with pytest.raises(EvidenceMissing, match="no approval in the ledger"):
        allowing.check(run, judged.run.id, judged.run.id, asked=False)

    # What nobody wrote down, as an earlier release, warns too.
    without = [each for each in ledger.entries(model.model, *kinds) if not isinstance(each.event, Validated)]
    assert "was not recorded" in story.warnings(without, judged.run.id)[0]
    assert "no gates" in story.warnings([], judged.run.id)[0]


def test_the_gate_report_is_read_in_a_minute(model: ModelSpec) -> None:
    judged = inline.run(training(model, DAYS - 2), "train", first="validate_training", last="gates")["gates"]
    page = (settings().reports / model.model / "gates" / "2026-01-10.html").read_text(encoding="utf-8")
    assert judged.report.endswith("/allowed/gates/2026-01-10.html")
    for said in ("region = north", "better than the champion", "the candidate is the champion already", "ridge"):
        assert said in page, said
    of_gates = {gate.name: gate for gate in judged.gates}
    size, latency = of_gates["size of the packaged model"], of_gates["latency of an answer"]
    files = records.candidate(judged.run.id).files
    assert size.observed == files.get("model.onnx", files["model.skops"]).size / 1e6 and size.verdict == "pass"
    assert latency.verdict == "pass" and latency.observed is not None and 0 < latency.observed < 50
    assert latency.low is not None and latency.high is not None and latency.low <= latency.observed <= latency.high
    first = page.index("the candidate is the champion already")
    assert first < page.index("rmse at most"), "what failed stands first"
