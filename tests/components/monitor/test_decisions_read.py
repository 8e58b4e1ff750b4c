"""What a decision reads of those before it: what its rules need, however many there are, and with the same end."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from evergreen import database
from evergreen.history import events, ledger, story
from evergreen.interval import Interval
from evergreen.monitor import decisions, paired, rules, windows
from evergreen.monitor.evidence import Weighed
from evergreen.run import Run
from evergreen.settings import Settings
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

FIRST, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
FUTURE = (FIRST + 1000 * DAY).date()
ENOUGH = rules.Labels(learn=1000, evaluate=1000, folds=3)
NAMES = map("model_{}".format, itertools.count())


def spec_of(model: str, **monitoring: object) -> ModelSpec:
    spec = tiny(monitoring={"minimum_rows": 100, "cooldown": "5d", "budget": 2} | monitoring)
    return spec.model_copy(update={"model": model})


SEEN = paired.Evidence(0.2, 0.01, 2.5, 5.0, 30.0, 1.0, 0.2, 0, due=True)


def window(day: int, *, version: int | None = 1) -> rules.Findings:
    return rules.Findings(start=FIRST + day * DAY, end=FIRST + (day + 1) * DAY, version=version, champion=1, rows=500)


def decide(
    spec: ModelSpec, assessed: rules.Assessment, *, due: bool = False, labels: rules.Labels | None = ENOUGH
) -> rules.Decision:
    seen = dataclasses.replace(SEEN, due=due)
    known = rules.Known(Weighed(10, seen, assessed.findings.start))
    return rules.decide(spec, assessed, known, labels, {"rows": assessed.findings.rows})


def by_all(spec: ModelSpec, findings: rules.Findings) -> rules.Assessment:
    """The same by every decision that the ledger has."""
    standing = story.decisions(ledger.entries(spec.model, "decided"))
    others = [decisions.restored(event) for event in standing if event.start != findings.start]
    return rules.assess(findings, others)


def keep(spec: ModelSpec, made: Sequence[rules.Decision]) -> None:
    """Write decisions into the ledger as they are, in one step."""
    run = Run(spec, Interval.of_day(FIRST.date()))
    added = [decisions.recorded(run, each, id=f"{spec.model}/{number}") for number, each in enumerate(made)]
    ledger.append(*added)


WINDOWS = st.tuples(
    st.integers(0, 79),
    st.booleans() | st.just(True),  # a retraining is due
    st.sampled_from([1, 1, 1, 1, 2, None]),
    st.sampled_from([ENOUGH, ENOUGH, None]),
)


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    windows=st.lists(WINDOWS, max_size=60),
    in_order=st.booleans(),
    page=st.integers(1, 7),
    cooldown=st.integers(1, 40),
    budget=st.integers(1, 3),
    last=st.integers(0, 80),
)
def test_it_decides_as_all_of_history_does(
    home: Settings,
    windows: list[tuple[int, bool, int | None, rules.Labels | None]],
    in_order: bool,
    page: int,
    cooldown: int,
    budget: int,
    last: int,
) -> None:
    """Whatever was decided before: days that are missing, that came late or again, streaks of any length, retrainings
    at any distance."""
    spec = spec_of(next(NAMES), cooldown=f"{cooldown}d", budget=budget)
    made: dict[datetime, rules.Decision] = {}
    told: list[rules.Decision] = []
    for day, due, version, labels in sorted(windows, key=lambda each: each[0]) if in_order else windows:
        findings = window(day, version=version)
        others = [each for start, each in made.items() if start != findings.start]
        decision = decide(spec, rules.assess(findings, others), due=due, labels=labels)
        told.append(decision)
        if findings.start not in made or not made[findings.start].triggers:
            made[findings.start] = decision
    keep(spec, told)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "_PAGE", page)
        for due in (True, False):
            findings = window(last)
            bounded, whole = decisions.assess(spec, findings), by_all(spec, findings)
            assert decide(spec, bounded, due=due) == decide(spec, whole, due=due)
            assert bounded.late == whole.late


@pytest.mark.parametrize("due", [False, True], ids=["usual", "a retraining is due"])
def test_what_is_read_does_not_grow_with_what_was_decided(
    home: Settings, monkeypatch: pytest.MonkeyPatch, due: bool
) -> None:
    read: list[str] = []
    real = events.from_text
    monkeypatch.setattr(events, "from_text", lambda text: read.append(text) or real(text))
    counts = {}
    for days in (60, 400):
        spec = spec_of(f"after_{days}")
        keep(spec, [decide(spec, rules.assess(window(day), [])) for day in range(days)])
        other = events.Alerted(id=f"{days}", model=spec.model, as_of=FIRST, actor="a", reason="r", decision_id="d")
        ledger.append(*(other.model_copy(update={"id": f"{days}/{number}"}) for number in range(days)))
        read.clear()
        for day in range(days, days + 3):
            run = Run(spec, Interval.of_day((FIRST + day * DAY).date()))
            decision = decide(spec, decisions.assess(spec, window(day)), due=due)
            assert decisions.keep(run, decision) == decision
        assert decision.action == "none" and ("cooldown" in decision.reasons[-1]) is due, "the first was a retraining"
        again = decide(spec, decisions.assess(spec, window(20)), due=due)
        assert decisions.keep(run, again) == again, "an old window is decided again"
        counts[days] = len(read)
    assert counts[60] == counts[400] < 5 * (decisions._PAGE + 10)


MOVES = st.tuples(
    st.sampled_from(["promoted", "promoted", "rolled back", "retired", "deploying", "not deployed"]),
    st.integers(1, 5),  # a version
    st.one_of(st.none(), st.integers(0, 12)),  # what it knew about, in half days
)
WITH_REPLACED = st.tuples(MOVES, st.one_of(st.none(), st.integers(1, 5)))  # a version


def move(
    model: str, kind: str, version: int, as_of: datetime | None, number: int, replaced: int | None = None
) -> events.Event:
    reason = '"version":1} "replaced":1, "left":1, "decision_id":null'
    common = {"id": f"{model}/{number}", "model": model, "as_of": as_of, "actor": "a", "reason": reason}
    match kind:
        case "promoted":
            return events.Promoted(**common, version=version, replaced=replaced)
        case "rolled back":
            decision = "d" if version % 2 else None
            return events.RolledBack(**common, version=version, left=version + 1, decision_id=decision, until=as_of)
        case "retired":
            return events.Retired(**common, version=version)
        case "deploying":
            return events.Deploying(**common, version=version, purpose="promotion", replaces=1, run_id="r", key="k")
    return events.NotDeployed(**common, version=version, intent=f"{model}/{number - 1}")


@examples(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(MOVES, max_size=20),
    zone=st.sampled_from([UTC, timezone(timedelta(hours=-5))]),
    fraction=st.sampled_from([0, 1]),
)
def test_the_champion_is_the_one_that_all_moves_leave(
    home: Settings, moves: list[tuple[str, int, int | None]], zone: tzinfo, fraction: int
) -> None:
    """Whatever was promoted, rolled back or retired, in any order of what it knew about."""
    model = next(NAMES)
    moments = [FIRST + half * DAY / 2 + timedelta(microseconds=fraction) for half in range(14)]
    added = [
        move(model, kind, version, None if half is None else moments[half].astimezone(zone), number)
        for number, (kind, version, half) in enumerate(moves)
    ]
    ledger.append(*added)
    entries = ledger.entries(model)
    for moment in (*moments, FIRST + DAY):
        assert ledger.champion_as_of(model, moment) == story.champion_as_of(entries, moment)


def test_the_champion_is_found_among_many_versions_by_reading_a_few_entries(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = events.from_text
    monkeypatch.setattr(events, "from_text", lambda text: read.append(text) or real(text))
    kinds = ("retired", "deploying", "promoted")  # of each version, once the one before it was retired
    for versions in (60, 600):
        spec = spec_of(f"of_{versions}")
        lives = [(version - (kind == "retired"), kind) for version in range(1, versions + 1) for kind in kinds]
        ledger.append(
            *(move(spec.model, kind, of, FIRST + of * DAY, number) for number, (of, kind) in enumerate(lives))
        )
        keep(spec, [decide(spec, rules.assess(window(day), [])) for day in range(500)])
    with database.connect() as connection:
        connection.execute("analyze ledger")
    touched = {}
    for versions in (60, 600):
        read.clear()
        before = _touched()
        assert ledger.champion_as_of(f"of_{versions}", FIRST + 1000 * DAY) == versions
        touched[versions] = _touched() - before
        assert len(read) <= 3, "those of the one entry that says it"
    assert touched[60] == touched[600] < 10


def test_its_statements_find_their_rows_by_an_index(home: Settings) -> None:
    """In a ledger that is large enough for Postgres to choose one."""
    spec = spec_of("indexed")
    keep(spec, [decide(spec, rules.assess(window(day), [])) for day in range(1500)])
    with database.connect() as connection:
        connection.execute("analyze ledger")
    before = _touched()
    assert len(ledger.windows(spec.model, 50, before=FIRST + 1400 * DAY)) == 50
    assert _touched() - before < 250, "no scan of the whole table"


def _touched() -> int:
    """Rows of the ledger that Postgres has read so far."""
    with database.connect() as connection:
        connection.execute("select pg_stat_force_next_flush()")
    with database.connect() as connection:
        query = "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'ledger'"
        (rows,) = connection.execute(query).fetchall()
        return int(rows[0])


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The entries that are parsed."""
    read: list[str] = []
    real = events.from_text
    monkeypatch.setattr(events, "from_text", lambda text: read.append(text) or real(text))
    return read


