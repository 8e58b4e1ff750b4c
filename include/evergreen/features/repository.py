"""The Feast repository: opened once per process, and what its databases' silence and refusals mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool
import sqlalchemy.exc
from feast import FeatureStore

from evergreen import database
from evergreen.answers import of_postgres
from evergreen.settings import settings

REGISTRY = "feast registry"  # key of the lock that whoever changes the registry holds

_opening = threading.Lock()
_opened: dict[tuple[int, str, str], FeatureStore] = {}  # at most one


def feature_store() -> FeatureStore:
    """The Feast store of feature_repo/; one per process, shared by its threads.

    Raises:
        ServiceUnavailable: the database does not answer.
    """
    key = (os.getpid(), settings().database_url("feast"), str(settings().project / "feature_repo"))
    with _opening:
        if key not in _opened:
            for (process, *_), store in _opened.items():
                if process == os.getpid():  # else a forked parent's, whose connections are not ours to close
                    store.provider.online_store.disconnect()
                    store.registry.write_engine.dispose()
            _opened.clear()
            _opened[key] = _open(key[2])
        return _opened[key]


def _open(repository: str) -> FeatureStore:
    store = FeatureStore(repo_path=repository)
    # The registry creates its tables when it is opened; processes that do so at once would collide.
    with answering("opening the Feast registry"), database.locked(REGISTRY, "feast"):
        _ = store.registry
    return store


@contextmanager
def answering(doing: str) -> Iterator[None]:
    """What Postgres' silence and its refusals mean: Feast reaches it by psycopg
    and, for the registry, by SQLAlchemy."""
    try:
        yield
    except (psycopg.OperationalError, sqlalchemy.exc.OperationalError, psycopg_pool.PoolTimeout) as error:
        raise of_postgres(doing, error, database.remote("feast")) from error
