"""A Parquet file becomes a table of the declared columns: the footer may promise what the
pages do not hold, so both are looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile

from evergreen.ingest import decode, limits
from evergreen.ingest.columns import as_declared
from evergreen.ingest.landing import Part
from evergreen.spec.dataset import Source

_MARK, _ENCRYPTED = b"PAR1", b"PARE"
_BATCH_ROWS = 65_536
# What Arrow raises about bytes that are damaged, or claim sizes that they have not.
_DAMAGED = (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError)


def read(part: Part, source: Source, room: int) -> pa.Table:
    """The rows of a Parquet file, of whatever types; their values have at most `room` bytes.

    Raises:
        BatchUnreadable: it is no Parquet file, a part of it is damaged, its columns are not the declared ones, it holds
            text that is not UTF-8, or it expands to more.
    """
    content = decode.uncompressed(part, source, room)
    _marked(part, content)
    texts: list[str] = []
    try:
        schema = ParquetFile(pa.py_buffer(content)).schema_arrow
        named = as_declared(schema.names, source, part.origin)
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
        # As dictionaries: a text that a page holds once may stand for a million rows.
        file = ParquetFile(pa.py_buffer(content), read_dictionary=texts, page_checksum_verification=True)
    except _DAMAGED as error:
        raise part.origin.unreadable("a damaged Parquet footer", "a whole Parquet file") from error
    try:
        table = pa.Table.from_batches(_bounded(part, file, room), file.schema_arrow)
    except _DAMAGED as error:
        raise part.origin.unreadable(_damage(file), "pages as the footer describes them") from error
    if table.num_rows != file.metadata.num_rows:
        counts = f"{table.num_rows:,} rows, where the footer promises {file.metadata.num_rows:,}"
        raise part.origin.unreadable(counts, "a whole Parquet file")
    for name in texts:
        _utf_8(part, name, table[name])
    return table.rename_columns([named[name] for name in table.column_names])


def _marked(part: Part, content: bytes) -> None:
    """The four bytes at both ends say what it is, and that it is whole."""
    if content.startswith(_MARK) and content.endswith(_MARK):
        return
    if not content:
        kind = "an empty file"
    elif content.endswith(_ENCRYPTED):
        kind = "an encrypted Parquet file"
    elif content.startswith(_MARK):
        kind = "a Parquet file that is cut short: it does not end with PAR1"
    else:
        kind = f"no Parquet file (it begins with {content[:4].hex(' ')})"
    raise part.origin.unreadable(kind, "a Parquet file, which begins and ends with PAR1")


def _bounded(part: Part, file: ParquetFile, room: int) -> Iterator[pa.RecordBatch]:
    size = 0
    for batch in file.iter_batches(_BATCH_ROWS):
        size += batch.num_rows * limits.ROW_COST + sum(_bytes(column) for column in batch.columns)
        if size > room:
            raise part.origin.too_large(f"Parquet of {len(part.content):,} bytes that expands to more than {room:,}")
        yield batch


def _bytes(column: pa.Array) -> int:
    """What a column takes when every text is written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(lengths).as_py() or 0)


def _damage(file: ParquetFile) -> str:
    """Which column is damaged, and where: each is read alone."""
    for group in range(file.num_row_groups):
        for name in file.schema_arrow.names:
            try:
                file.read_row_group(group, columns=[name])
            except _DAMAGED:
                return f"a damaged page of the column {name}, in row group {group + 1} of {file.num_row_groups}"
    return "damaged pages"


def _utf_8(part: Part, name: str, column: pa.ChunkedArray) -> None:
    if not pa.types.is_string(column.type.value_type):
        return
    for chunk in column.chunks:
        try:
            chunk.dictionary.validate(full=True)
        except pa.ArrowInvalid as error:
            raise part.origin.unreadable(f"bytes in the column {name} that are not UTF-8", "text in UTF-8") from error
