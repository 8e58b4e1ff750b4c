"""Guards: what is broken is withdrawn at once, and what fails alike on both sides is not."""

from __future__ import annotations

import pytest

from evergreen.rollout.guarding import Seen, withdraws

QUICK = [0.01] * 50


@pytest.mark.parametrize(
    ("champion", "version", "withdrawn"),
    [
        (Seen(), Seen(4, 4, []), None),  # too few to say
        (Seen(), Seen(5, 5, []), "failed in 5 of 5"),
        (Seen(100, 0, QUICK), Seen(100, 5, QUICK), "failed in 5 of 100"),
        (Seen(100, 0, QUICK), Seen(101, 5, QUICK), None),  # below 5 %
        (Seen(100, 10, QUICK), Seen(100, 30, QUICK), None),  # the requests are to blame
        (Seen(100, 10, QUICK), Seen(100, 31, QUICK), "failed in 31 of 100 requests, the champion in 10 of 100"),
        (Seen(50, 0, QUICK), Seen(20, 0, [0.07] * 20), "70 ms and more, the champion's 10 ms"),
        (Seen(50, 0, QUICK), Seen(19, 0, [9.0] * 19), None),
        (Seen(50, 0, QUICK), Seen(50, 0, [0.055] * 50), None),  # many times as long, and little
        (Seen(50, 0, [0.2] * 50), Seen(50, 0, [0.9] * 50), None),  # long, and not so many times
        (Seen(50, 0, QUICK), Seen(50, 0, [0.01] * 45 + [3.0] * 5), None),  # a tenth is not more than a tenth
        (Seen(50, 0, QUICK), Seen(50, 0, [0.01] * 43 + [3.0] * 7), "10% of its answers took"),
    ],
)
def test_what_withdraws_a_version(champion: Seen, version: Seen, withdrawn: str | None) -> None:
    said = withdraws(champion, version)
    assert said is None if withdrawn is None else said is not None and withdrawn in said
