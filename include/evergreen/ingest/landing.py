"""The landing zone: a folder, an S3 bucket read through boto3 (credentials and endpoint by the standard AWS
variables, or by a connection), or what a package of fsspec knows (`evergreen.filesystems`)."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evergreen import filesystems, object_store
from evergreen.connections import Connections
from evergreen.errors import BatchChanging, BatchMissing, BatchUnreadable
from evergreen.ingest import limits
from evergreen.ingest.origin import Origin, address
from evergreen.quoting import shown
from evergreen.settings import connection_uri

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_SETTING = "EVERGREEN_LANDING"
_BLOCK = 1 << 20
_NAMES = ("partition", "year", "month", "day", "hour")  # in braces in a path: the partition key, and its parts
_PARTS = re.compile(r"^\d{4}|\d\d", re.ASCII)  # of a partition key; what follows the hour is no part of a name


@dataclass(frozen=True)
class Part:
    """One file of a batch."""

    origin: Origin
    content: bytes

    @cached_property
    def sha256(self) -> str:
        """Of its bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def name(self) -> str:
        """The file's name, without its folders."""
        return self.origin.name.rpartition("/")[2]


def uri_of(zone: str, path: str, partition: str) -> str:
    """Where the batch of a partition stands: `path` below `zone`, with the partition key in place of `{partition}`, and
    its parts in place of `{year}`, `{month}`, `{day}` and `{hour}`."""
    parts = dict(zip(_NAMES[1:], _PARTS.findall(partition), strict=False))
    for name, value in {"partition": partition, **parts}.items():
        path = path.replace(f"{{{name}}}", value)
    return f"{zone.rstrip('/')}/{path}"


def pattern_of(zone: str, path: str) -> tuple[str, re.Pattern[str]]:
    """Where the batches of all partitions stand: the folder above them, and what the address of each of their files
    is like."""
    whole = f"{zone.rstrip('/')}/{path}"
    any_of = re.compile("|".join((*(f"{{{name}}}" for name in _NAMES), r"\*")))
    above = any_of.split(whole, maxsplit=1)[0].rpartition("/")[0]
    return above, re.compile("[^/]*".join(map(re.escape, any_of.split(whole))), re.DOTALL)


def read(zone: str, path: str, partition: str, subject: str, connections: Connections = connection_uri) -> list[Part]:
    """The files of a partition's batch, by name; one, unless the last segment of `path` holds `*`.

    A `*` stands for any characters but `/`; one at the start passes over names that begin with `.` or `_`, by which
    writers mark what is unfinished or no data (`_SUCCESS`). Nothing but regular files is opened, and no more bytes are
    read than `ingest.limits` says.

    Args:
        connections: the URI of the connection that a zone names, by its id.

    Raises:
        BatchMissing: there is no such file.
        BatchUnreadable: one is no regular file, or may not be read; or there are too many, or they are too large.
        BatchChanging: a file was written, or replaced, while it was read.
        ServiceUnavailable: the object store does not answer, or not now.
        RequestRefused: it does not let us read.
        ConnectionUnknown: there is no such connection, or none to it.
    """
    uri = uri_of(zone, path, partition)
    if filesystems.holds(zone):
        return _from_file_system(uri, subject)
    if zone.startswith(object_store.SCHEME):
        return _from_s3(uri, subject, connections)
    return _from_folder(uri, subject)


def digest(parts: Sequence[Part]) -> str:
    """The hash of a batch: of the file's bytes; of several files, each one's name and bytes."""
    if len(parts) == 1:
        return parts[0].sha256
    of_all = hashlib.sha256()
    for part in parts:
        of_all.update(f"{part.name}\0{len(part.content)}\0".encode())
        of_all.update(part.content)
    return of_all.hexdigest()


