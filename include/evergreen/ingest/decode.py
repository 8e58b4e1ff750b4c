"""A file's bytes become text as declared: compression, then encoding.

What is otherwise is told, with what it looks like.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib

from evergreen.errors import BatchUnreadable
from evergreen.ingest.landing import Part
from evergreen.quoting import shown
from evergreen.spec.dataset import Source

_BLOCK = 1 << 20
_LONE = re.compile("[\ud800-\udfff]")  # half a character; UTF-8 and its like have none, Python's escapes can write one
_GZIP = b"\x1f\x8b"
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ANY_BYTES = re.compile(r"iso8859|cp125")  # reading UTF-8 by one of these makes Ã© of é, and seldom fails


def uncompressed(part: Part, source: Source, room: int) -> bytes:
    """The bytes of a file without its compression, at most `room`.

    Raises:
        BatchUnreadable: gzip where none is declared, none where gzip is, a broken stream, or one that expands to more.
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
        stated_by = "as declared" if source.compression else "as its name says"
        raise part.origin.unreadable(
            f"no gzip (it begins with {begin})", f"gzip, {stated_by}", declare="`compression: none`"
        )
    return _expanded(part, room)


def _expanded(part: Part, room: int) -> bytes:
    """What gzip holds, block by block: a file of a megabyte may stand for a gigabyte."""

    def broken(how: str) -> BatchUnreadable:
        return part.origin.unreadable(f"a broken gzip stream: {how}", "a whole gzip file")

    content = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(part.content)) as stream:
            while block := stream.read(_BLOCK):
                content += block
                if len(content) > room:
                    raise part.origin.too_large(
                        f"gzip of {len(part.content):,} bytes that expands to more than {room:,}"
                    )
    except EOFError as error:
        raise broken("it is cut short") from error
    except gzip.BadGzipFile as error:
        crc = "check" in str(error)
        raise broken("its check sum does not fit" if crc else "other bytes follow its end") from error
    except zlib.error as error:
        raise broken("its bytes are damaged") from error
    return bytes(content)


def text(part: Part, source: Source, room: int) -> str:
    """The text of a file, of at most `room` bytes, without a byte order mark; it can be written as UTF-8.

    Raises:
        BatchUnreadable: it is not of the declared compression or encoding, or too large.
    """
    content = uncompressed(part, source, room)
    declared = codecs.lookup(source.encoding).name
    try:
        decoded = content.decode(source.encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1].hex()
        raise _wrong_encoding(part, source, content, f"byte 0x{byte} at offset {error.start}, line {line}") from error
    except UnicodeError as error:
        raise _wrong_encoding(part, source, content, "bytes that it does not have") from error
    if not declared.startswith(("utf-8", "utf-16", "utf-32")) and (lone := _LONE.search(decoded)):
        line = decoded.count("\n", 0, lone.start()) + 1
        raise part.origin.unreadable(
            f"half a character, {shown(lone.group())}, in line {line}", "text that can be written as UTF-8"
        )
    if _misread(content, declared):
        raise _wrong_encoding(part, source, content, "text of another encoding")
    return decoded.removeprefix("\ufeff")


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
    begin = content[:64]
    if begin.count(0) * 4 >= len(begin) > 0:  # a NUL alone is a character, which a cell may have
        return "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"  # of Windows, and of most exports from spreadsheets
    return "utf-8"
