"""`<model>__rollback`: an Airflow DAG for every valid model spec, run by hand alone.

`rollback` lets the last known good version serve again, in place of the one that the form names. The server takes it
first; then the audit trail records it, with who asked for it and why, and MLflow shows it.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, valid_specs

for spec in valid_specs():
    loop(spec, LOOPS["rollback"], story=__doc__)
