"""A connection of Airflow, as its URI says: to a database, or to an object store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from evergreen.answers import Remote

Connections = Callable[[str], str]  # the URI of a connection by its id; raises LookupError or ValueError


class NoConnection(LookupError):
    """There is none of that id, or nothing can be made of its URI; the message says which, and shows nothing of it."""


@dataclass(frozen=True, repr=False)  # it holds a password
class Connection:
    """A connection, as its URI says."""

    name: str
    uri: SplitResult
    extra: dict[str, Any]  # what stands behind ?, and Airflow's extras

    @property
    def kind(self) -> str:
        """The kind of database or service: postgres, mysql, aws, …"""
        return self.uri.scheme.partition("+")[0]

    @property
    def database(self) -> str:
        """The database's name; of one that is a file, its path. Airflow keeps that as the host."""
        return unquote(self.uri.path[1:]) or unquote(self.uri.netloc.rpartition("@")[2])

    @property
    def login(self) -> str:
        """Empty: there is none."""
        return unquote(self.uri.username or "")

    @property
    def password(self) -> str:
        """Empty: there is none."""
        return unquote(self.uri.password or "")

    @property
    def remote(self) -> Remote:
        """The database, as errors speak of it."""
        there = f"the connection {self.name}"
        return Remote(f"the database of {there}", there, there, start="see that it runs")

    def words(self, said: str) -> str:
        """What a database or its client says, without the password that some repeat."""
        return said.strip().replace(self.password, "***") if self.password else said.strip()


def read(connections: Connections, name: str) -> Connection:
    """A connection by its id.

    Raises:
        NoConnection: there is none, or its URI cannot be read.
    """
    try:
        uri = urlsplit(connections(name))
    except LookupError as error:
        raise NoConnection(f"no connection {name}") from error
    except ValueError:
        raise NoConnection(f"a connection {name} that cannot be read") from None  # the cause may show a password
    if not uri.scheme:
        raise NoConnection(f"a connection {name} of type unknown")
    try:
        extra: dict[str, Any] = dict(parse_qsl(uri.query))
        extra |= json.loads(extra.pop("__extra__", "{}"))  # how Airflow writes extras that are no flat texts
    except (ValueError, TypeError):
        raise NoConnection(unreadable(name)) from None  # likewise
    return Connection(name, uri, extra)


def unreadable(name: str) -> str:
    """What is said of a connection whose URI is none; it shows nothing of it."""
    return f"a connection {name} whose URI cannot be read"
