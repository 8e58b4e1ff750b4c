"""The ledger in a real Postgres: only added to, one order whoever writes, whole or not at all,
and what was done to it is found."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from evergreen import database
from evergreen.cli import main
from evergreen.database import locks
from evergreen.errors import LedgerUnreadable, ServiceUnavailable
from evergreen.history import ledger, story, verifying
from evergreen.history.chain import Witness
from evergreen.history.events import Adopted, Alerted, Event, Promoted, Registered, RolledBack
from evergreen.registry import records
from evergreen.settings import PROJECT, Settings, settings
from tests.components.database.conftest import STORED, restore

AS_OF = datetime(2026, 1, 5, tzinfo=UTC)
HERE = Path(__file__).parent


def alert(id: str, model: str = "churn") -> Alerted:
    return Alerted(id=id, model=model, as_of=AS_OF, actor="ada", reason="é \x00 ☂", decision_id=id)


def promoted(version: int, replaced: int | None = None, model: str = "churn") -> Promoted:
    return Promoted(
        id=f"promotion/{model}/{version}",
        model=model,
        as_of=AS_OF,
        actor="ada",
        reason="better",
        version=version,
        replaced=replaced,
    )


def recorded(model: str = "churn") -> list[Event]:
    return [entry.event for entry in ledger.entries(model)]


@pytest.fixture
def owner(home: Settings) -> Iterator[psycopg.Connection]:
    """Whoever owns the table, and has taken its lock off: what the chain is for."""
    ledger.append()  # the table is there
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as connection:
        connection.execute("alter table ledger disable trigger all")
        yield connection


def test_what_is_added_reads_back_in_its_order(home: Settings) -> None:
    events = [alert("a"), promoted(1), alert("b", "other"), promoted(2, 1)]
    ledger.append(*events[:2])
    ledger.append(*events[2:])
    assert recorded() == [events[0], events[1], events[3]] and recorded("other") == [events[2]]
    entries = ledger.entries("churn", "promoted")
    assert [(entry.number, entry.event) for entry in entries] == [(2, events[1]), (4, events[3])]
    assert entries[0].at < entries[1].at
    now = ledger.standing("churn")
    assert (now.champion, now.last_known_good) == (2, 1)
    assert ledger.standings() == {"churn": now}
    assert verifying.verify() == verifying.Verification(4, verifying.verify().last, ())


def test_an_event_is_recorded_once_whoever_adds_it_again(home: Settings) -> None:
    for _ in range(2):
        ledger.append(alert("a"), alert("a"))
        ledger.append(alert("a"), promoted(1))
    assert recorded() == [alert("a"), promoted(1)]
    assert verifying.verify().flaws == ()


def test_what_is_decided_by_the_entries_is_decided_alone(home: Settings) -> None:
    for _ in range(3):
        ledger.extend("churn", lambda entries: [alert(story.next_id("again", entries))])
    assert [event.id for event in recorded()] == ["again", "again/2", "again/3"]

    def fails(_: object) -> list[Event]:
        raise RuntimeError("undecided")

    with pytest.raises(RuntimeError):
        ledger.extend("churn", fails)
    ledger.append(alert("b"))
    assert len(recorded()) == 4 and verifying.verify().flaws == ()


def test_processes_that_add_at_once_make_one_chain(home: Settings) -> None:
    database.migrate()
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "include")}
    commands = [[sys.executable, str(HERE / "writer.py"), name, "12"] for name in ("one", "two", "three", "four")]
    writers = [subprocess.Popen(command, env=environment) for command in commands]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0, 0]
    seen = verifying.verify()
    assert (seen.entries, seen.flaws) == (5 * 12, ()), "12 that all four added, and 12 of each"
    ids = [entry.event.id for number in range(3) for entry in ledger.entries(f"model_{number}")]
    assert len(ids) == len(set(ids)) == 60


def test_a_kill_in_the_middle_leaves_nothing_and_holds_nobody_up(home: Settings) -> None:
    ledger.append(alert("before"))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "include")}
    command = [sys.executable, str(HERE / "killed_writer.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "added\n"
        writer.send_signal(signal.SIGKILL)
    ledger.append(alert("after"))
    assert [event.id for event in recorded()] == ["before", "after"]
    assert (verifying.verify().entries, verifying.verify().flaws) == (2, ())


def test_a_lock_that_is_held_for_long_is_a_silence(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", "200ms")
    with database.connect() as stuck:
        database.alone(stuck, ledger._KEY)
        with pytest.raises(ServiceUnavailable):
            ledger.append(alert("a"))
    ledger.append(alert("a"))
    assert recorded() == [alert("a")]


def test_a_role_that_can_only_add_is_enough_and_can_do_nothing_else(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what docs/security.md grants."""
    grants = re.search(r"```sql\n(.*?)```", (PROJECT / "docs" / "security.md").read_text(), re.DOTALL)
    assert grants is not None and "evergreen_runs" in grants[1]
    ledger.append(promoted(1))
    login = f"{home.database_prefix}adds"
    owner_url = home.database_url("evergreen")
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(f"create role {login} login password 'adds'")
        owner.execute(grants[1].replace("evergreen_runs", login).encode())
    try:
        theirs = owner_url.rpartition("@")[2].rpartition("/")[0]
        monkeypatch.setenv("EVERGREEN_DATABASE", f"postgresql://{login}:adds@{theirs}")
        settings.cache_clear()
        ledger.append(promoted(2, 1))
        ledger.extend("churn", lambda entries: [alert(f"{len(entries)} before")])
        assert [event.event for event in recorded()] == ["promoted", "promoted", "alerted"]
        assert ledger.standing("churn").champion == 2 and verifying.verify().flaws == ()
        candidate = records.Candidate("run", "churn", "ridge", "m-1", {"spec.json": records.Digest("0a", 1)})
        records.add_candidate(candidate)
        records.add_file("run", "more.json", b"more")
        records.add_version("churn", 2, run_id="run", key="key", as_of=AS_OF)
        assert records.version("churn", 2).family == "ridge", "the other tables are as they were"
        for statement in (
            "update ledger set body = ''",
            "delete from ledger",
            "truncate ledger",
            "drop table ledger",
            "alter table ledger disable trigger all",
            "create table mine (a int)",
            "insert into ledger select * from ledger on conflict (number) do update set body = ''",
        ):
            with psycopg.connect(settings().database_url("evergreen")) as theirs_now:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    theirs_now.execute(statement.encode())
                theirs_now.rollback()
    finally:
        with psycopg.connect(owner_url, autocommit=True) as owner:
            owner.execute(f"drop owned by {login}")
            owner.execute(f"drop role {login}")


