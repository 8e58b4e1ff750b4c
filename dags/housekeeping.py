"""`evergreen__housekeeping`: one Airflow DAG, weekly, for all datasets and models; each task is mapped over their
names.

`retention` drops the intervals that are older than their table keeps them. `compaction` puts small files together.
`vacuum` removes the files of old versions of tables, and never one that a registered version needs. `prediction_log`
drops the days of the prediction log that the lake has copies of. `candidates` removes runs in MLflow that became no
version, with their files. `reports` and `working_files` remove what is old of these.

Nothing is deleted that no folder's `retention` says, but for working files. The tasks wait for nobody: each may run
beside every loop, and a failed one stops no other.
"""

from __future__ import annotations

from evergreen.orchestration.airflow import scheduled
from evergreen.orchestration.housekeeping import housekeeping

housekeeping(scheduled(), __doc__)
