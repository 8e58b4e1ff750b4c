"""`<model>__rollback`: an Airflow DAG for every valid model spec, run by hand alone."""

from __future__ import annotations

from evergreen.orchestration.loops import loop, valid_specs
from evergreen.orchestration.rollback import rollback

for spec in valid_specs():
    with loop(spec, "rollback"):
        rollback(spec)
