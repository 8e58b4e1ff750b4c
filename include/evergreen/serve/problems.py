"""What is wrong now with what serves of a model: MLflow differs from the ledger, a version was deployed by hand, a file
was changed."""

from __future__ import annotations

import logging

from evergreen.errors import TransientError
from evergreen.registry import store
from evergreen.serve import client

log = logging.getLogger(__name__)


def now(model: str) -> list[str]:
    """What the server says is wrong with what it serves; of a server that does not answer, what MLflow has otherwise
    than the ledger.

    Raises:
        ServiceUnavailable: MLflow or the database, which was asked in the server's place, does not answer either.
        RequestRefused: one of them answers that it will not.
    """
    try:
        problem = client.problem(model)
    except TransientError as error:
        log.info("The model server was not asked: %s", error.found)
        with store.locked(model):
            return store.disagreements(model)
    return [f"the model server: {problem}"] if problem else []
