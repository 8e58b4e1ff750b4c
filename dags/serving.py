"""`evergreen__serving`: one Airflow DAG, hourly, for all models; its task is mapped over their names.

`look` asks the model server what is wrong with what it serves: MLflow shows other versions than the ledger, a version
was deployed by hand, a file was changed after it was recorded. Where the server does not answer, it compares MLflow
with the ledger itself. The owner of the model is told once, for as long as it lasts.

It changes nothing. The server goes on with the last known good version meanwhile.
"""

from __future__ import annotations

from evergreen.orchestration.airflow import scheduled
from evergreen.orchestration.serving import serving

serving(scheduled().models, __doc__)
