"""`<model>__monitor`: an Airflow DAG for every valid model spec, one run per interval, apart from training.

`collect` copies the interval's predictions from the prediction log to the lake. Three tasks judge them. `quality` looks
for values that stopped arriving. `drift` looks for features and predictions that moved away from the reference.
`labels` writes the outcomes that have matured,
`performance` scores the predictions whose labels have matured, and `compare` keeps what the champion and fresh fits of
its recipe lose on each window whose labels are all known.

`decide` weighs the three with the earlier decisions, and records its decision. `fall_back` lets the last known good
version serve while labels are open, where the spec asks for it and the estimate is clear. `alert` sends the owner what
is wrong.
`retrain_wanted` goes on only after a decision to retrain, and `retrain` starts that training, once. `report` draws the
page of the window, for which nothing waits.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, scheduled

for spec in scheduled().of(LOOPS["monitor"]):
    loop(spec, LOOPS["monitor"], story=__doc__)
