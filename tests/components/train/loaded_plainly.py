"""What a plain environment answers: MLflow and a version's libraries, and nothing of Evergreen.

Started with that environment's Python: the tracking server, a file of rows, and the models' addresses. It says on its
last line, as JSON, what each of MLflow's two loaders answers.
"""

from __future__ import annotations

import importlib.util
import json
import sys

import mlflow
import pandas as pd

server, rows, *addresses = sys.argv[1:]
assert importlib.util.find_spec("evergreen") is None, "an environment that has Evergreen proves nothing"
mlflow.set_tracking_uri(server)
asked = pd.read_parquet(rows)
found = {}
for address in addresses:
    own, any_flavour = mlflow.sklearn.load_model(address), mlflow.pyfunc.load_model(address)
    of_own = own.predict_proba(asked) if hasattr(own, "predict_proba") else own.predict(asked)
    found[address] = [of_own.tolist(), any_flavour.predict(asked).tolist()]
print(json.dumps(found))
