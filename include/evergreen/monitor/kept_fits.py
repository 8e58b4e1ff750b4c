"""Understudies that the next window needs again, in Postgres: each window is compared with two, of which one was fitted
for a window before it.

A fit is found by a digest of all that it follows from, so that one that is kept is what would be fitted anew; whatever
changed finds none, and fits. It stands where digests are kept too, and is read as a candidate's file is: as nothing but
what its family fits.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Annotated

from sklearn.pipeline import Pipeline

from evergreen.database import Stored, Table, connect
from evergreen.errors import ModelUnloadable
from evergreen.model.code import code_hash
from evergreen.model.families import REQUIREMENTS
from evergreen.registry import pipelines

log = logging.getLogger(__name__)

_LARGEST = 32 << 20  # bytes of a fit that is kept: of a larger one Postgres would write more than the fit is worth


@dataclass(frozen=True)
class Fit:
    """A fit of a champion's recipe."""

    model: str  # the model's name
    key: str  # a digest of all that it follows from: the version, the rows that were mature, the spec, the code
    as_of: datetime  # the moment that it knew about
    newest: datetime  # the newest cutoff that it learned from
    usual: float  # mean rows of an interval of those that it learned from
    content: Annotated[bytes, Stored(noted=False)]  # the fitted pipeline, in skops' format
    # when the row was written, by the database's clock
    at: Annotated[datetime | None, Stored(filled="default now()")] = None

    def pipeline(self, family: str) -> Pipeline | None:
        """What was fitted; None: this release cannot read it."""
        try:
            return pipelines.parse_pipeline(self.content, family, f"a fit of {self.model} as of {self.as_of}")
        except ModelUnloadable as error:
            log.warning("%s It is fitted anew", error)
            return None


TABLE = Table("understudies", Fit, key=("model", "key"))


def key(family: str, follows_from: Mapping[str, object]) -> str:
    """The digest of all that a fit follows from, with the code and the libraries that fit it.

    Args:
        family: of the recipe.
        follows_from: values that JSON has.
    """
    return hashlib.sha256(json.dumps([_fitted_by(family), follows_from]).encode()).hexdigest()[:32]


def pack(pipeline: Pipeline) -> bytes | None:
    """A fitted pipeline as it is kept; None: it is too large."""
    import skops.io

    content = skops.io.dumps(pipeline)
    return content if len(content) <= _LARGEST else None


def find(model: str, key: str) -> Fit | None:
    """A fit, if it is kept."""
    with connect() as connection:
        found = TABLE.select(connection, "where model = %s and key = %s", [model, key])
    return found[0] if found else None


def keep(model: str, as_of: datetime, wanted: Collection[str], made: Collection[Fit]) -> None:
    """Keep the fits of a window in place of the model's others, unless those are of a later one.

    Args:
        as_of: the newest moment that one of them knew about.
        wanted: keys of all of them.
        made: those that are not kept yet.
    """
    with connect() as connection:
        later = "select from understudies where model = %s and as_of > %s"
        if made and connection.execute(later, [model, as_of]).fetchone() is None:
            connection.execute("delete from understudies where model = %s and key <> all(%s)", [model, [*wanted]])
            TABLE.insert(connection, made)


def forget(model: str) -> int:
    """Remove what is kept of a model; returns how many fits."""
    with connect() as connection:
        return connection.execute("delete from understudies where model = %s", [model]).rowcount


@cache
def _fitted_by(family: str) -> list[str]:
    return [code_hash((family,)), *(f"{name} {version(name)}" for name in REQUIREMENTS)]