def _from_folder(uri: str, subject: str) -> list[Part]:
    folder, _, name = uri.rpartition("/")

    def matching() -> list[str]:
        if "*" not in name:
            return [name]
        with _readable(folder, subject):
            there = [each.name for each in Path(folder).iterdir() if not each.is_dir()] if Path(folder).is_dir() else []
        return _matching(there, uri, subject)

    names, left = matching(), limits.batch()
    parts, states = [], []
    for each in names:
        origin = Origin(subject, f"{folder}/{each}")
        content, state = _file(origin, left)
        left -= len(content)
        parts.append(Part(origin, content))
        states.append(state)
    # What was read is one state of the folder: no part has changed, come or gone since it was read.
    for part, state in zip(parts, states, strict=True):
        with _readable(part.origin.name, subject, gone=lambda part=part: _changing(part.origin)):
            if _state(Path(part.origin.name).stat()) != state:
                raise _changing(part.origin)
    if matching() != names:
        raise _changing(Origin(subject, uri))
    return parts


def _file(origin: Origin, left: int) -> tuple[bytes, tuple[int, ...]]:
    """The bytes of a regular file, at most `left`, and its state before it was read."""
    file = Path(origin.name)
    with _readable(origin.name, origin.subject):
        # Asked first: to open a device can do something to it. Then not blocking,
        # in case a pipe takes the file's place.
        _regular(file.stat(), origin)
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as opened:  # noqa: PTH123 - a descriptor, which Path does not open
            state = _regular(os.fstat(descriptor), origin)
            if state.st_size > left:
                raise _too_large(origin, f"{state.st_size:,} bytes", left)
            content = bytearray()
            while block := opened.read(_BLOCK):
                content += block
                if len(content) > left:
                    raise _too_large(origin, "a file that keeps growing", left)
    if len(content) != state.st_size:
        raise _changing(origin)
    return bytes(content), _state(state)


def _regular(state: os.stat_result, origin: Origin) -> os.stat_result:
    if not stat.S_ISREG(state.st_mode):
        raise BatchUnreadable(
            origin.reading,
            found=_KINDS.get(stat.S_IFMT(state.st_mode), "no regular file"),
            expected=f"a regular file {address(origin.name)}",
            next_step="remove it, ask the upstream system for the day's file, then clear this task",
        )
    return state


