"""The ledger: every event of every model's life, only ever added to, each entry holding the one before it by its hash.

One chain for all models: what is missing between two entries is missing for everybody. Adding takes a lock for the
length of a short transaction, so that there is one order and no fork; a killed process leaves its events whole or not
at all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby

from psycopg import Connection
from pydantic import TypeAdapter, ValidationError

from evergreen import database
from evergreen.errors import LedgerUnreadable
from evergreen.history import chain, events, story
from evergreen.history.chain import Link, Witness
from evergreen.history.events import Alerted, Erased, Event, Promoted, RolledBack
from evergreen.history.story import Entry, Standing

log = logging.getLogger(__name__)

# Of a decision, the start of its window. It is in UTC, so its text sorts as it does. Not by Postgres' JSON functions,
# which refuse a text that holds the character 0.
_START = """substring(body from '"start":"([0-9]{4}-[^"]*)"')"""

TABLE = database.Table(
    "ledger",
    Link,
    key=("number",),
    indexes={
        "ledger_of_a_kind": ("event", "model", "number"),
        "ledger_of_a_model": ("model", "number"),
        "ledger_of_a_window": ("event", "model", f"({_START})"),
    },
    unique=("id", "previous"),  # the chain has no fork, whatever a writer does
)

# What a move's run or version knew about. A moment within a second has a longer text, which sorts otherwise.
_AS_OF = """(substring(body from '"as_of":"([^"]*)"'))::timestamptz"""

_TRAINED = """(substring(body from '"trained":"([^"]*)"'))::timestamptz"""

_VERSION, _LEFT = (f"""substring(body from '"{name}":([0-9]+)[,}}]')""" for name in ("version", "left"))

_MOMENT = TypeAdapter(datetime)
_KEY = "evergreen ledger"  # of the lock that whoever adds has
CHANNEL = "evergreen_ledger"  # on which Postgres tells whoever listens that entries were added
_DECIDED = "where event = 'decided' and model = %s"
_FEW = 20  # entries that are read at a time from the end back
_END = 2**62  # a number that no entry reaches


def append(*added: Event) -> None:
    """Add events, in this order and together; one whose id is there already is left out.

    Raises:
        ServiceUnavailable: the database does not answer; none of them is there then.
    """
    with database.connect() as connection:
        database.alone(connection, _KEY)
        _add(connection, added)


def extend(model: str, decide: Callable[[Sequence[Entry]], Iterable[Event]], *kinds: str) -> None:
    """Add what `decide` makes of the model's entries of these kinds, or of all; nobody adds another one meanwhile."""
    with database.connect() as connection:
        database.alone(connection, _KEY)
        _add(connection, tuple(decide(_entries(connection, model, kinds))))


def extend_window(model: str, start: datetime, decide: Callable[[Sequence[Entry]], Iterable[Event]]) -> None:
    """The same of the decisions about the window that starts then."""
    with database.connect() as connection:
        database.alone(connection, _KEY)
        links = TABLE.select(connection, f"{_DECIDED} and {_START} = %s order by number", [model, _text(start)])
        _add(connection, tuple(decide([_entry(link) for link in links])))


def entries(model: str, *kinds: str) -> list[Entry]:
    """The model's entries, the oldest first; of these kinds, or of all.

    Raises:
        LedgerUnreadable: one of them is no event that this release knows.
    """
    with database.connect() as connection:
        return _entries(connection, model, kinds)


def windows(model: str, most: int, before: datetime | None = None) -> list[Entry]:
    """The decisions about the model's newest windows, the oldest decision first.

    Args:
        most: of so many windows.
        before: only of windows that start before then.
    """
    which = _DECIDED if before is None else f"{_DECIDED} and {_START} < %s"
    given = [model] if before is None else [model, _text(before)]
    newest = f"select distinct {_START} as start from ledger {which} order by 1 desc limit %s"
    # A range, and no list of starts, nor any other order than the index's: so that Postgres reads no more of it.
    rest = f"{which} and {_START} >= (select min(start) from ({newest}) as newest)"
    with database.connect() as connection:
        links = TABLE.select(connection, rest, [*given, *given, most])
    return [_entry(link) for link in sorted(links, key=lambda link: link.number)]


