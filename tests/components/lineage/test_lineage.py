"""Lineage both ways, on the real chain: from a version back to the files that it learned from, and from a file forward
to all that was made of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen import cli
from evergreen.database import connect
from evergreen.interval import Interval
from evergreen.lake import catalogue
from evergreen.lake.schema import FEATURES, LABELS, RAW
from evergreen.lineage import telling, tracing
from evergreen.local import postgres
from evergreen.loops import inline
from evergreen.registry import records as registry
from evergreen.run import DatasetRun, Run
from evergreen.settings import settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen_simulator.delivery import World
from evergreen_simulator.landing import write_days
from tests.churn import declared, one_folder

FIRST, DAYS = date(2026, 1, 1), 6
MISSING, CORRECTED = 2, 4
WORLD = World(seed=4, size=60)
CHANGES = {
    "label": {"horizon": "1d"},
    "split": {"window": "10d", "evaluation": "1d", "folds": 2, "minimum_rows": 50},
}
USAGE = RAW.of("churn", "usage")


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


@dataclass(frozen=True)
class Chain:
    """What was ingested and built, and what a version is of."""

    spec: ModelSpec
    landing: Path

    def ingest(self, number: int) -> None:
        run = DatasetRun(self.spec.datasets["churn"], Interval.of_day(FIRST + timedelta(days=number)))
        inline.run(run, "ingest")

    def build(self, run_id: str) -> Any:
        """A training set as of the last day; of another run each time."""
        run = Run(self.spec, Interval.of_day(FIRST + timedelta(days=DAYS - 1)), run_id=run_id)
        return inline.run(run, "train", last="build")["build"]

    def register(self, number: int, key: str) -> None:
        registry.add_candidate(registry.Candidate(f"run{number}", "churn", "logistic_regression", "m", {}))
        as_of = Interval.of_day(FIRST + timedelta(days=DAYS - 1)).as_of
        registry.add_version("churn", number, run_id=f"run{number}", key=key, as_of=as_of)

    def file(self, number: int, source: str = "usage") -> Path:
        return self.landing / "churn" / source / f"{day(number)}.csv"


@pytest.fixture(scope="module")
def chain(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Six days, of which one is ingested after the first version was built, and one is corrected after the second."""
    home, prefix = tmp_path_factory.mktemp("lineage"), f"t{os.getpid()}_lineage_"
    postgres.create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "feast", "optuna")])
    content = declared()
    one_folder(home / "models" / "churn", **{name: content[name] | values for name, values in CHANGES.items()})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "HOME": str(home),
            "MODELS": str(home / "models"),
            "DATABASE": postgres_url,
            "DATABASE_PREFIX": prefix,
        }.items():
            patch.setenv(f"EVERGREEN_{name}", value)
        settings.cache_clear()
        list(write_days(WORLD, FIRST, FIRST + timedelta(days=DAYS - 1), settings().landing))
        chain = Chain(load_spec(home / "models" / "churn"), Path(settings().landing))
        for number in range(DAYS):
            if number != MISSING:
                chain.ingest(number)
        chain.register(1, chain.build("first").key)
        chain.ingest(MISSING)
        second = chain.build("second")
        assert second.differs is not None, "the filled day has rows of its own"
        chain.register(2, second.key)
        lines = chain.file(CORRECTED).read_text().splitlines(keepends=True)
        chain.file(CORRECTED).write_text("".join(lines[:-3]))  # a corrected file: three rows less
        chain.ingest(CORRECTED)
        yield chain
    settings.cache_clear()


def tables(lineage: Any) -> dict[str, Any]:
    return {each.table: each for each in lineage.tables}


def test_from_a_version_back_to_the_files_of_the_days_that_it_learned_from(chain: Chain) -> None:
    first, second = (tables(tracing.of_version("churn", number)) for number in (1, 2))
    labels, usage = f"{LABELS.of('churn', 'churned')}", str(USAGE)
    assert {"churn/features/activity", "churn/features/account", labels, usage} <= set(second)
    assert day(MISSING) not in first[labels].partitions and day(MISSING) not in first[usage].partitions
    assert day(MISSING) in second[labels].partitions and day(MISSING) in second[usage].partitions
    for each in second[usage].published:
        (file,) = each.inputs.files
        assert file.name == str(chain.file((date.fromisoformat(each.partition) - FIRST).days))
        written = catalogue.published(USAGE)[each.partition]
        if each.partition == day(CORRECTED):  # it was corrected since: what the version learned from is what it was
            assert each.content_hash != written.content_hash
        else:
            content = Path(file.name).read_bytes()
            assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            assert each.content_hash == written.content_hash


