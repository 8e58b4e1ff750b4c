"""`<model>__rollback`: an Airflow DAG for every valid model spec, run only by hand.

`rollback` lets the last known good version serve again, in place of the version that the form names. It records the
intent, then the server takes the version. Then the ledger has the rollback, with who started it and why, and the
aliases in MLflow follow.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, scheduled

for spec in scheduled().of(LOOPS["rollback"]):
    loop(spec, LOOPS["rollback"], story=__doc__)