def told(model: str, until: datetime) -> Alerted | None:
    """The newest telling about a window that starts then or earlier; None: there was none. No other one is read."""
    # By ranges, as for the champion: so that Postgres goes through the index from its end.
    newest = (
        f"where (event, model, {_START}) > (%s, %s, %s) and (event, model, {_START}) <= (%s, %s, %s)"
        f" order by event desc, model desc, {_START} desc, number desc limit 1"
    )
    given = ["alerted", model, "", "alerted", model, _text(until)]
    with database.connect() as connection:
        links = TABLE.select(connection, newest, given)
    found = [_entry(link).event for link in links]
    return next((event for event in found if isinstance(event, Alerted)), None)


def incidents(model: str) -> set[datetime]:
    """The starts of the model's windows whose data was wrong, by the last decision about each; none of them is parsed,
    so that it hardly matters how many there are."""
    last = (
        f"select distinct on ({_START}) {_START} as start, body from ledger {_DECIDED} order by {_START}, number desc"
    )
    query = f"""select start from ({last}) as last where strpos(body, '"incident":true') > 0"""
    with database.connect() as connection:
        return {datetime.fromisoformat(start) for (start,) in connection.execute(query.encode(), [model]).fetchall()}


def triggered(model: str, before: datetime, most: int) -> list[Entry]:
    """The model's newest decisions that started a training, about windows before a moment; the newest first."""
    which = f"""{_DECIDED} and {_START} < %s and strpos(body, '"triggers":true') > 0 order by {_START} desc limit %s"""
    with database.connect() as connection:
        links = TABLE.select(connection, which, [model, _text(before), most])
    return [_entry(link) for link in links]


def has_taken_over_decisions(model: str) -> bool:
    """Whether one of the model's decisions was taken over from where a release before kept it."""
    with database.connect() as connection:
        query = f"""select from ledger {_DECIDED} and strpos(body, '"taken_over":true') > 0 limit 1"""
        return connection.execute(query.encode(), [model]).fetchone() is not None


def models() -> list[str]:
    """Every model of which the ledger says anything."""
    with database.connect() as connection:
        return [model for (model,) in connection.execute("select distinct model from ledger order by model").fetchall()]


def erased(model: str) -> list[Erased]:
    """The erasures that concern a model, the oldest first."""
    events_of = (entry.event for entry in entries(model, "erased"))
    return [event for event in events_of if isinstance(event, Erased)]


def saying(word: str) -> list[Entry]:
    """The entries of all models whose text may have a word, the oldest first."""
    with database.connect() as connection:
        links = TABLE.select(connection, "where strpos(body, %s) > 0 order by number", [json.dumps(word)[1:-1]])
    return [_entry(link) for link in links]


def erasures(models: Sequence[str], since: datetime) -> list[str]:
    """The ids of the erasures that concern some models and were recorded after a moment, the oldest first."""
    found = [entry for model in models for entry in entries(model, "erased") if entry.at > since]
    found.sort(key=lambda entry: entry.number)
    return list(dict.fromkeys(entry.event.erasure for entry in found if isinstance(entry.event, Erased)))


def standing(model: str, known_before: datetime | None = None) -> Standing:
    """The model's champion, last known good version, and what was left halfway: the same as `story.standing` of all
    moves. Those before the newest promotion that says what it replaced are not read; of the versions that were rolled
    back from or retired the numbers alone.

    Args:
        known_before: only of the moves whose runs and versions knew about less than then.
    """
    moves: list[Entry] = []
    for page in back(model, *story.MOVES, known_before=known_before):
        moves[:0] = page
        if any(story.says_all(entry.event) for entry in page):
            break
    rolled_back, retired, fallen_back, withdrawn, rejected = _numbers(model, known_before)
    now = story.standing(entry.event for entry in moves)
    return replace(
        now, rolled_back=rolled_back | withdrawn, rejected=rejected, retired=retired, fallen_back=fallen_back
    )