def test_even_the_owner_changes_nothing_by_mistake(home: Settings) -> None:
    ledger.append(promoted(1))
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as owner:
        for statement in ("update ledger set body = ''", "delete from ledger", "truncate ledger"):
            with pytest.raises(psycopg.errors.RaiseException, match="only added to"):
                owner.execute(statement.encode())


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        (
            "update ledger set body = replace(body, 'better', 'worse') where number = 2",
            "entry 2 ('promotion/churn/2' of 'churn') is not what was recorded",
        ),
        (
            "update ledger set at = at + interval '1 day' where number = 2",
            "entry 2 ('promotion/churn/2' of 'churn') is not what was recorded",
        ),
        ("delete from ledger where number = 2", "entry 2 is missing"),
        (
            "update ledger set number = case number when 2 then 3 when 3 then 2 end where number in (2, 3)",
            "entry 2 ('promotion/churn/3' of 'churn') does not follow",
        ),
    ],
)
def test_what_was_changed_removed_or_put_elsewhere_is_found(
    owner: psycopg.Connection, capsys: pytest.CaptureFixture[str], change: str, flaw: str
) -> None:
    ledger.append(promoted(1), promoted(2, 1))
    ledger.append(promoted(3, 2), alert("last"))
    assert main(["audit", "verify"]) == 0
    owner.execute("alter table ledger drop constraint ledger_pkey")  # rows are exchanged one by one
    owner.execute(change.encode())
    capsys.readouterr()
    assert main(["audit", "verify"]) == 1
    assert flaw in capsys.readouterr().err


