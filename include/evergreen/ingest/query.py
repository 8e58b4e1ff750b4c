"""What an adapter of a database is asked: a query's text, its bounds, and on which connection it runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from evergreen.connections import Connection, Connections, NoConnection, read
from evergreen.connections import unreadable as of_no_uri
from evergreen.errors import BatchUnreadable, ConnectionUnknown, ServiceUnavailable
from evergreen.ingest.origin import Origin
from evergreen.spec import source_query

MINUTES = 20  # a query may take; the task that runs it has 30
ROWS = 10_000  # that are asked for at once, where a database is asked for some at a time
_PARAMETER = re.compile(r"%(?:%|\((start|end)\)s)")


@dataclass(frozen=True)
class Query:
    """A query, as a source's file has it: bounded by %(start)s and %(end)s, every other per cent sign doubled."""

    text: str
    bounds: tuple[datetime, datetime] | None  # None: it names none
    zone: str  # of times without one, such as the bounds where a database has no other
    origin: Origin
    event_time: str | None = None  # the column that the bounds are compared with, as it arrives

    @property
    def statement(self) -> str:
        """The text without a semicolon at its end."""
        return self.text.strip().removesuffix(";")

    def moments(self) -> dict[str, datetime]:
        """The bounds by name, in the query's zone."""
        zone = ZoneInfo(self.zone)
        return {name: each.astimezone(zone) for name, each in zip(("start", "end"), self.bounds or (), strict=False)}

    def locals(self) -> dict[str, datetime]:
        """The bounds by name, as a clock in the query's zone shows them."""
        return {name: each.replace(tzinfo=None, fold=0) for name, each in self.moments().items()}

    def written(
        self,
        parameter: Callable[[str], str],
        plain: Callable[[str], str] = str,
        opaque: re.Pattern[str] = source_query.STANDARD,
    ) -> str:
        """The statement with its parameters as a database takes them; in a comment, a text or a quoted name none is.

        Args:
            parameter: how one is written, given its name.
            plain: how the text between them is written.
            opaque: how the database writes comments, texts and quoted names.
        """
        written = []
        for acts, text in source_query.parts(self.statement, opaque):
            end = 0
            for each in _PARAMETER.finditer(text):
                if each[1] and not acts:
                    continue
                written += [plain(text[end : each.start()]), parameter(each[1]) if each[1] else plain("%")]
                end = each.end()
            written.append(plain(text[end:]))
        return "".join(written)

    def too_long(self, found: str) -> ServiceUnavailable:
        """The error that the query was ended for the time it takes."""
        return ServiceUnavailable(
            self.origin.reading,
            found=found,
            expected=f"all rows within {MINUTES} minutes",
            next_step=(
                f"{self.origin.correction}: an index on the time it compares, or fewer rows; or clear this task when "
                "the database has less to do"
            ),
        )

    def refused(self, words: str) -> BatchUnreadable:
        """The error that the database does not run it, in the database's words."""
        return self.origin.unreadable(words, "one SELECT that the database runs", declare="")

    def no_rows(self) -> BatchUnreadable:
        """The error that it is no query."""
        return self.origin.unreadable("a statement that returns no rows", "one SELECT", declare="")

    def untakeable(self, column: str, kind: str, as_text: str) -> BatchUnreadable:
        """The error that a column has a type of which no cell can be made.

        Args:
            as_text: SQL of this database that makes text of it.
        """
        return self.origin.unreadable(
            f"the column {column} of type {kind}",
            "columns of numbers, texts, times and truth values",
            declare="",
            by=f"{as_text}, or leave it out",
        )

    def zone_of_moments(self, column: str) -> BatchUnreadable:
        """The error that the event time has a zone in the database, and another one is declared of it."""
        return self.origin.unreadable(
            f"moments in the column {column}, which the database keeps with their zone",
            f"times without a zone, as `zone: {self.zone}` says",
            declare=f"{column} without `zone`",
        )


def connection(connections: Connections, name: str, origin: Origin) -> Connection:
    """A connection by its id.

    Raises:
        ConnectionUnknown: there is none, or its URI cannot be read.
    """
    try:
        return read(connections, name)
    except NoConnection as error:
        raise unknown(name, origin, str(error)) from None  # the cause may show a password


def unreadable(name: str, origin: Origin) -> ConnectionUnknown:
    """The error that the URI of a connection is none; it shows nothing of it."""
    return unknown(name, origin, of_no_uri(name))


def unknown(name: str, origin: Origin, found: str, next_step: str = "") -> ConnectionUnknown:
    """The error that a connection is not there, or leads to nothing that can be read."""
    return ConnectionUnknown(
        origin.reading,
        found=found,
        expected=f"a connection {name} to a database",
        next_step=next_step
        or (
            "make it in Airflow's UI (Admin, Connections), as "
            f"AIRFLOW_CONN_{name.upper()}=postgresql://user:password@host:5432/database, or in "
            "airflow_settings.yaml for a local start; then clear this task"
        ),
    )