def _numbers(model: str, known_before: datetime | None) -> Iterator[frozenset[int]]:
    """The versions that were rolled back from, those that were retired, those that the monitor fell back to; and of
    rollouts those that were rolled back, and rejected."""
    known, moment = _known(known_before)
    fallen_back = f"""case when strpos(body, '"decision_id":"') > 0 then {_VERSION} end"""
    withdrawn, rejected = (
        f"""case when strpos(body, '"outcome":"{outcome}"') > 0 then {_VERSION} end"""
        for outcome in ("rolled back", "rejected")
    )
    with database.connect() as connection:
        for number, kind in (
            (_LEFT, "rolled back"),
            (_VERSION, "retired"),
            (fallen_back, "rolled back"),
            (withdrawn, "rollout ended"),
            (rejected, "rollout ended"),
        ):
            query = f"select {number} from ledger where event = %s and model = %s{known}"
            numbers = connection.execute(query.encode(), [kind, model, *moment]).fetchall()
            yield frozenset(int(number) for (number,) in numbers if number is not None)


def back(model: str, *kinds: str, known_before: datetime | None = None) -> Iterator[list[Entry]]:
    """The model's entries of some kinds from the newest back, in pages that begin with their oldest. A page is read
    when it is asked for.

    Args:
        known_before: only those whose runs and versions knew about less than then.
    """
    known, moment = _known(known_before)
    # By ranges, and of each kind alone: see `champion_as_of`.
    newest = " union all ".join(
        f"(select {TABLE.names} from ledger where (event, model, number) > (%s, %s, 0)"
        f" and (event, model, number) < (%s, %s, %s){known} order by event desc, model desc, number desc limit %s)"
        for _ in kinds
    )
    before = _END
    while True:
        given = [each for kind in kinds for each in (kind, model, kind, model, before, *moment, _FEW)]
        with database.connect() as connection:
            rows = connection.execute(f"{newest} order by number desc limit %s".encode(), [*given, _FEW]).fetchall()
        page = [_entry(TABLE.of(row)) for row in reversed(rows)]
        if page:
            yield page
        if len(page) < _FEW:
            return
        before = page[0].number


def _known(before: datetime | None) -> tuple[str, list[datetime]]:
    """The condition that an entry knew about less than a moment, and what it is given."""
    return ("", []) if before is None else (f" and {_AS_OF} < %s", [before])


def by_hand(model: str, until: datetime) -> datetime | None:
    """The newest moment as of which a training was promoted that no decision asked for, of those until a moment. By a
    rollout it is promoted later than it was trained."""
    query = (
        f"select max(coalesce({_TRAINED}, {_AS_OF})) from ledger where event = 'promoted' and model = %s"
        f""" and {_AS_OF} <= %s and strpos(body, '"decision_id":null') > 0"""
    )
    with database.connect() as connection:
        ((newest,),) = connection.execute(query.encode(), [model, until]).fetchall()
    return None if newest is None else newest.astimezone(UTC)


def outcomes(model: str, decisions: Collection[str]) -> list[Entry]:
    """What came of the trainings that some decisions asked for, the oldest first: promotions, nothing better, ends of
    rollouts. No other one is parsed."""
    which = (
        "where event = any(%s) and model = %s"
        """ and substring(body from '"decision_id":"((?:[^"\\\\]|\\\\.)*)"') = any(%s) order by number"""
    )
    names = [json.dumps(each)[1:-1] for each in decisions]  # as they stand in the text of an event
    with database.connect() as connection:
        links = TABLE.select(connection, which, [["promoted", "not better", "rollout ended"], model, names])
    return [_entry(link) for link in links]


