"""`<model>__ingest`: an Airflow DAG for every valid model spec, one run per interval, backfillable in any order.

`extract` reads the interval's batch of every source, `validate` holds it against its contract and parts the rows, and
`publish` puts the accepted ones into the lake and the others into quarantine, with the reason. `features` then computes
every partition that looks back at the interval and whose days are all there by now; `validate_features` holds them
against their contracts, `publish_features` writes them. `labels` writes the outcomes that matured with the interval,
and `materialize` brings the online store up to date.

Nothing waits for another interval, and nothing is lost by the order: whoever publishes the
last missing day of a window computes it.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, valid_specs

for spec in valid_specs():
    loop(spec, LOOPS["ingest"], story=__doc__)