def _state(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


@contextmanager
def _readable(file: str, subject: str, gone: Any = None) -> Iterator[None]:
    """What the file system answers, as our errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise (gone() if gone else _missing(file, subject)) from error
    except OSError as error:
        reason, mend = {
            errno.EACCES: ("permission denied", "let the user that runs the tasks read the file and its folders"),
            errno.EPERM: ("permission denied", "let the user that runs the tasks read the file and its folders"),
            errno.ELOOP: ("a link that leads back to itself", "remove it, ask the upstream system for the day's file"),
            errno.ENAMETOOLONG: ("a name that is too long for the file system", "shorten the source's path"),
            errno.ENOTDIR: (
                "a file where a folder should be, on the way to it",
                "remove it, ask the upstream system for the day's file",
            ),
        }.get(
            error.errno or 0,
            (
                f"the file system's error {error.errno}, {os.strerror(error.errno or 0)}",
                "check the disk that the file lies on",
            ),
        )
        raise BatchUnreadable(
            f"reading the batch of {subject}",
            found=reason,
            expected=f"a readable file {address(file)}",
            next_step=f"{mend}, then clear this task",
        ) from error


def _from_s3(uri: str, subject: str, connections: Connections) -> list[Part]:
    with _answering(uri, subject):
        client = object_store.client(uri, connections)
    bucket, key = object_store.split(uri)
    folder, _, pattern = key.rpartition("/")
    above = f"{folder}/" if folder else ""
    names = [pattern]
    if "*" in pattern:
        with _answering(uri, subject):
            prefix = above + pattern.partition("*")[0]
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            keys = [each["Key"].removeprefix(above) for page in pages for each in page.get("Contents", ())]
        names = _matching(keys, uri, subject)
    parts: list[Part] = []
    left = limits.batch()
    for name in names:
        origin = Origin(subject, uri.removesuffix(pattern) + name)
        parts.append(_object(client, bucket, above + name, origin, left))
        left -= len(parts[-1].content)
    return parts


def _object(client: Any, bucket: str, key: str, origin: Origin, left: int) -> Part:
    with _answering(origin.name, origin.subject):
        answer = client.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] > left:  # told before a byte of it is fetched
            answer["Body"].close()
            raise _too_large(origin, f"{answer['ContentLength']:,} bytes", left)
        return Part(origin, answer["Body"].read())


def _from_file_system(uri: str, subject: str) -> list[Part]:
    folder, _, pattern = uri.rpartition("/")
    doing = f"reading the batch of {subject}"
    system, above = filesystems.opened(doing, folder, _SETTING)

    def found() -> dict[str, dict[str, Any]]:
        """The files of the batch by name, as the store describes them now."""
        system.invalidate_cache()
        if "*" not in pattern:
            return {pattern: system.info(f"{above}/{pattern}")}
        listed = [each for each in system.ls(above, detail=True) if each["type"] != "directory"]
        there = {each["name"].rstrip("/").rpartition("/")[2]: each for each in listed}
        return {name: there[name] for name in _matching(list(there), uri, subject)}

    try:
        with filesystems.answering(doing, uri, _SETTING):
            before, parts, left = found(), [], limits.batch()
            for name, each in before.items():
                parts.append(_of_file_system(system, each, Origin(subject, f"{folder}/{name}"), left))
                left -= len(parts[-1].content)
            after = found()
    except FileNotFoundError as error:
        raise _missing(uri, subject) from error
    for name in before | after:
        if name not in before or name not in after or filesystems.state(before[name]) != filesystems.state(after[name]):
            raise _changing(Origin(subject, f"{folder}/{name}"))
    return parts


def _of_file_system(system: Any, described: dict[str, Any], origin: Origin, left: int) -> Part:
    if described["type"] == "directory":
        raise BatchUnreadable(
            origin.reading,
            found="a folder",
            expected=f"a file {address(origin.name)}",
            next_step="remove it, ask the upstream system for the day's file, then clear this task",
        )
    size = described["size"]
    if size is not None and size > left:  # told before a byte of it is fetched
        raise _too_large(origin, f"{size:,} bytes", left)
    with system.open(described["name"], "rb") as file:
        content = file.read(left + 1)
    if len(content) > left:
        raise _too_large(origin, "a file that keeps growing", left)
    if size is not None and len(content) != size:
        raise _changing(origin)
    return Part(origin, content)


@contextmanager
def _answering(uri: str, subject: str) -> Iterator[None]:
    """What S3 answers, as our errors."""
    try:
        with object_store.answering(f"reading the batch of {subject}", uri, _SETTING):
            yield
    except FileNotFoundError as error:
        raise _missing(uri, subject) from error


def _matching(names: list[str], uri: str, subject: str) -> list[str]:
    """The names that the last segment of the URI stands for, in order."""
    wanted = uri.rpartition("/")[2]
    pattern = re.compile("[^/]*".join(map(re.escape, wanted.split("*"))), re.DOTALL)
    hidden = (".", "_") if wanted.startswith("*") else ()
    # An empty name is the marker that consoles put where a folder would be.
    matching = sorted(name for name in names if name and pattern.fullmatch(name) and not name.startswith(hidden))
    if not matching:
        raise _missing(uri, subject)
    if len(matching) > limits.PARTS:
        raise BatchUnreadable(
            Origin(subject, uri).reading,
            found=f"{len(matching):,} files that match",
            expected=f"at most {limits.PARTS:,} files for a day",
            next_step=(
                "ask the upstream system for fewer, larger files, or name fewer of them by the source's path; then "
                "clear this task"
            ),
        )
    return matching


def _too_large(origin: Origin, found: str, left: int) -> BatchUnreadable:
    before = limits.batch() - left
    return origin.too_large(found + (f", after {before:,} bytes of the parts before it" if before else ""))


def _changing(origin: Origin) -> BatchChanging:
    return BatchChanging(
        origin.reading,
        found="a file that was written, replaced or removed while it was read",
        expected="files that hold still",
        next_step=(
            "none: the task is retried by itself. Let the writer finish under another name and then rename, or set "
            "the source's complete_after"
        ),
    )


def _missing(uri: str, subject: str) -> BatchMissing:
    link = "://" not in uri and Path(uri).is_symlink()
    return BatchMissing(
        f"reading the batch of {subject}",
        found=f"a link to {shown(str(Path(uri).readlink()))}, where no file is" if link else "no such file",
        expected=address(uri),
        next_step=(
            "ask the upstream system for the file, then clear this task; a day without rows is a file with only its "
            "header"
        ),
    )
