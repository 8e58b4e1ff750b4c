"""Has no DAG of its own: an invalid model spec shows up here, as an Airflow import error that says what to correct.

The other DAG files leave out the invalid model and go on with the others, so that its mistake costs only itself.
"""

from __future__ import annotations

from evergreen.orchestration.airflow import specs

_, mistakes = specs()
if mistakes:
    raise ExceptionGroup(f"{len(mistakes)} invalid model folder(s)", mistakes)