def test_an_end_that_was_cut_off_is_found_by_whoever_kept_the_last_hash(
    owner: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.append(promoted(1), promoted(2, 1))
    assert main(["audit", "verify"]) == 0
    out = capsys.readouterr().out
    seen = verifying.verify().last
    assert seen is not None and str(seen) in out and "2 entries" in out
    owner.execute("delete from ledger where number = 2")
    assert main(["audit", "verify"]) == 0, "what docs/security.md says it cannot see"
    assert main(["audit", "verify", "--witness", str(seen)]) == 1
    assert "entry 2, of the witness" in capsys.readouterr().err
    ledger.append(promoted(3, 1))
    assert main(["audit", "verify", "--witness", str(seen)]) == 1
    assert "written anew" in capsys.readouterr().err


def test_an_entry_that_is_no_event_is_told_with_its_number(owner: psycopg.Connection) -> None:
    ledger.append(promoted(1))
    owner.execute('update ledger set body = \'{"event": "crowned"}\'')
    with pytest.raises(LedgerUnreadable, match="entry 1 of the ledger, of churn"):
        ledger.entries("churn")
    assert len(verifying.verify().flaws) == 2, "it is not what was recorded, and cannot be read"


def test_each_entry_stands_in_the_log_which_is_a_witness(home: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="evergreen.history.ledger"):
        ledger.append(promoted(1))
    (line,) = [message for message in caplog.messages if message.startswith("Ledger entry ")]
    witness = Witness.parse(line.split()[2].rstrip(":"))
    assert verifying.verify([witness]).flaws == ()


def test_the_events_of_the_release_before_are_taken_over(home: Settings) -> None:
    """In their order, with their times, marked, and as the standing that they led to."""
    restore(home, "evergreen", STORED / "evergreen_0.1.0.sql")
    with psycopg.connect(home.database_url("evergreen")) as connection:
        before = connection.execute("select id, at, reason, actor, as_of from audit order by at").fetchall()
    entries = ledger.entries("parcels")
    audited = [entry for entry in entries if not isinstance(entry.event, Registered)]
    assert [
        (entry.event.id, entry.at, entry.event.reason, entry.event.actor, entry.event.as_of) for entry in audited
    ] == before
    assert all(entry.event.taken_over for entry in entries)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert verifying.verify().flaws == ()
    now = ledger.standing("parcels")
    assert (now.champion, now.last_known_good, now.rolled_back, now.pending) == (1, 1, {2}, None)
    versions = {version.number: version.state for version in story.versions(entries)}
    assert versions == {1: "champion", 2: "rolled back"}
    (back,) = [entry.event for entry in entries if isinstance(entry.event, RolledBack)]
    assert (back.version, back.left, back.actor, back.reason) == (1, 2, "someone", "customers complained")
    ledger.append(back)
    assert len(ledger.entries("parcels")) == len(entries), "a rerun across the upgrade adds nothing"
    ledger.append(promoted(3, 1, "parcels"))
    assert verifying.verify().flaws == (), "the chain goes on from what was taken over"


def test_every_kind_of_the_table_of_before_is_taken_over(home: Settings) -> None:
    with psycopg.connect(home.database_url("evergreen")) as connection:
        connection.execute(
            """
            create table audit (
                id text primary key, at timestamptz not null default now(), as_of timestamptz, model text not null,
                event text not null, version bigint, actor text not null, reason text not null, evidence jsonb not null
            );
            insert into audit (id, model, event, version, actor, reason, evidence) values
                ('promotion/shop/3', 'shop', 'promotion', 3, 'me', 'it was good', '{"replaced": 2}'),
                ('adoption/shop/2', 'shop', 'adoption', 2, 'me', 'looked at',
                    '{"mlflow_run_id": "r", "sha256": {"spec.json": "0a"}}'),
                ('alert/d', 'shop', 'alert', null, 'monitor', 'é', '{"decision_id": "d"}')
            """
        )
    kinds = {type(entry.event) for entry in ledger.entries("shop")}
    assert kinds == {Promoted, Adopted, Alerted}
    now = ledger.standing("shop")
    assert (now.champion, now.last_known_good) == (3, 2)
    assert verifying.verify().flaws == ()
