"""Random draws as a pure function of what they are for: `(seed, stream, customer, day, …)`.

A counter-based generator (the splitmix64 finalizer, chained over the counters) instead of a stateful one, so that any
value can be drawn alone and in any order. Everything built on it uses only arithmetic that IEEE 754 rounds exactly (no
`exp`, no `log`, whose last bit depends on the processor), so the bytes are the same on every machine.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Counter = int | npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class Stream(IntEnum):
    """What a draw is for; two streams are independent of each other. Numbers are part of the data: never reuse one."""

    ARRIVAL = 1
    TRAIT = 2
    STATE = 3
    CANCEL = 4
    SESSION = 5
    SESSION_DETAIL = 6
    PAYMENT = 7
    TICKET = 8
    DELIVERY = 9
    DAMAGE = 10
    CATEGORY = 11
    EMAIL = 12


def bits(seed: int, stream: Stream, *counters: Counter) -> Bits:
    """64 random bits for each element of the counters, which broadcast against each other."""
    state = _start(seed, int(stream))
    for counter in counters:
        state = _mixed(state ^ np.atleast_1d(np.asarray(counter, dtype=np.int64)).view(np.uint64))
    return state


@cache
def _start(seed: int, stream: int) -> Bits:
    state = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    return _mixed(state + np.uint64(stream))


def _mixed(value: Bits) -> Bits:
    """The splitmix64 finalizer: a bijection that spreads each bit over all; its result is a new array."""
    value = value + _GOLDEN
    value ^= value >> np.uint64(30)
    value *= _MIX_1
    value ^= value >> np.uint64(27)
    value *= _MIX_2
    value ^= value >> np.uint64(31)
    return value


def uniform(seed: int, stream: Stream, *counters: Counter) -> Floats:
    """In [0, 1)."""
    return (bits(seed, stream, *counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def part(random: Bits, number: int) -> Floats:
    """One of four independent numbers in [0, 1), of 16 bits each, that the same 64 bits hold."""
    return ((random >> np.uint64(16 * number)) & np.uint64(0xFFFF)).astype(np.float64) * 2.0**-16


def bell(random: Bits) -> Floats:
    """Nearly standard normal (mean 0, deviation 1, within ±3.5): the sum of the four parts."""
    total = part(random, 0) + part(random, 1) + part(random, 2) + part(random, 3)
    centred: Floats = (total - (2.0 - 2.0**-15)) * 3.0**0.5
    return centred


def grown(exponent: Floats) -> Floats:
    """Grows like `exp` around 0 (within 3 % up to ±1), by multiplication alone; rises everywhere, flatter far out."""
    value = np.maximum(0.0, 1.0 + exponent / 16.0)
    for _ in range(4):
        value = value * value
    return value
