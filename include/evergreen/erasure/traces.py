"""What is kept of an entity outside of the lake and MLflow: the prediction log, the online store, pages, working
files."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from evergreen import database, folders
from evergreen.erasure.rules import stands_in
from evergreen.lake import tables
from evergreen.lake.rewriting import Key
from evergreen.lake.schema import QUARANTINE, RAW, TableId
from evergreen.settings import settings
from evergreen.spec.columns import PARTITION
from evergreen.spec.dataset import DatasetSpec

_STAGING = "EVERGREEN_STAGING"


def predictions(model: str, place: int | None, key: str, *, apply: bool) -> int:
    """Delete what a model predicted about an entity, with the whole answers that are remembered of it; returns how many
    predictions.

    Args:
        place: of the key among those of the model's entity, which the log has as a JSON list; None: it has one key.
    """
    # What was logged when the model had one key is no list.
    part = f"case when entity like '[%%]' then entity::jsonb ->> {place or 0:d} end"
    whose = f"where model = %s and {'entity' if place is None else part} = %s"
    with database.connect() as connection:
        if not apply:
            ((count,),) = connection.execute(f"select count(*) from predictions {whose}", [model, key]).fetchall()
            return int(count)
        # whole answers, also of requests that name it and got no prediction of it: a retry is answered anew
        quoted = json.dumps(key, ensure_ascii=False)[1:-1].encode()
        connection.execute(
            "delete from answers where model = %s and position(%s::bytea in content) > 0", [model, quoted]
        )
        # Postgres' statistics may quote the client's key of such an answer; by them its rows are found, so they are
        # made anew. They are forgotten first: of an empty table the old ones would stay.
        connection.execute("alter table answers alter key type text")
        connection.execute("analyze answers (key)")
        return connection.execute(f"delete from predictions {whose}", [model, key]).rowcount


def exemptions(spec: DatasetSpec, key: Key, *, apply: bool) -> int:
    """Forget that rows of the key were released from quarantine: what is kept of each is a hash of its values."""
    from evergreen.validate import exemptions as kept

    hashes: list[str] = []
    for source, partition in kept.counts(spec.name):
        released = {each.row_hash for each in kept.of(QUARANTINE.of(spec.name, source).at(partition))}
        for layer in (RAW, QUARANTINE):
            rows = tables.read(layer.of(spec.name, source), [partition])
            if rows is not None:
                own = rows.filter(key.rows(rows))
                hashes += released.intersection(kept.row_hashes(own, list(spec.sources[source].columns)))
    return kept.forget(spec.name, hashes) if apply and hashes else len(set(hashes))


def online(columns: Iterable[str], key: str, *, apply: bool) -> int:
    """Delete an entity's rows from the online tables of all views about it, whoever declared them."""
    from evergreen.features import online_values

    return online_values.erase(frozenset(columns), key, apply=apply)


def working_files(name: str, key: Key, *, apply: bool) -> int:
    """Remove the working files of a dataset or model that hold the key: their tasks write them again."""
    folder = f"{settings().staging.rstrip('/')}/{name}"
    files = [file for file in folders.below(folder, _STAGING) if file.endswith(".parquet")]
    holding = [file for file in files if key.count(file, _STAGING).held]
    if apply:
        folders.remove(holding, _STAGING)
    return len(holding)


def pages(name: str, key: str, intervals: Iterable[str], *, drawn: bool, apply: bool) -> int:
    """Remove the pages of a dataset or model that show the key, or may show a row of it.

    Args:
        intervals: the partitions whose rejected rows were of the key: their pages show rejected values.
        drawn: whether Evidently's reports drew single rows of the key; then all of them go.
    """
    folder, about = settings().reports / name, set(intervals)
    drawing = {folder / "drift", folder / "performance"}
    shown = [
        page
        for page in sorted(folder.rglob("*.html"))
        if page.stem in about or (drawn and page.parent in drawing) or _shows(page, key)
    ]
    if apply:
        for page in shown:
            page.unlink(missing_ok=True)
    return len(shown)


def _shows(page: Path, key: str) -> bool:
    text = page.read_text(encoding="utf-8", errors="replace")
    return any(form in text and stands_in(form, text) for form in {key, html.escape(key), json.dumps(key)[1:-1]})


def rejected(held: Mapping[TableId, Key]) -> Iterator[tuple[str, str]]:
    """Of each dataset, the partitions whose quarantine holds the key."""
    for table, key in held.items():
        if table.layer == QUARANTINE.layer and (rows := tables.read(table)) is not None:
            for partition in sorted(set(rows.filter(key.rows(rows))[PARTITION].to_pylist())):
                yield table.of, partition
