"""Has no DAG of its own: an invalid folder of a dataset or model shows up here, as an Airflow import error that says
what to correct.

The other DAG files leave it out and go on with the others, so that its mistake costs only itself.
"""

from __future__ import annotations

from evergreen.orchestration.airflow import scheduled

mistakes = scheduled().errors
if mistakes:
    raise ExceptionGroup(f"{len(mistakes)} invalid folder(s)", mistakes)
