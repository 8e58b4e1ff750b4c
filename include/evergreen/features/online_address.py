"""Where the online store is: what `feature_repo/feature_store.yaml` says of it, without Feast, which takes seconds to
import. Every address that the file leaves out comes from Evergreen's settings, so that it holds no password."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from evergreen.errors import PermanentError
from evergreen.features.packed import KEY_VERSION


@dataclass(frozen=True)
class OnlineStore:
    """The online store of a Feast repository."""

    project: str  # Feast's, whose name its tables begin with
    address: str  # as libpq takes it
    most: int  # connections of a process


def from_settings(database_url: str) -> dict[str, Any]:
    """What the settings say of it, by the names that `feature_store.yaml` has for it."""
    database = conninfo_to_dict(database_url)
    return {
        "host": database["host"],
        "port": int(database.get("port") or 5432),
        "database": database["dbname"],
        "user": database["user"],
        "password": database.get("password", ""),
        "sslmode": database.get("sslmode", "prefer"),
    }


def of(repository: Path, database_url: str) -> OnlineStore:
    """The online store of a repository.

    Raises:
        PermanentError: its keys are of another form than a reader makes.
    """
    path = Path(os.environ.get("FEAST_FS_YAML_FILE_PATH") or repository / "feature_store.yaml")  # as Feast finds it
    stated = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
    version = stated.get("entity_key_serialization_version", KEY_VERSION)
    if version != KEY_VERSION:
        raise PermanentError(
            "reading the online store",
            found=f"entity_key_serialization_version: {version} in {path}",
            expected=str(KEY_VERSION),
            next_step="set it to that, and ingest again",
        )
    store = from_settings(database_url) | stated["online_store"]
    schema = str(store.get("db_schema") or "public").strip()
    address = make_conninfo(
        host=store["host"],
        port=store["port"],
        dbname=store["database"],
        user=store["user"],
        password=store["password"],
        sslmode=store["sslmode"],
        sslkey=store.get("sslkey_path"),
        sslcert=store.get("sslcert_path"),
        sslrootcert=store.get("sslrootcert_path"),
        options=f"-c search_path={schema}{'' if schema == 'public' else ',public'} -c timezone=UTC",
    )
    return OnlineStore(str(stated["project"]), address, int(store.get("max_conn", 10)))
