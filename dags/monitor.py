"""`<model>__monitor`: an Airflow DAG for every valid model spec, one run per interval, apart from training.

`collect` copies the interval's answered predictions from the server's log to the lake. `quality` looks for values that
stopped arriving, `drift` for features and predictions that moved away from what the version was trained on, and
`performance` scores the predictions whose labels have matured. `decide` puts the three together with the decisions
before it, and keeps what it decided. `alert` tells the owner what needs telling. `retrain_wanted` goes on only after a
decision to retrain, and `retrain` starts that training, once.
"""

from __future__ import annotations

from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop, valid_specs

for spec in valid_specs():
    loop(spec, LOOPS["monitor"], story=__doc__)
