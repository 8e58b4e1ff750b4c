"""`<model>__train`: an Airflow DAG for every valid model spec; scheduled, by hand, or triggered by the monitor.

`labels` writes the outcomes that have matured. `build` joins the mature labels with the features that were known at
each cutoff. `validate_training` checks that training set against the contract that follows from the spec. `tune`
searches and fits each family, side by side.
`evaluate` scores the candidates, the champion and the baseline on the same later rows. `gates` decides by these scores.
Beside all that follows, `describe` lets people find the training in MLflow: a run for each trial, pictures, and which
inputs the best candidate leans on. Nothing waits for it.

`approve` waits for a person where the model's risk asks for one (under Required Actions, or by REST). They say why, and
it is kept in the ledger under their name; without an answer in time it is a rejection. A training that could not be
promoted asks nobody.

`refit` fits the recipe of a candidate that passed anew on all mature rows, where the spec asks for it. `register` makes
a version of the fit that is chosen, and `card` writes its card: what it is, what it is for, how good it is and who
allowed it. `probe` loads the version in a fresh server process, which must answer as training did. `deploy` then has
the running server take it.

Only a candidate that passed every gate, and was not rejected, is registered, and only a version that passed its probe
is deployed. *Not better* is a green run: `register` and the tasks after it are skipped, with the reason. *No evidence*
is a red run, and promotes nothing.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, scheduled

for spec in scheduled().of(LOOPS["train"]):
    loop(spec, LOOPS["train"], story=__doc__)
