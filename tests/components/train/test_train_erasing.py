"""A person is erased from everything that is kept, and nobody else is touched; what held the person says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen import cli, folders
from evergreen.erasure import erasing
from evergreen.errors import ErasedInPart, ErasureRefused, SpecError, TrainingSetChanged
from evergreen.features import objects, online_rows, online_values
from evergreen.history import ledger
from evergreen.history.events import Erased, Retired
from evergreen.lake import catalogue, partitions, rewriting, schema, staging, tables
from evergreen.registry import artifacts
from evergreen.registry import records as registry
from evergreen.registry.contents import Reference, Sample, SpecCopy
from evergreen.serve.idempotency import Answer, digest
from evergreen.serve.predictions import Prediction, PredictionLog, between
from evergreen.settings import Settings, settings
from evergreen.spec.load import Declared
from evergreen.spec.schema import ModelSpec
from evergreen.train.rebuilding import rebuild
from evergreen.validate import exemptions
from evergreen.validate.exemptions import Exemption

from .conftest import DAYS, at
from .history import CUSTOMERS, Row, publish
from .recorded import MISSING, days, registered

PERSON, VALUE = "person-0417", 777_000.25  # the person's minutes are unlike all others'
REASON = "request 7 of the data protection officer"


def planted(rows: list[Row]) -> list[Row]:
    """With the person in the place of a customer."""
    return [
        row | {"customer_id": PERSON} | ({"minutes": VALUE + number / 1000} if "minutes" in row else {})
        if row["customer_id"] == CUSTOMERS[3]
        else row
        for number, row in enumerate(rows)
    ]


@pytest.fixture
def held(tiny: ModelSpec) -> int:
    """The person stands everywhere; returns the version that learned from it."""
    features, labels = days(*(day for day in range(DAYS) if day != MISSING))
    publish(tiny, planted(features), planted(labels))
    _, number = registered(tiny)
    publish(tiny, *(planted(rows) for rows in days(MISSING)))  # so that the version's is an old one
    publish(tiny, *(planted(rows) for rows in days(10, 11)))

    first, source = at(0), pa.table({"customer_id": [PERSON, "c1"], "at": pa.array([at(0)] * 2)})
    rejected = source.append_column("_unparsed", pa.array([None, f"customer_id={PERSON}"]))
    day = first.date().isoformat()
    for table, rows in (
        (schema.RAW.of(tiny.model, "events"), source),
        (schema.QUARANTINE.of(tiny.model, "events"), rejected),
        (schema.PREDICTIONS.of(tiny.model), source.append_column("prediction", pa.array([0.25, 0.5]))),
        (schema.RAW.of("gone_model", "events"), source),  # of a dataset that nobody declares any more
    ):
        catalogue.record(partitions.replace(table.at(day), rows, known_at=first))
    columns = list(tiny.sources["events"].columns)
    another = pa.table({"customer_id": ["c2"], "at": pa.array([at(0)])})
    released = exemptions.row_hashes(pa.concat_tables([source.slice(0, 1), another]), columns)
    exemptions.grant([Exemption(tiny.model, "events", day, each, ("a rule",), "ada", "right") for each in released])
    objects.ensure_applied(tiny)
    stored = tables.read(schema.FEATURES.of(tiny.model, "activity"), ["2026-01-19"])
    assert stored is not None
    online_values.write(tiny.own_data(), "activity", stored)
    log = PredictionLog()
    for customer, minutes in ((PERSON, VALUE), ("c1", 1.0)):
        row = Prediction(tiny.model, number, f"of {customer[:2]}", 0, customer, first, first, {"minutes": minutes}, 0.5)
        answer = Answer(tiny.model, customer[:2], digest(b""), f"of {customer[:2]}", json.dumps([customer]).encode())
        log.append([row], answer).result(timeout=30)
    log.close()
    for page, text in (
        (f"data_docs/ingest/{day}.html", "a rejected value"),
        ("data_docs/ingest/2026-02-01.html", f"<td>{PERSON}</td>"),
        ("data_docs/ingest/2026-02-02.html", f"<td>{PERSON}1</td>"),
        ("drift/2026-01-09.html", "points"),
    ):
        folders.write(str(_made(settings().reports / tiny.model / page)), text.encode(), "EVERGREEN_REPORTS")
    staging.write(staging.WorkingFile(of=tiny.model, run="2026-01-01", name="events"), source, task="extract")
    staging.write(staging.WorkingFile(of=tiny.model, run="2026-01-02", name="events"), source.slice(1), task="extract")
    landed = _made(Path(settings().landing) / "events" / f"{day}.csv")
    landed.write_text(f"at,customer_id\n{day},{PERSON}\n")
    _made(landed.with_name("2026-02-01.csv")).write_text("at,customer_id\n")
    noted()
    return number


def noted() -> None:
    """Postgres takes the statistics that it takes by itself once a table has grown."""
    for name in ("evergreen", "feast", "optuna"):
        with psycopg.connect(settings().database_url(name), autocommit=True) as connection:
            connection.execute("analyze")


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def declared(spec: ModelSpec) -> Declared:
    return Declared({spec.model: spec.own_data()}, {spec.model: spec})


def erase(spec: ModelSpec, *, apply: bool = True) -> erasing.Report:
    return erasing.erase(declared(spec), "customer", PERSON, actor="ada", reason=REASON, apply=apply)


def everything(home: Settings, number: int, spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Everything that is kept, as text: every file but those of the landing zone, every row of every table of Postgres,
    the files of MLflow."""
    for file in (path for path in Path(home.home).rglob("*") if path.is_file() and "landing" not in path.parts):
        if file.suffix == ".parquet":
            yield str(file), json.dumps(pq.ParquetFile(file).read().to_pydict(), default=str)
        yield str(file), file.read_bytes().decode(errors="replace")
    for name in ("evergreen", "feast", "optuna"):
        with psycopg.connect(home.database_url(name)) as connection:
            with connection.cursor().copy("copy (select * from pg_stats) to stdout") as copy:
                for line in b"".join(copy).decode(errors="replace").splitlines():
                    yield f"{name} statistics of {line.split(chr(9))[1:3]}", line
            query = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public'"
            for (table,) in connection.execute(query).fetchall():
                with connection.cursor().copy(f"copy (select * from {table}) to stdout") as copy:
                    yield f"{name} {table}", b"".join(copy).decode(errors="replace")
    candidate = registry.candidate(registry.version(spec.model, number).run_id)
    yield Reference.NAME, artifacts.load(candidate, Reference).rows.to_csv()
    yield Sample.NAME, artifacts.load(candidate, Sample).to_bytes().decode()