def test_from_a_file_forward_to_the_versions_that_learned_from_it(chain: Chain) -> None:
    filled = tracing.of_batch(str(chain.file(MISSING)))
    assert [training.version for training in filled.trainings] == [2], "the first one knew nothing of it"
    made = {each.table: each.partitions for each in filled.made}
    views = [FEATURES.of("churn", view) for view in chain.spec.features if "usage" in chain.spec.features[view].sources]
    assert views and all(day(MISSING) in made[str(view)] for view in views)
    by_digest = tracing.of_batch(hashlib.sha256(chain.file(MISSING).read_bytes()).hexdigest()[:16])
    assert by_digest == filled and tracing.of_batch(f"usage/{day(MISSING)}.csv") == filled
    assert tracing.of_batch(f"churn/usage/{day(MISSING)}").trainings == filled.trainings


def test_a_corrected_file_keeps_its_earlier_state_and_what_was_made_of_that(chain: Chain) -> None:
    (usage,) = tracing.of_batch(f"churn/usage/{day(CORRECTED)}").batch
    before, after = usage.published
    assert before.table_version < after.table_version and before.content_hash != after.content_hash
    assert after.inputs is not None and after.inputs.files[0].size == chain.file(CORRECTED).stat().st_size
    corrected = tracing.of_batch(after.inputs.files[0].sha256)
    assert not corrected.trainings, "nothing was trained since"
    assert before.inputs is not None
    learned = tracing.of_batch(before.inputs.files[0].sha256).trainings
    assert [each.version for each in learned] == [2], "for the first one a day was missing before it"
    chain.ingest(CORRECTED)
    assert tracing.of_batch(f"churn/usage/{day(CORRECTED)}").batch == (usage,), "the same again adds nothing"


def test_an_earlier_release_published_it_and_nobody_knows_from_what(chain: Chain) -> None:
    stored = FEATURES.of("churn", "account")
    with connect() as connection:
        connection.execute("create table kept as select * from publications where name = 'account'")
        connection.execute("update publications set inputs = null where name = 'account'")
    try:
        lineage = tracing.of_version("churn", 2)
    finally:
        with connect() as connection:
            connection.execute("delete from publications where name = 'account'")
            connection.execute("insert into publications select * from kept")
    account = tables(lineage)[str(stored)]
    assert account.unknown == account.partitions
    assert any(telling.NOT_RECORDED in line for line in telling.backward(lineage))


def test_the_command_tells_stretches_and_its_json_everything(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lineage", "churn", "2"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("version 2 of churn, as of 2026-01-07T00:00Z\n  training set ")
    assert "churn/raw/usage: 2026-01-01..2026-01-0" in told
    assert f"{chain.file(1)}  {chain.file(1).stat().st_size:,} bytes  sha256 " in told
    assert cli.main(["lineage", "churn", "1"]) == 0
    assert ": 2026-01-01, 2026-01-04..2026-01-05 (3 partitions)" in capsys.readouterr().out, "a gap is seen"
    assert cli.main(["lineage", "churn", "2", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    usage = next(each for each in whole["tables"] if each["table"] == str(USAGE))
    assert all(each["inputs"]["files"][0]["sha256"] for each in usage["published"])
    assert cli.main(["lineage", "--batch", f"churn/usage/{day(1)}"]) == 0
    told = capsys.readouterr().out
    assert "version 1 of churn" in told and "version 2 of churn" in told and "no decision of a monitor" in told
    everything = json.dumps(whole)
    customers = {line.split(",")[0] for line in chain.file(1, "customers").read_text().splitlines()[1:]}
    assert customers and not any(customer in everything for customer in customers), "no key of a customer"


@pytest.mark.parametrize(
    ("arguments", "found", "next_step"),
    [
        (["churn", "9"], "no version 9", "write one of 1, 2"),
        (["chrun", "1"], "no version of a model 'chrun'", "write churn"),
        (["--batch", "churn/usge/2026-01-02"], "nothing that was made from it", "write churn/usage/2026-01-0"),
        (["--batch", "churn/usage/2026-02-02"], "nothing that was made from it", "write churn/usage/2026-01-0"),
        (["--batch", "customers/2026-01-02"], "nothing that was made from it", "write churn/customers/2026-01-0"),
        (["churn", "--decision", "d1"], "no decision 'd1'", "publish something first"),
        (["churn"], "a model alone", "evergreen lineage churn 3"),
        ([], "nothing", "evergreen lineage churn 3"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(
    chain: Chain, arguments: list[str], found: str, next_step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lineage", *arguments]) == 1
    told = capsys.readouterr().err
    assert f"found:     {found}" in told and f"next step: {next_step}" in told
