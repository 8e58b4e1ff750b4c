"""Steps by other threads: one at a time for each model, the newest for all that wait, and none is lost."""

from __future__ import annotations

import threading
import time

from evergreen.serve.steps import Steps


def until_idle(steps: Steps) -> None:
    deadline = time.monotonic() + 10
    while steps.busy:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_model_s_steps_are_taken_one_at_a_time_and_the_newest_stands_for_all_that_wait() -> None:
    steps, gate, taken = Steps("test", threads=2), threading.Event(), list[int]()
    steps.take("a", gate.wait)
    for number in range(5):
        steps.take("a", lambda number=number: taken.append(number))
    steps.take("b", lambda: taken.append(-1))
    deadline = time.monotonic() + 10
    while not taken:
        assert time.monotonic() < deadline, "another model's step waits for nobody"
        time.sleep(0.005)
    assert taken == [-1] and steps.busy
    gate.set()
    until_idle(steps)
    assert taken == [-1, 4]


def test_a_step_that_fails_holds_nothing_up() -> None:
    steps, taken = Steps("test", threads=1), list[str]()

    def fail() -> None:
        raise ValueError

    steps.take("a", fail)
    until_idle(steps)
    steps.take("a", lambda: taken.append("a"))
    until_idle(steps)
    assert taken == ["a"]
