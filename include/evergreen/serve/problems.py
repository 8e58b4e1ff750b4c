"""What is wrong now with what serves of a model: MLflow differs from the ledger, a file was changed."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from evergreen.errors import TransientError
from evergreen.registry import store
from evergreen.serve import client

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What is known to be wrong now."""

    problems: tuple[str, ...]  # each in the same words, whoever saw it
    complete: bool  # whether that is all; else what is not among them may be wrong still


def now(model: str) -> Known:
    """What the server says is wrong with what it serves; of a server that does not answer, what MLflow has otherwise
    than the ledger, which is a part of that.

    Raises:
        ServiceUnavailable: MLflow or the database, which was asked in the server's place, does not answer either.
        RequestRefused: one of them answers that it will not.
    """
    try:
        problems, looked = client.problems(model)
    except TransientError as error:
        log.info("The model server was not asked: %s", error.found)
        with store.locked(model):
            return Known(tuple(store.disagreements(model)), complete=False)
    return Known(tuple(problems), complete=looked)