def traces(home: Settings, number: int, spec: ModelSpec) -> set[str]:
    """Where the person is: the key, in bytea too, or one of its values."""
    signs = (PERSON, PERSON.encode().hex(), str(VALUE)[:5])
    return {
        place
        for place, text in everything(home, number, spec)
        if any(sign in text.replace(f"{PERSON}1", "") for sign in signs)
    }


def of_others(spec: ModelSpec) -> dict[str, Any]:
    """What is kept of everybody else, of every version of every table."""
    kept: dict[str, Any] = {}
    for path in sorted(Path(settings().lake).glob("*/*/*")):
        table = schema.TableId(*path.parts[-3:])
        newest = tables.version(table)
        assert newest is not None
        for version in range(newest + 1):
            rows = tables.read(table, version=version)
            assert rows is not None
            for row in rows.to_pylist():
                if row["customer_id"] != PERSON and PERSON not in (row.get("_unparsed") or ""):
                    kept.setdefault(f"{table} {version}", []).append(row)
    asked = [{"customer_id": customer} for customer in CUSTOMERS if customer != CUSTOMERS[3]]
    return kept | {
        "online": online_rows.read(spec, asked),
        "released": sum(exemptions.counts(spec.model).values()) > 0,
        "log": [row.entity for row in between(spec.model, at(0), at(1)) if row.entity != PERSON],
    }