def champion_as_of(model: str, moment: datetime) -> int | None:
    """The same as `story.champion_as_of` of all moves: only the newest promotion or rollback is read that knew about
    less than `moment`, and whether its version was retired after it."""
    # By ranges, which only the index of a kind has in their order: with equations
    # Postgres may walk the whole ledger from its end, in the hope of a match.
    newest = (
        f"where (event, model, number) > (%s, %s, %s) and (event, model) <= (%s, %s) and {_AS_OF} < %s and body ~ %s"
        " order by event desc, model desc, number desc limit 1"
    )
    with database.connect() as connection:

        def last(kind: str, after: int = 0, like: str = "") -> list[Entry]:
            links = TABLE.select(connection, newest, [kind, model, after, kind, model, moment, like])
            return [_entry(link) for link in links]

        moves = sorted((move for kind in story.CROWNING for move in last(kind)), key=lambda move: move.number)[-1:]
        for move in moves[:]:
            assert isinstance(move.event, Promoted | RolledBack)
            moves += last("retired", move.number, f'"version":{move.event.version}[,}}]')
    return story.champion_as_of(moves, moment)


def moved(after: int) -> tuple[int, list[str]]:
    """The number of the newest entry, and the models that a move was recorded of after an entry."""
    with database.connect() as connection:
        last = connection.execute("select number from ledger order by number desc limit 1").fetchone()
        number = last[0] if last else 0
        if number == after:
            return number, []
        query = "select distinct model from ledger where number > %s and number <= %s and event = any(%s)"
        moved = connection.execute(query, [after, number, list(story.MOVES)]).fetchall()
    return number, [model for (model,) in moved]


def standings() -> dict[str, Standing]:
    """Those of every model that has any."""
    with database.connect() as connection:
        links = TABLE.select(connection, "where event = any(%s) order by model, number", [list(story.MOVES)])
    return {
        model: story.standing(_entry(link).event for link in own)
        for model, own in groupby(links, key=lambda link: link.model)
    }


def _add(connection: Connection, added: Sequence[Event]) -> None:
    """Add events; nobody else adds any before the transaction ends."""
    ids = [event.id for event in added]
    known = {id for (id,) in connection.execute("select id from ledger where id = any(%s)", [ids]).fetchall()}
    last = connection.execute("select number, hash from ledger order by number desc limit 1").fetchone()
    number, previous = last or (0, chain.BEGINNING)
    now: datetime = connection.execute("select clock_timestamp()").fetchall()[0][0]
    links: list[Link] = []
    for event in added:
        if event.id in known:
            continue
        known.add(event.id)
        number, body = number + 1, events.to_text(event)
        hashed = chain.digest(number, event.id, now, event.model, event.event, body, previous)
        links.append(Link(number, event.id, now, event.model, event.event, body, previous, hashed))
        previous = hashed
    # Not `Table.insert`, which does nothing where a number is taken: two entries
    # of one number are a defect, and an error.
    connection.execute(TABLE.inserting, TABLE.arrays(links))
    if links:
        connection.execute("select pg_notify(%s, '')", [CHANNEL])  # when this is committed
    for link in links:
        # A task's log is a witness that whoever changes the database does not have.
        log.info("Ledger entry %s: %s of %s", Witness(link.number, link.hash), link.event, link.model)


def _entries(connection: Connection, model: str, kinds: Sequence[str]) -> list[Entry]:
    of_kinds = "and event = any(%s) " if kinds else ""
    links = TABLE.select(
        connection, f"where model = %s {of_kinds}order by number", [model, *([list(kinds)] if kinds else [])]
    )
    return [_entry(link) for link in links]


def _text(moment: datetime) -> str:
    """A moment as it stands in the text of an event."""
    text: str = _MOMENT.dump_python(moment.astimezone(UTC), mode="json")
    return text


def _entry(link: Link) -> Entry:
    try:
        return Entry(link.number, link.at, events.from_text(link.body))
    except ValidationError as error:
        raise LedgerUnreadable(
            f"reading entry {link.number} of the ledger, of {link.model}",
            found=f"{link.event}: {reason(error)}",
            expected="an event of a kind that this release knows",
            next_step="`evergreen audit verify` says whether it was changed; else run the release that wrote it",
        ) from error


def reason(error: ValidationError) -> str:
    """What is wrong with the text of an event, in a line."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()
