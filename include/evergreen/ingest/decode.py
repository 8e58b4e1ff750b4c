"""A file's bytes become text as declared: compression, then encoding. What is otherwise is told, with what it looks like."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib

from evergreen.errors import BatchUnreadable
from evergreen.ingest.landing import Part
from evergreen.spec.schema import Source

_GZIP = b"\x1f\x8b"
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ANY_BYTES = re.compile(r"iso8859|cp125")  # reading UTF-8 by one of these makes Ã© of é, and seldom fails


def uncompressed(part: Part, source: Source) -> bytes:
    """The bytes of a file without its compression.

    Raises:
        BatchUnreadable: gzip where none is declared, none where gzip is, or a broken stream.
    """
    compression = source.compression or ("gzip" if part.name.endswith(".gz") and source.format != "parquet" else "none")
    is_gzip = part.content.startswith(_GZIP)
    if compression == "none":
        if is_gzip:
            fix = "" if source.format == "parquet" else "`compression: gzip`"
            raise part.origin.unreadable(
                "gzip (it begins with 1f 8b)", f"{source.format} as it is, not inside of gzip", declare=fix
            )
        return part.content
    if not is_gzip:
        begin = part.content[:2].hex(" ") or "nothing: an empty file"
        said = "as declared" if source.compression else "as its name says"
        raise part.origin.unreadable(
            f"no gzip (it begins with {begin})", f"gzip, {said}", declare="`compression: none`"
        )
    try:
        return gzip.decompress(part.content)
    except (OSError, EOFError, zlib.error) as error:
        raise part.origin.unreadable(f"a broken gzip stream: {error}", "a whole gzip file") from error


def text(part: Part, source: Source) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        BatchUnreadable: it is not of the declared compression or encoding.
    """
    content = uncompressed(part, source)
    declared = codecs.lookup(source.encoding).name
    try:
        found = content.decode(source.encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1].hex()
        raise _wrong_encoding(part, source, content, f"byte 0x{byte} at offset {error.start}, line {line}") from error
    except UnicodeError as error:
        raise _wrong_encoding(part, source, content, str(error)) from error
    if _misread(content, declared):
        raise _wrong_encoding(part, source, content, "text of another encoding")
    return found.removeprefix("\ufeff")


def _misread(content: bytes, declared: str) -> bool:
    """Whether bytes that can be read by the declared encoding are of another one, and would be taken for nonsense."""
    likely = _looks_like(content)
    if likely.startswith(("utf-16", "utf-32")):
        return not declared.startswith(likely[:6])
    wide = declared.startswith(("utf-16", "utf-32")) and content != b""
    return likely == "utf-8" and (wide or (not content.isascii() and _ANY_BYTES.match(declared) is not None))


def _wrong_encoding(part: Part, source: Source, content: bytes, found: str) -> BatchUnreadable:
    """The error that a file is not of the declared encoding, with the one that it looks like."""
    likely = _looks_like(content)
    if codecs.lookup(likely).name == codecs.lookup(source.encoding).name:
        return part.origin.unreadable(found, source.encoding.upper())
    return part.origin.unreadable(
        f"{found}; it looks like {likely}", source.encoding.upper(), declare=f"`encoding: {likely}`"
    )


def _looks_like(content: bytes) -> str:
    """The most probable encoding of a file."""
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return name
    if b"\0" in content[:64]:
        return "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"  # of Windows, and of most exports from spreadsheets
    return "utf-8"