def test_nothing_is_left_of_a_person_and_all_of_everybody_else(
    tiny: ModelSpec, home: Settings, held: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, others = traces(home, held, tiny), of_others(tiny)
    assert len({place.rpartition("/")[0] for place in before}) > 20 and {Reference.NAME, Sample.NAME} <= before
    looked = erase(tiny, apply=False)
    assert looked.id is None and traces(home, held, tiny) == before, "without --apply nothing is changed"

    monkeypatch.setattr("evergreen.spec.load.load", lambda *_: declared(tiny))
    arguments = ["erase", "customer", PERSON, "--actor", "ada", "--reason", REASON]
    assert cli.main(arguments) == 0 and "nothing was changed" in capsys.readouterr().out
    assert cli.main([*arguments, "--apply"]) == 0
    said = capsys.readouterr().out
    assert f"version {held} of {tiny.model}" in said and "events/2026-01-02.csv" in said
    assert traces(home, held, tiny) == set()
    assert of_others(tiny) == others
    assert (settings().reports / tiny.model / "data_docs/ingest/2026-02-02.html").exists(), "another's key"
    assert Path(staging.WorkingFile(of=tiny.model, run="2026-01-02", name="events").path).exists(), "another's file"
    assert catalogue.published(schema.RAW.of(tiny.model, "events"))["2026-01-02"].rows == 1

    assert exemptions.counts(tiny.model) == {("events", "2026-01-02"): 1}, "another's"

    (event,) = [entry.event for entry in ledger.entries(tiny.model) if isinstance(entry.event, Erased)]
    assert event.left.keys() == event.rows.keys()
    assert (event.actor, event.reason) == ("ada", REASON) and event.versions.keys() == {str(held)}
    with pytest.raises(ErasedInPart, match=event.id) as erased:
        rebuild(tiny.model, held)
    assert f"{event.versions[str(held)]} of its rows are gone" in erased.value.found
    assert erase(tiny).places == {}, "a second time there is nothing"
    assert cli.main(["history", tiny.model]) == 0 and event.erasure in capsys.readouterr().out

    # Rows that go without an erasure are told as before.
    rewriting.erase(schema.LABELS.of(tiny.model, "left"), rewriting.Key(frozenset({"customer_id"}), "c1"))
    with pytest.raises(TrainingSetChanged):
        rebuild(tiny.model, held)


@pytest.mark.long
@pytest.mark.parametrize("place", ["artifacts", "traces", "lake", "end"])
def test_a_kill_at_any_step_is_gone_on_with_under_the_same_id(
    tiny: ModelSpec, home: Settings, held: int, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    steps: dict[str, tuple[object, str]] = {
        "artifacts": (erasing.artifacts.tracking, "replace"),
        "traces": (erasing.traces, "pages"),
        "lake": (erasing.rewriting, "_rewrite"),
        "end": (erasing.erasures, "end"),
    }
    module, name = steps[place]
    calls = {"left": 2 if place == "lake" else 0}
    real: Callable[..., Any] = getattr(module, name)

    def killed(*given: Any, **options: Any) -> Any:
        if not calls["left"]:
            raise KeyboardInterrupt
        calls["left"] -= 1
        return real(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed)
        with pytest.raises(KeyboardInterrupt):
            erase(tiny)
    others = of_others(tiny)
    report = erase(tiny)
    assert traces(home, held, tiny) == set() and of_others(tiny) == others
    (event,) = [entry.event for entry in ledger.entries(tiny.model) if isinstance(entry.event, Erased)]
    assert (event.erasure, event.versions.keys()) == (report.id, {str(held)})
    with pytest.raises(ErasedInPart, match=event.id):
        rebuild(tiny.model, held)


def test_a_model_whose_folder_is_gone_is_erased_and_told_as_others_are(
    tiny: ModelSpec, home: Settings, held: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody declares it, nor its entity, any more: what it was last trained with knows both."""
    nothing = Declared({}, {})
    monkeypatch.setattr("evergreen.spec.load.load", lambda *_: nothing)
    arguments = ["erase", "customer", PERSON, "--actor", "ada", "--reason", REASON]
    assert cli.main(arguments) == 0
    assert f"Learned from it: version {held} of {tiny.model}" in capsys.readouterr().out
    assert cli.main([*arguments, "--apply"]) == 0
    assert f"Learned from it: version {held} of {tiny.model}" in capsys.readouterr().out
    assert traces(home, held, tiny) == set()
    (event,) = [entry.event for entry in ledger.entries(tiny.model) if isinstance(entry.event, Erased)]
    assert event.versions.keys() == {str(held)}
    with pytest.raises(ErasedInPart, match=event.id):
        rebuild(tiny.model, held)


def test_what_cannot_be_looked_into_is_said(tiny: ModelSpec, home: Settings, held: int) -> None:
    """A folder with mistakes, and a model that is gone whose spec is no longer what was recorded."""
    broken = SpecError("reading a folder", found="nothing", expected="a spec", next_step="write one")
    report = erasing.erase(
        Declared({"other": broken}, {tiny.model: broken}), "customer", PERSON, actor="ada", reason=REASON, apply=False
    )
    assert [each.what for each in report.unsearched] == ["what other has"], "the model is known by what it was trained"
    assert [learned.versions for learned in report.learned] == [(held,)]
    registry.add_file(registry.version(tiny.model, held).run_id, SpecCopy.NAME, b"another")
    report = erasing.erase(
        Declared({tiny.model: tiny.own_data()}, {}), "customer", PERSON, actor="ada", reason=REASON, apply=False
    )
    (unsearched,) = report.unsearched
    assert unsearched.what.startswith(f"the model {tiny.model}, which no valid folder declares")


def test_where_a_person_wrote_the_key_into_the_ledger_is_listed(
    tiny: ModelSpec, home: Settings, held: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(number: int, reason: str, actor: str = "ada") -> Retired:
        return Retired(id=f"r{number}", model=tiny.model, as_of=None, actor=actor, reason=reason, version=held + number)

    texts = ("no longer wanted", f"{PERSON} complained", f"{PERSON}1 did", f'"{PERSON}"\u2028 said so')
    ledger.append(*(written(number, text) for number, text in enumerate(texts, 1)), written(5, "a reason", PERSON))
    numbers = {entry.event.id: entry.number for entry in ledger.entries(tiny.model, "retired")}
    named = [numbers[id] for id in ("r2", "r4", "r5")]
    assert erase(tiny, apply=False).written == named
    monkeypatch.setattr("evergreen.spec.load.load", lambda *_: declared(tiny))
    assert cli.main(["erase", "customer", PERSON, "--actor", "ada", "--reason", REASON]) == 0
    assert f"wrote this key as a reason: {', '.join(map(str, named))}" in capsys.readouterr().out


def test_what_the_ledger_would_keep_may_not_name_the_person(tiny: ModelSpec, home: Settings) -> None:
    for entity, key, reason, problem in (
        ("customer", PERSON, f"{PERSON} wrote to us", "--reason"),
        ("customer", "", REASON, "empty"),
        ("guest", PERSON, REASON, "customer"),
    ):
        with pytest.raises(ErasureRefused, match=problem):
            erasing.erase(declared(tiny), entity, key, actor="ada", reason=reason, apply=True)
    assert ledger.entries(tiny.model) == []
