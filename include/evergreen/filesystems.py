"""Places of files that are neither a folder nor S3: Google's and Azure's object stores, HDFS, SFTP and whatever else a
package of fsspec knows. They are read, listed and written whole, by `scheme://…`. The user installs the package; login
and address stand in fsspec's own variables (FSSPEC_<SCHEME>_<OPTION>)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from evergreen import object_store
from evergreen.answers import Remote, refusal, silence
from evergreen.errors import EvergreenError, RequestRefused

# By which a file is known to be another one than before, in the words of one package or another.
_STATE = (
    "size",
    "etag",
    "ETag",
    "md5Hash",
    "generation",
    "mtime",
    "updated",
    "last_modified",
    "LastModified",
    "created",
)


def holds(uri: str) -> bool:
    """Whether an address is one of theirs."""
    return "://" in uri and not uri.startswith(object_store.SCHEME)


def opened(doing: str, uri: str, setting: str) -> tuple[Any, str]:
    """The file system of an address, with nothing remembered of what it listed before, and the path there.

    Raises:
        RequestRefused: no installed package knows it, or a password stands in it.
    """
    import fsspec

    scheme = uri.partition("://")[0]
    if urlsplit(uri).password is not None:
        raise RequestRefused(
            doing,
            found=f"a password in the address that {setting} holds, which messages and lineage would repeat",
            expected="an address without a login",
            next_step=f"set FSSPEC_{scheme.upper()}_USERNAME and FSSPEC_{scheme.upper()}_PASSWORD instead",
        )
    try:
        system, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise RequestRefused(
            doing,
            found=f"{error} ({uri})",
            expected="an address of a kind that an installed package of fsspec knows",
            next_step=f"install the package where Evergreen runs, or correct the address in {setting}",
        ) from error
    system.invalidate_cache()
    return system, path


def state(found: dict[str, Any]) -> tuple[str, ...]:
    """What tells a file from what it was."""
    return tuple(str(found.get(each)) for each in _STATE)


@contextmanager
def answering(doing: str, uri: str, setting: str) -> Iterator[None]:
    """What a file system answers, as our errors.

    Args:
        doing: what is being done; for messages.
        setting: the variable that holds the address.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ServiceUnavailable: it does not answer, or not now.
        RequestRefused: it does not let us.
    """
    scheme = uri.partition("://")[0]
    store = Remote(f"the store of {scheme}://", f"FSSPEC_{scheme.upper()}_…", setting, start="see that it runs")
    try:
        yield
    except (FileNotFoundError, EvergreenError):
        raise
    except Exception as error:  # each package has errors of its own; those over HTTP say a status
        message = f"{type(error).__name__}: {error} ({uri})"
        stated = [getattr(error, name, None) for name in ("status_code", "status", "code")]
        status = next((each for each in stated if isinstance(each, int)), 0)
        if isinstance(error, PermissionError):
            status = 403
        raise (refusal(doing, status, message, store) if status >= 400 else silence(doing, message, store)) from error


def below(folder: str, setting: str) -> list[str]:
    """The addresses of all files below a folder, in order; none when there is no such folder."""
    system, path = opened("listing files", folder, setting)
    with answering("listing files", folder, setting):
        try:
            return sorted(system.unstrip_protocol(each) for each in system.find(path))
        except FileNotFoundError:
            return []


def read(file: str, setting: str) -> bytes:
    """The bytes of a file."""
    system, path = opened("reading a file", file, setting)
    with answering("reading a file", file, setting):
        content: bytes = system.cat_file(path)
        return content


def write(file: str, content: bytes, setting: str) -> None:
    """Write a file: in one request, where the store has such."""
    system, path = opened("writing a file", file, setting)
    with answering("writing a file", file, setting):
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, content)
