"""`evergreen new --from CONNECTION`: rows that stand in a database, up to the gates and without a line edited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen import cli
from evergreen.lake import catalogue
from evergreen.lake.schema import RAW
from evergreen.settings import Settings, settings
from evergreen.spec.load import load_spec
from tests.components.ingest.databases import Place, made
from tests.components.onboarding.test_new import visits

ROWS, DAYS = 900, 13


@pytest.fixture(scope="module", params=["postgres", "duckdb", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A database with a table of visits, whose names and types are none of ours."""
    folder = tmp_path_factory.mktemp(request.param)
    there = made(request.param, request, folder)
    texts = there.kind == "sqlite"
    moment, truth = ("text", "text") if texts else ("timestamp", "boolean")
    frame = visits(ROWS)
    frame["at"] = frame["at"].min() + (frame["at"] - frame["at"].min()) / 60 * DAYS
    rows = ", ".join(
        f"('{row.visit}', '{row.at:%Y-%m-%d %H:%M:%S}', {row.pages}, '{row.shop}',"
        f" {(chr(39) + ('yes' if row.ordered else 'no') + chr(39)) if texts else ('true' if row.ordered else 'false')})"
        for row in frame.itertuples()
    )
    there.execute(
        f'create table orders ("Visit No" varchar(20), seen {moment}, "PagesSeen" integer, "user" varchar(5),'
        f' "100 %" {truth})',
        f"insert into orders values {rows}",
        "create table empty_one (seen timestamp, a integer, b integer)",
    )
    return there


@pytest.fixture
def here(
    home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Place
) -> Iterator[Settings]:
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("EVERGREEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", place.uri)
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


def test_a_table_becomes_a_folder_that_reads_it(
    here: Settings, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"of_{place.kind}"
    command = ["new", name, "--from", "shop_db", "--table", "orders", "--label", "100 %"]
    assert cli.main([*command, "--time", "seen", "--key", "Visit No"]) == 0
    said = capsys.readouterr().out
    assert f"{ROWS:,} rows of 5 columns" in said and "First fit: gradient_boosting" in said, said
    folder = here.models / name
    for file in folder.rglob("*.*"):
        assert place.uri not in file.read_text(), "where the database is, and its login, stand in no file"
    query = (folder / "sources" / "orders.sql").read_text()
    bare = place.kind == "sqlite"  # to which `user` is a name as any other
    assert bare or '"user"' in query
    assert "seen >= %(start)s AND seen < %(end)s" in query.replace('"seen"', "seen"), query
    assert not any(Path(here.landing).rglob("*.*")), "the rows stay where they are"


@pytest.mark.parametrize("place", ["postgres", pytest.param("duckdb", marks=pytest.mark.long)], indirect=True)
def test_it_is_judged_with_no_line_edited(here: Settings, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"judged_{place.kind}"
    command = ["new", name, "--from", "shop_db", "--table", "orders", "--label", "100 %"]
    assert cli.main([*command, "--time", "seen", "--key", "Visit No", "--no-look-back"]) == 0
    assert cli.main(["try", name]) == 0
    said = capsys.readouterr().out
    assert "roc_auc at least" in said and "pages_seen (request)" in said and "gate report: " in said, said
    spec = load_spec(here.models / name, here.data)
    days = catalogue.published(RAW.of(name, "orders"))
    assert sum(entry.rows for entry in days.values()) == ROWS and len(days) == DAYS + 1
    assert next(iter(spec.sources.values())).connection == "shop_db"


def test_a_query_may_be_the_sample_and_a_table_without_time_is_dealt_out(
    here: Settings, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "busy.sql"
    file.write_text("""select "Visit No", "PagesSeen" as pages, "100 %" as ordered from orders
        where "user" <> '100%' and "user" not like '%z%' -- all;\n;""")
    command = ["new", f"busy_{place.kind}", "--from", "shop_db", "--query", str(file), "--label", "ordered"]
    assert cli.main(command) == 0
    assert "no time: one batch" in capsys.readouterr().out
    assert len(list(Path(here.landing).rglob("*.parquet"))) == 21
    assert "--query busy.sql" in (here.models / f"busy_{place.kind}" / "model.yaml").read_text().replace("\n#", "")
    same = f"select * from ({file.read_text().partition('--')[0]}) as it"
    assert cli.main([*command[:1], f"same_{place.kind}", *command[2:5], same, *command[6:]]) == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["--from", "no_db", "--table", "orders"], "set AIRFLOW_CONN_NO_DB=postgresql://"),
        (["--from", "shop_db", "--table", "ordrs"], "name another table or query: --table NAME, or --query FILE|SQL"),
        (["--from", "shop_db", "--table", "empty_one"], "0 rows"),
        (["--from", "shop_db"], "of a connection to a database say --table NAME or --query SQL"),
        (["--from", "shop_db", "--table", "orders", "--time", "sen"], "--time COLUMN: write seen"),
        (["--from", "shop_db", "--table", "orders", "--key", "visit"], "no column 'visit'"),
        (["--from", "shop_db", "--query", "delete from orders where 1 = 1"], "a statement that begins with DELETE"),
        (["--from", "shop_db", "--query", "select * from orders where seen >= %(start)s"], "`new` bounds the query"),
        (["--from", "shop_db", "--query", "no_such.sql"], "FileNotFoundError"),
        (["--from", "shop_db", "--query", 'select seen, seen, "user" as label from orders'], ""),
    ],
)
def test_what_is_wrong_is_said_with_the_next_step(
    here: Settings, place: Place, capsys: pytest.CaptureFixture[str], said: list[str], told: str
) -> None:
    label = "a" if "empty_one" in said else "100 %"
    assert cli.main(["new", "wrong", *said, "--label", label]) == 1
    error = capsys.readouterr().err
    assert told in error and "this task" not in error and "a task is" not in error, error
    assert not (here.models / "wrong").exists()


def test_a_time_that_the_database_cannot_compare_is_told(
    here: Settings, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    written = {"postgres": "to_char(seen, 'DD.MM.YYYY HH24:MI')", "duckdb": "strftime(seen, '%d.%m.%Y %H:%M')"}
    sql = written.get(place.kind, "strftime('%d.%m.%Y %H:%M', seen)")
    query = f'select "Visit No", {sql} as seen, "PagesSeen", "100 %" as ordered from orders'
    assert cli.main(["new", "wrong", "--from", "shop_db", "--query", query, "--label", "ordered"]) == 1
    error = capsys.readouterr().err
    assert "reading 'shop_db' from the connection shop_db" in error and "--query" in error, error
    assert not (here.models / "wrong").exists()
