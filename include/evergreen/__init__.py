"""Continuous training on Apache Airflow.

Importing the package sets how the libraries behave, in whatever process it is imported: a task, the model server, a
command, a test. Child processes inherit it. A variable that is set already wins.
"""

import os

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "true",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "FEAST_USAGE": "False",
}
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # it has a handler of its own, which no logging configuration reaches
}
REPRODUCIBLE = {"TF_ENABLE_ONEDNN_OPTS": "0"}  # another order of additions: results would differ between machines
for _name, _value in (TELEMETRY_OFF | QUIET | REPRODUCIBLE).items():
    os.environ.setdefault(_name, _value)
