"""`<model>__train`: an Airflow DAG for every valid model spec; scheduled, by hand, or triggered by the monitor.

`build` joins the labels that are mature by now with the features that were known at each cutoff, and
`validate_training` holds the set against the contract that follows from the spec. `tune` searches and fits each family,
side by side. `evaluate` scores the candidates, the champion and a trivial baseline on the same later rows, and `gates`
decides by them. What passed becomes a version (`register`), a fresh server process must answer with it as it did when
it was trained (`probe`), and then the running server takes it (`deploy`).

Nothing is registered that did not pass every gate, and nothing is deployed that was not registered and probed. *Not
better* is a good run: `register` and what follows are skipped, with the reason. *No evidence* is a red one, and
promotes nothing.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, valid_specs

for spec in valid_specs():
    loop(spec, LOOPS["train"], story=__doc__)