@examples(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(WITH_REPLACED, max_size=25), page=st.integers(1, 6), asked=st.lists(st.integers(0, 13)))
def test_where_a_model_stands_is_what_all_moves_lead_to(
    home: Settings, moves: list[tuple[tuple[str, int, int | None], int | None]], page: int, asked: list[int]
) -> None:
    """And so is where it stood by what knew about less than some moment, who was the champion of each of some windows,
    and whom it replaced."""
    model = next(NAMES)
    moments = [FIRST + half * DAY / 2 for half in range(14)]
    ledger.append(
        *(
            move(model, kind, version, None if half is None else moments[half], number, replaced)
            for number, ((kind, version, half), replaced) in enumerate(moves)
        )
    )
    entries = ledger.entries(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "_FEW", page)
        assert ledger.standing(model) == story.standing(entry.event for entry in entries)
        ends = [moments[half] for half in asked]
        read = windows._moves(model, ends)
        for end in ends:
            known = story.known_before(entries, end)
            assert ledger.standing(model, end) == story.standing(entry.event for entry in known)
            assert story.champion_as_of(read, end) == story.champion_as_of(entries, end)
            assert story.champion_before(read, end) == story.champion_before(entries, end)


KINDS = ("deploying", "promoted")


def lives(model: str, versions: int) -> list[events.Event]:
    """Of each version that it is deployed, and takes over from the one before it; of each tenth that it is left for
    that one again."""
    made: list[events.Event] = []
    for version in range(1, versions + 1):
        for kind in KINDS if version % 10 else (*KINDS, "rolled back"):
            of = version - (kind == "rolled back")
            made.append(move(model, kind, of, FIRST + version * DAY, len(made), version - 1 or None))
    return made


