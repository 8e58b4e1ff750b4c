"""What a service's refusal means for a retry, told apart once: by its HTTP status, whichever service it is.

Airflow, MLflow, the model server and S3 all answer over HTTP; MLflow's own codes have a status each, by MLflow's own
table. Postgres has none, and is asked for one thing more: whether it knew the login.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evergreen.errors import RequestRefused, ServiceUnavailable

_LATER = frozenset(
    {408, 425, 429}
)  # of 400 to 499: took too long, too early, too many; the rest is the request's own fault
LOGIN = frozenset({401, 403})  # who asks is unknown, or may not
# Postgres tells it by its message alone: its client has no code for a connection that was not made.
_NO_LOGIN = re.compile(
    r"FATAL: +(password authentication failed|no pg_hba\.conf entry|permission denied for database"
    r"|role .+ (does not exist|is not permitted to log in))"
)


@dataclass(frozen=True)
class Remote:
    """A service that is asked over HTTP, as its errors speak of it."""

    name: str  # "Airflow at http://127.0.0.1:8080"
    login: str  # the settings that hold what it knows us by
    address: str  # the setting that says where it is
    log: str = "its log"
    start: str = "start it (`make up`)"


def may_succeed_later(status: int) -> bool:
    """Whether the same request may be answered well in a while."""
    return status in _LATER or status >= 500


def refusal(doing: str, status: int, reply: str, service: Remote) -> ServiceUnavailable | RequestRefused:
    """The error for an answer that is no success: transient where a retry may help, else with what is to be changed."""
    answer = f"{status}: {reply[:1000]}"
    if may_succeed_later(status):
        return ServiceUnavailable(
            doing,
            found=answer,
            expected=f"an answer from {service.name}",
            next_step=f"look at {service.log} if it stays; a task is retried by itself",
        )
    if status in LOGIN:
        return login_refused(doing, answer, service)
    return RequestRefused(
        doing,
        found=answer,
        expected=f"a request that {service.name} takes",
        next_step=f"a retry fails alike: look at what was asked and at what {service.name} has of it",
    )


def of_postgres(doing: str, error: Exception, service: Remote) -> ServiceUnavailable | RequestRefused:
    """The error for a connection to Postgres that was not made, or was lost: permanent where it knows
    no such login, or lets it in nowhere."""
    message = str(error).strip()
    return login_refused(doing, message, service) if _NO_LOGIN.search(message) else silence(doing, message, service)


def silence(doing: str, message: str, service: Remote) -> ServiceUnavailable:
    """The error for a service that does not answer at all."""
    return ServiceUnavailable(
        doing,
        found=message,
        expected=f"an answer from {service.name}",
        next_step=f"{service.start}, or correct {service.address}; a task is retried by itself",
    )


def login_refused(doing: str, message: str, service: Remote) -> RequestRefused:
    """The error for a login that the service does not know, or does not let do this."""
    return RequestRefused(
        doing,
        found=message,
        expected=f"a login that {service.name} lets do this",
        next_step=f"correct {service.login}; if the answer comes from another service, correct {service.address}",
    )
