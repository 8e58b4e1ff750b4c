"""What Airflow calls the machine of a worker, where several run on one:
the name that compose would give its container."""

from __future__ import annotations

import os


def of_container() -> str:
    """The host's name, as the process was told it."""
    return os.environ["HOSTNAME"]