def test_where_a_model_stands_is_found_among_many_versions_by_reading_a_few_entries(
    home: Settings, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_FEW", 5)  # a page: of each kind 60 versions have more
    for versions in (60, 600):
        spec = spec_of(f"standing_of_{versions}")
        ledger.append(*lives(spec.model, versions))
        keep(spec, [decide(spec, rules.assess(window(day), [])) for day in range(500)])
    with database.connect() as connection:
        connection.execute("analyze ledger")
    touched, count = {}, {}
    for versions in (60, 600):
        model, taken_out = f"standing_of_{versions}", versions // 10
        ends = [FIRST + (versions - number) * DAY for number in range(14)]
        asked = {
            "standing": lambda model=model: ledger.standing(model),
            "good": lambda model=model: decisions.good(Run(spec_of(model), Interval.of_day(FUTURE))),
            "moves": lambda model=model, ends=ends: windows._moves(model, ends),
        }
        for name, ask in asked.items():
            parsed.clear()
            before = _touched()
            found = ask()
            touched[name, versions] = _touched() - before - (0 if name == "moves" else 2 * taken_out)
            count[name, versions] = len(parsed)
            if name == "standing":
                assert (found.champion, len(found.rolled_back)) == (versions - 1, taken_out)
    for name in asked:
        # But for the numbers of what was rolled back from; an index's dead entries may cost a row more or less.
        assert abs(touched[name, 600] - touched[name, 60]) < 10 and touched[name, 600] < 200
        assert count[name, 60] == count[name, 600] < 50


def test_what_is_known_of_retrainings_is_found_among_many_versions_by_parsing_a_few_entries(
    home: Settings, parsed: list[str]
) -> None:
    found = {}
    for versions in (60, 600):
        model = f"known_of_{versions}"
        ledger.append(*lives(model, versions))
        of_decision = [
            each.model_copy(
                update={"id": f"{model}/d{number}", "decision_id": f'"{number}\\', "as_of": FIRST + number * DAY}
            )
            for number, each in enumerate(lives(model, versions))
            if isinstance(each, events.Promoted)
        ]
        ledger.append(*of_decision)
        parsed.clear()
        newest = max(each.as_of for each in lives(model, versions) if isinstance(each, events.Promoted))
        assert ledger.by_hand(model, FIRST + 1000 * DAY) == newest
        assert ledger.by_hand(model, FIRST + 30 * DAY + DAY / 2) == FIRST + 30 * DAY
        assert ledger.by_hand(model, FIRST) is None
        asked = [each.decision_id for each in of_decision[:2]]
        assert [entry.event for entry in ledger.outcomes(model, [*asked, "none", "null"])] == of_decision[:2]
        found[versions] = len(parsed)
    assert found[60] == found[600] == 2
