"""The files of the landing zone that hold an entity's key. They are their owner's: they are listed, and left."""

from __future__ import annotations

import gzip
import io
import json
import unicodedata
import zlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen import folders
from evergreen.erasure.rules import stands_in
from evergreen.ingest import landing
from evergreen.lake.rewriting import Key
from evergreen.readers import OURS
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec, Source
from evergreen.spec.kinds import whole

_SETTING = "EVERGREEN_LANDING"


def holding(spec: DatasetSpec, key: Key) -> Iterator[str]:
    """What of a dataset's sources holds the key, or may: the files, and each query of a database."""
    for name, source in spec.sources.items():
        if source.path is None:
            if key.columns & source.columns.keys():
                yield f"the rows of {spec.name}/{name} in the database of the connection {source.connection}"
            continue
        above, pattern = landing.pattern_of(settings().landing, source.path)
        for file in folders.below(above, _SETTING):
            if pattern.fullmatch(file) and _holds(file, source, key):
                yield file


def _holds(file: str, source: Source, key: Key) -> bool:
    if source.format not in OURS:
        return True  # nobody can say
    content = folders.read(file, _SETTING)
    if source.format == "parquet":
        try:
            named = [arrives for arrives, name in source.arriving.items() if name in key.columns]
            table = pq.read_table(io.BytesIO(content), columns=named)
        except (pa.ArrowException, OSError):
            return key.value.encode() in content  # damaged: it may
        return any(key.value in _forms(value) for column in table.columns for value in column.to_pylist())
    if source.compression == "gzip" or (source.compression is None and file.endswith(".gz")):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return True  # nobody can say
    text = content.decode(source.encoding, errors="replace")
    spellings = {key.value, key.value.replace('"', '""')}  # of CSV
    if source.format == "jsonl":
        spellings |= {json.dumps(key.value, ensure_ascii=ascii)[1:-1] for ascii in (True, False)}
    texts = (text, unicodedata.normalize("NFC", text))
    return any(stands_in(spelling, each) for spelling in spellings for each in texts)


def _forms(cell: object) -> tuple[str, str, str]:
    """A cell as it arrived, and in the forms that a source may give to its keys."""
    text = cell.decode(errors="replace") if isinstance(cell, bytes) else str(whole(cell))
    composed = unicodedata.normalize("NFC", text.strip())
    return text, composed, composed.removesuffix(".0")
