"""What Airflow does with an error: the one place where permanent and transient become fail and retry."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from evergreen.errors import PermanentError, TransientError

RETRIES = 3
RETRY_DELAY = timedelta(seconds=20)
LONGEST_DELAY = timedelta(minutes=10)

# An error that is in neither family is a surprise: Airflow's own retries, with backoff, decide.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PermanentError, action=RetryAction.FAIL, reason="permanent: a retry would fail the same way"
        ),
        RetryRule(exception=TransientError, action=RetryAction.RETRY, reason="transient: the service may answer again"),
    ]
)
