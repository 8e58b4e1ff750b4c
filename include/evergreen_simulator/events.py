"""What customers leave behind on a day: the business's tables, as they really happened.

Every table has its declared columns (`COLUMNS`) and two that are not delivered: `who`, the customer's number, and
`draw`, 64 random bits of the row, which decide what happens to it on its way to the landing zone.

An event's chance comes from fixed slots in the day, each used or not, so that an event is the same whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen_simulator.business import Business, Customers, Integers
from evergreen_simulator.draws import Floats, Stream, bell, bits, grown, part, uniform

PLANS = np.array(["basic", "plus", "premium"])
PRICES = np.array([12.0, 24.0, 40.0])  # a month; a quarter of it is billed every week
REGIONS = np.array(["north", "south", "east", "west"])
DAY = 86_400  # seconds
_SESSION_SLOTS = 12
_WEEKEND = 0.8  # factor on sessions


def customers(business: Business, present: Customers) -> pd.DataFrame:
    """The snapshot of who is active at the end of the day."""
    active = present.take(~present.cancels)
    return _table(
        business,
        active,
        50,
        "snapshot_at",
        np.full(len(active.number), DAY - 1),
        {
            "plan": PLANS[active.plan],
            "region": REGIONS[business.region(active)],
            "monthly_price": _cents(PRICES[active.plan] * present.conditions.price),
            "signed_up_at": _text(_moment_of_signup(business, active)),
        },
    )


def usage(business: Business, present: Customers) -> pd.DataFrame:
    """One row a session."""
    rate = 1.8 * grown(0.9 * present.engagement) * present.conditions.sessions
    rate = rate * (_WEEKEND if present.day.weekday() >= 5 else 1.0)
    slots = np.arange(_SESSION_SLOTS)
    ordinal = present.day.toordinal()
    used = (
        uniform(business.seed, Stream.SESSION, present.number[:, None], ordinal, slots) < rate[:, None] / _SESSION_SLOTS
    )
    row, slot = np.nonzero(used)
    who = present.take(row)
    detail = bits(business.seed, Stream.SESSION_DETAIL, who.number, ordinal, slot)
    second = ((slot + part(detail, 0)) * (DAY / _SESSION_SLOTS)).astype(np.int64)
    taste = part(bits(business.seed, Stream.TRAIT, who.number), 2)  # some are phone people
    mobile = part(detail, 1) < 0.15 + 0.5 * taste + present.conditions.mobile
    length = 14.0 * grown(0.45 * who.engagement + 0.4 * bell(_again(detail))) * present.conditions.minutes
    table = _table(
        business,
        who,
        slot,
        "started_at",
        second,
        {
            "minutes": np.round(length, 1),
            "device": np.where(mobile, "mobile", np.where(part(detail, 2) < 0.8, "desktop", "tablet")),
        },
        "session_id",
    )
    return table[_while_customer(business, who, second)]


def payments(business: Business, present: Customers) -> pd.DataFrame:
    """Every seventh day of a subscription, a quarter of the month's price; with a
    second attempt when the first fails."""
    age = present.day.toordinal() - present.signed_up
    due = present.take((age > 0) & (age % 7 == 0))
    draw = bits(business.seed, Stream.PAYMENT, due.number, present.day.toordinal())
    fails = 0.10 * grown(0.9 * due.money_trouble)
    attempts = []
    for attempt, needed in ((0, np.ones(len(due.number), bool)), (1, part(draw, 0) < fails)):
        who, again = due.take(needed), draw[needed]
        second = ((6 + 6 * attempt + 6 * part(again, 2)) * 3600).astype(np.int64)
        failed = part(again, attempt) < fails[needed]
        table = _table(
            business,
            who,
            20 + attempt,
            "paid_at",
            second,
            {
                "amount": _cents(PRICES[who.plan] * present.conditions.price / 4),
                "status": np.where(failed, "failed", "paid"),
            },
            "payment_id",
        )
        attempts.append(table[_while_customer(business, who, second)])
    return pd.concat(attempts, ignore_index=True)


def tickets(business: Business, present: Customers) -> pd.DataFrame:
    """Calls for help, at most one a customer and day; frustrated customers call more often and more urgently."""
    ordinal = present.day.toordinal()
    rate = 0.05 * grown(1.1 * present.frustration)
    who = present.take(uniform(business.seed, Stream.TICKET, present.number, ordinal) < rate)
    draw = bits(business.seed, Stream.TICKET, who.number, ordinal, 1)
    second = (part(draw, 0) * DAY).astype(np.int64)
    urgent = part(draw, 1) < 0.25 * grown(0.6 * who.frustration)
    table = _table(
        business,
        who,
        30,
        "opened_at",
        second,
        {
            "topic": np.array(["question", "defect", "billing"])[np.minimum(2, (part(draw, 2) * 3).astype(np.int64))],
            "priority": np.where(urgent, "high", "normal"),
        },
        "ticket_id",
    )
    return table[_while_customer(business, who, second)]


def cancellations(business: Business, present: Customers) -> pd.DataFrame:
    """Who left on this day."""
    gone = present.take(present.cancels)
    return _table(business, gone, 40, "cancelled_at", _second_of_cancellation(business, gone), {})


TABLES: dict[str, Callable[[Business, Customers], pd.DataFrame]] = {
    "customers": customers,
    "usage": usage,
    "payments": payments,
    "tickets": tickets,
    "cancellations": cancellations,
}
"""Every source of the business, by the name under which its batches arrive."""


COLUMNS: dict[str, tuple[str, ...]] = {
    "customers": ("customer_id", "snapshot_at", "plan", "region", "monthly_price", "signed_up_at"),
    "usage": ("session_id", "customer_id", "started_at", "minutes", "device"),
    "payments": ("payment_id", "customer_id", "paid_at", "amount", "status"),
    "tickets": ("ticket_id", "customer_id", "opened_at", "topic", "priority"),
    "cancellations": ("customer_id", "cancelled_at"),
}
"""The columns of every source, in the order in which a batch has them."""


def _table(
    business: Business,
    who: Customers,
    slot: Integers | int,
    event_time: str,
    second: Integers,
    columns: dict[str, object],
    identifier: str | None = None,
) -> pd.DataFrame:
    """One row for each of `who`, who may be there several times; `slot` tells a customer's rows of the day apart.

    `identifier` names the column that numbers the rows themselves: <its first letter>-<day>-<customer>-<slot>.
    """
    names = who.names()
    shared = {
        "customer_id": names,
        event_time: _text(_start(who.day) + second),
        "who": who.number,
        "draw": bits(business.seed, Stream.DELIVERY, who.number, who.day.toordinal(), slot),
    }
    if identifier:
        prefix = f"{identifier[0]}-{who.day:%y%m%d}"
        slots = np.broadcast_to(slot, len(names)).tolist()
        shared[identifier] = [f"{prefix}-{name[2:]}-{n}" for name, n in zip(names, slots, strict=True)]
    return pd.DataFrame(columns | shared)


def _while_customer(business: Business, who: Customers, second: Integers) -> npt.NDArray[np.bool_]:
    """Which events lie after the sign-up and before the cancellation of the day."""
    moment = _start(who.day) + second
    ends = np.where(who.cancels, _second_of_cancellation(business, who), DAY)
    kept: npt.NDArray[np.bool_] = (moment >= _moment_of_signup(business, who)) & (second < ends)
    return kept


def _moment_of_signup(business: Business, who: Customers) -> Integers:
    """Seconds since 1970."""
    of_day = uniform(business.seed, Stream.ARRIVAL, who.number) * DAY
    epoch = date(1970, 1, 1).toordinal()
    moment: Integers = (who.signed_up - epoch) * DAY + of_day.astype(np.int64)
    return moment


def _second_of_cancellation(business: Business, who: Customers) -> Integers:
    return (uniform(business.seed, Stream.CANCEL, who.number) * DAY).astype(np.int64)


def _start(day: date) -> int:
    """Seconds since 1970."""
    return (day - date(1970, 1, 1)).days * DAY


def _again(random: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Fresh bits for a second use of the same draw."""
    return bits(0, Stream.SESSION_DETAIL, random.view(np.int64))


def _cents(amount: Floats) -> Floats:
    return np.round(amount, 2)


def _text(seconds: Integers) -> npt.NDArray[np.str_]:
    """ISO 8601 in UTC, to the second."""
    text: npt.NDArray[np.str_] = np.datetime_as_string(seconds.astype("datetime64[s]"), unit="s", timezone="UTC")
    return text
