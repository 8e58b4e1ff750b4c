"""`<model>__rollout`: an Airflow DAG for every valid model spec, which moves the version beside the champion.

It looks every quarter of an hour at models whose `rollout.strategy` has steps, and ends at its first task while no
rollout is open. `collect` takes down what both versions answered since it was opened. `compare` judges errors, slow
answers, where answers lie, and outcomes that have matured, by tests that may be looked at all the time. `move` does
what follows: it stays (the task is skipped, and says why), goes on to the next step, gives the version all requests,
rolls it back, or rejects it; and waits until every live replica follows.

By hand a run takes a person's act: pause, resume, advance, roll_back. It names the rollout, so that it acts on no other
one when it is cleared later.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, scheduled

for spec in scheduled().of(LOOPS["rollout"]):
    loop(spec, LOOPS["rollout"], story=__doc__)
