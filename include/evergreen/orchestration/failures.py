"""What Airflow does with an error: the one place where permanent and transient become fail and retry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from evergreen.errors import PermanentError, TransientError

# An error that is in neither family is a surprise: Airflow's own retries, with backoff, decide.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PermanentError, action=RetryAction.FAIL, reason="permanent: a retry would fail the same way"
        ),
        RetryRule(exception=TransientError, action=RetryAction.RETRY, reason="transient: the service may answer again"),
    ]
)

# Of the tasks of every DAG.
RETRYING: Mapping[str, Any] = MappingProxyType(
    {
        "retries": 3,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": RETRY_POLICY,
    }
)
