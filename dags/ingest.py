"""`<dataset>__ingest`: an Airflow DAG for every valid dataset, one run per interval, backfillable in any order.

`extract` reads the interval's batch of every source. `validate` checks each batch against its contract. `publish`
writes the rows that passed into the lake, and the others into quarantine, each with its reasons.

`features` computes every partition that looks back at the interval, once all days that it looks back at are published.
`validate_features` checks them against their contracts, and `publish_features` writes them.
`materialize` brings the online store up to date.

No run waits for another interval, and the order of the runs changes nothing: the run that publishes the last missing
day of a partition also computes that partition.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, scheduled

declared = scheduled()
for dataset in declared.of(LOOPS["ingest"]):
    loop(dataset, LOOPS["ingest"], story=__doc__, users=declared.users(dataset.name))
