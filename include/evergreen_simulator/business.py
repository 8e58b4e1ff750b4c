"""The business itself: who is a customer on a day, and in which state.

Customers sign up every day and stay until the first day on which their cancellation draw fires, at most `LONGEST_LIFE`
days. So the customers of a day are found by walking forward from that many days earlier with nobody there: any day can
be had alone, and is the same whichever day is asked first. In the steady state arrivals balance cancellations at about
`size`.

Three hidden states drive what can be seen: engagement (sessions, their length), frustration (tickets) and money trouble
(failed payments). Each is a slow autoregressive process, so that the last weeks tell something about the next days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from evergreen_simulator.draws import Floats, Stream, bell, bits, grown, part, uniform

Integers = npt.NDArray[np.int64]

LONGEST_LIFE = 140  # days; who is still there leaves then: the subscription's term is over
ARRIVALS = 0.0285  # sign-ups a day for each customer of the steady state
_SLOTS = 1 << 20  # numbers reserved for the sign-ups of one day


@dataclass(frozen=True)
class Reasons:
    """How much each thing adds to the logarithm of a customer's odds to cancel on a day."""

    base: float = -5.0
    engagement: float = -4.2
    frustration: float = 0.8
    money_trouble: float = 0.5
    plan: float = 0.3  # each step up the price list

    def towards(self, other: Reasons, share: float) -> Reasons:
        """These reasons, moved that share of the way to others."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Reasons(*(mine + share * (theirs - mine) for mine, theirs in pairs))


@dataclass(frozen=True)
class Conditions:
    """What the world is like on one day; scenarios change it."""

    reasons: Reasons = Reasons()
    price: float = 1.0  # factor on the price list
    sessions: float = 1.0  # factor on how often customers come
    minutes: float = 1.0  # factor on how long a session lasts
    mobile: float = 0.0  # added to the probability that a session is on a phone


@dataclass(frozen=True)
class Customers:
    """Everyone who was a customer at some moment of one day; all arrays have one element a customer."""

    day: date
    conditions: Conditions
    number: Integers  # sign-up day's ordinal and a running number, in one: unique for ever
    plan: Integers  # 0 to 2, up the price list; for life
    engagement: Floats
    frustration: Floats
    money_trouble: Floats
    cancels: npt.NDArray[np.bool_]  # on this very day

    @property
    def signed_up(self) -> Integers:
        """Ordinal of the day of sign-up."""
        return self.number // _SLOTS

    def take(self, chosen: npt.NDArray[np.bool_] | Integers) -> Customers:
        """Some of them, or some of them several times."""
        arrays = {name: getattr(self, name)[chosen] for name in _ARRAYS}
        return Customers(self.day, self.conditions, **arrays)

    def names(self) -> list[str]:
        """As every table names them: c-<sign-up day>-<number>."""
        days = {ordinal: date.fromordinal(ordinal).strftime("%y%m%d") for ordinal in set(self.signed_up.tolist())}
        pairs = zip(self.signed_up.tolist(), (self.number % _SLOTS).tolist(), strict=True)
        return [f"c-{days[ordinal]}-{n:03d}" for ordinal, n in pairs]


_ARRAYS = ("number", "plan", "engagement", "frustration", "money_trouble", "cancels")


def as_usual(day: date) -> Conditions:
    """The world without any scenario."""
    return Conditions()


@dataclass(frozen=True)
class Business:
    """One business: a pure function of its seed, its size and the conditions of each day."""

    seed: int
    size: int = 1000  # active customers in the steady state, about
    conditions: Callable[[date], Conditions] = as_usual

    def days(self, first: date, last: date) -> Iterator[Customers]:
        """The customers of each day from `first` to `last`, both included."""
        present = self._nobody(first)
        for ordinal in range(first.toordinal() - LONGEST_LIFE, last.toordinal() + 1):
            present = self._next_day(present, ordinal)
            if ordinal >= first.toordinal():
                yield present

    def day(self, day: date) -> Customers:
        """The customers of one day."""
        return next(self.days(day, day))

    def region(self, customers: Customers) -> Integers:
        """Index of each customer's region, for life."""
        share = part(bits(self.seed, Stream.TRAIT, customers.number), 1)
        return np.searchsorted([0.4, 0.7, 0.9], share, side="right").astype(np.int64)

    def _nobody(self, day: date) -> Customers:
        numbers, states = np.zeros(0, np.int64), np.zeros(0)
        return Customers(day, Conditions(), numbers, numbers, states, states, states, numbers.astype(bool))

    def _next_day(self, before: Customers, ordinal: int) -> Customers:
        day, seed = date.fromordinal(ordinal), self.seed
        conditions = self.conditions(day)
        stayed = before.take(~before.cancels)

        # a fixed number of doors, each used or not, so that the number of sign-ups varies from day to day
        doors = np.arange(max(2, round(self.size * ARRIVALS / 0.8)))
        new = ordinal * _SLOTS + doors[uniform(seed, Stream.ARRIVAL, ordinal, doors) < 0.8]
        share = part(bits(seed, Stream.TRAIT, new), 0)  # half basic, a third plus, the others premium
        plan = np.concatenate([stayed.plan, (share >= 0.5).astype(np.int64) + (share >= 0.83)])
        first = bell(bits(seed, Stream.STATE, new, np.arange(-3, 0)[:, None]))

        noise = bits(seed, Stream.STATE, stayed.number, ordinal - stayed.signed_up)
        number = np.concatenate([stayed.number, new])
        engagement = np.concatenate([_slow(stayed.engagement, part(noise, 0)), first[0]])
        frustration = np.concatenate([_slow(stayed.frustration, part(noise, 1)), first[1]])
        money_trouble = np.concatenate([_slow(stayed.money_trouble, part(noise, 2)), first[2]])
        present = Customers(
            day, conditions, number, plan, engagement, frustration, money_trouble, np.zeros(len(number), bool)
        )

        why = conditions.reasons
        odds = grown(
            why.base
            + why.engagement * engagement
            + why.frustration * frustration
            + why.money_trouble * money_trouble
            + why.plan * plan
        )
        age = ordinal - present.signed_up
        fires = uniform(seed, Stream.CANCEL, number, age) * (1.0 + odds) < odds
        present.cancels[:] = (fires & (age > 0)) | (age >= LONGEST_LIFE)
        return present


_MEMORY = 0.95  # of a hidden state, a day: what happened a fortnight ago still counts for half
_FRESH = (12.0 * (1.0 - _MEMORY**2)) ** 0.5  # keeps the deviation at 1 (a uniform number's is 1/√12)


def _slow(state: Floats, noise: Floats) -> Floats:
    after: Floats = _MEMORY * state + _FRESH * (noise - 0.5)
    return after
