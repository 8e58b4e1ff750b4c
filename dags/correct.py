"""`<dataset>__correct`: an Airflow DAG for every valid dataset, run only by hand: one interval again, from what its
batches say now.

`plan` reads the interval's batches anew and lists exactly what would change: rows and quarantine of every source,
feature partitions, online values, labels of which models, versions that were trained on the old rows, open decisions.
Its log and the run's note have the list. A dry run, which is the default, ends there: `begin` and the tasks after it
are skipped.

Otherwise `begin` writes down who corrects the interval and why, in the history of the dataset and of each model that
uses it. Then the tasks of an ingestion run: `extract`, `validate`, `publish`, `features`, `validate_features`,
`publish_features`, `materialize`. `relabel` computes the labels again that the interval is part of.

To correct an interval twice changes nothing more, and one that was killed is triggered again.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, scheduled

for dataset in scheduled().of(LOOPS["correct"]):
    loop(dataset, LOOPS["correct"], story=__doc__)
