"""Sources: what is read of them, and the columns that they declare."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable
from string import ascii_letters, digits

from evergreen.readers import OURS, ReaderUnusable, names, reader
from evergreen.spec.cells import EPOCHS
from evergreen.spec.columns import ADDED
from evergreen.spec.dataset import VALID_TO, DatasetSpec
from evergreen.spec.mistakes import nearest, one_of
from evergreen.spec.rules.wording import Mistakes, inside, mistake, repeated, stays_below, undeclared

_OF_FILES = {"format", "compression", "encoding", "delimiter", "skip_lines", "trailing_delimiter", "history"}
_OF_FORMATS = {
    "compression": ("csv", "jsonl"),
    "encoding": ("csv", "jsonl"),
    "delimiter": ("csv",),
    "skip_lines": ("csv",),
    "trailing_delimiter": ("csv",),
}
_NO_DELIMITER = "\"'\r\n\0.+-" + ascii_letters + digits
_ENCODINGS = ("utf-8", "utf-16", "cp1252", "latin-1", "iso8859-15", "cp1251", "shift_jis", "gb18030")  # to choose from


def _kind(spec: DatasetSpec, name: str) -> Mistakes:
    """A source is of files or of a database, and has the keys of one of them."""
    source, key = spec.sources[name], f"sources.{name}"
    if source.path is None and source.connection is None:
        yield mistake(
            key, "nothing to read", "path (files of the landing zone) or connection (a database)", "add one of them"
        )
    elif source.path is not None and source.connection is not None:
        yield mistake(f"{key}.connection", "path and connection", "one of them", "remove one of them")
    elif source.path is None:
        for option in sorted(_OF_FILES & source.model_fields_set):
            yield mistake(f"{key}.{option}", option, "connection and sql: a query has no file", f"remove {option}")
    elif source.sql is not None:
        yield mistake(
            f"{key}.sql", source.sql, "sql only beside connection", "remove sql, or name a connection in place of path"
        )


def _path(spec: DatasetSpec, name: str) -> Mistakes:
    source, key = spec.sources[name], f"sources.{name}.path"
    if source.path is None:
        return
    if source.whole:
        yield from _path_of_whole(source.path, key)
        return
    stated, placeholders = source.path, re.findall(r"{[^}]*}?", source.path)
    shown_path = f"{stated} with {one_of(sorted(set(placeholders)))}" if placeholders else stated
    if source.history:
        if placeholders or "*" in stated:
            yield mistake(
                key,
                stated,
                "a path without { and *: a history is one file for all days",
                "name that file, or remove history: true",
            )
    elif not _names_interval(spec, placeholders):
        whole = "".join(f"{{{part}}}" for part in spec.calendar.parts)
        yield mistake(
            key,
            shown_path,
            f"a path with {{partition}}, or with {whole}, and nothing else in braces",
            (
                "put {partition} where the interval stands in the file's name; for one file with all of them, declare "
                "history: true"
            ),
        )
    elif "*" in stated.rpartition("/")[0]:
        yield mistake(key, stated, "* in the last part of the path only", "write the folders out")
    if not stays_below(stated):
        yield mistake(
            key,
            stated,
            "a path below the landing zone, with / between its parts",
            "leave out the leading / and every ..",
        )


def _path_of_whole(stated: str, key: str) -> Mistakes:
    if "{" in stated:
        allowed = "a path without {: the file is the whole table, for all intervals"
        yield mistake(
            key, stated, allowed, "name that file, or remove refresh: the table then has a batch per interval"
        )
    if "*" in stated.rpartition("/")[0]:
        yield mistake(key, stated, "* in the last part of the path only", "write the folders out")
    if not stays_below(stated):
        allowed = "a path below the landing zone, with / between its parts"
        yield mistake(key, stated, allowed, "leave out the leading / and every ..")


def _refresh(spec: DatasetSpec, name: str) -> Mistakes:
    """A table for all intervals has no moment of its own; one that has a batch per interval has no validity."""
    source, key = spec.sources[name], f"sources.{name}"
    if source.whole:
        rows_of_intervals = {"event_time": source.event_time is not None, "history": source.history}
        rows_of_intervals |= {"covers": bool(source.covers), "outcome": bool(source.outcome)}
        for option in (each for each, stated in rows_of_intervals.items() if stated):
            fix = f"remove {option}"
            if option == "event_time":
                fix = f"write valid_from: {source.event_time} where rows are true from then on, or remove event_time"
            yield mistake(
                f"{key}.{option}",
                f"{option}, with refresh: {source.refresh}",
                f"{option} for a table that has a batch per interval",
                fix,
            )
    else:
        for option, column in (("valid_from", source.valid_from), ("valid_to", source.valid_to)):
            if column is not None:
                yield mistake(
                    f"{key}.{option}",
                    f"{option}, of a table that has a batch per interval",
                    f"{option} for a whole table, whose rows are true until the next ones",
                    "add refresh: when it changes, or name the column by event_time",
                )


def _validity(spec: DatasetSpec, name: str) -> Mistakes:
    source, key = spec.sources[name], f"sources.{name}"
    for option, column in (("valid_from", source.valid_from), ("valid_to", source.valid_to)):
        if column is None:
            continue
        yield from undeclared(f"{key}.{option}", [column], source.columns, "columns")
        if (kind := source.types.get(column, "timestamp")) != "timestamp":
            allowed = "a column of type timestamp, which takes days too"
            yield mistake(f"{key}.{option}", f"{column}, a {kind}", allowed, f"declare {column}: timestamp")
        if column in source.keys:
            allowed = "a column beside the keys, which say what a row tells of"
            yield mistake(f"{key}.{option}", column, allowed, f"remove {column} from keys")
    if source.valid_to is not None and source.valid_from is None:
        yield mistake(
            f"{key}.valid_to", "valid_to alone", "valid_from beside it", "name the column from which a row is true"
        )
    if source.valid_from is not None and source.valid_to is None and VALID_TO in source.columns:
        yield mistake(
            f"{key}.columns.{VALID_TO}",
            VALID_TO,
            "another name: queries see until when a row is true as valid_to",
            f"declare valid_to: {VALID_TO}, or rename the column",
        )


def _dated(spec: DatasetSpec) -> Mistakes:
    """Somebody says which intervals there are."""
    if spec.sources and not spec.dated:
        yield mistake(
            "sources",
            f"{one_of(spec.sources)}, each one table for all intervals",
            "at least one table that has a batch per interval: by it an interval is known to be there",
            "remove refresh from the table of events",
        )


def _names_interval(spec: DatasetSpec, placeholders: list[str]) -> bool:
    """Whether a path says of which interval a file is: by the partition key, or by all of its parts."""
    names, parts = {each.strip("{}") for each in placeholders}, set(spec.calendar.parts)
    return names <= {"partition", *parts} and ("partition" in names or names == parts)


def _format(spec: DatasetSpec, name: str) -> Mistakes:
    """Options of the format, and only of a format that has them."""
    source, key = spec.sources[name], f"sources.{name}"
    if source.format not in OURS:
        try:
            reader(source.format)
        except ReaderUnusable as error:
            fix = nearest(source.format, names(), "install the package, or use csv, jsonl or parquet")
            yield mistake(f"{key}.format", f"{source.format}: {error}", one_of(names()), fix)
    for option, formats in _OF_FORMATS.items():
        if option in source.model_fields_set and source.path is not None and source.format not in formats:
            yield mistake(
                f"{key}.{option}",
                f"{option}, with format: {source.format}",
                f"{option} for {one_of(formats)}",
                f"remove {option}",
            )


def _delimiter(spec: DatasetSpec, name: str) -> Mistakes:
    delimiter = spec.sources[name].delimiter
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in _NO_DELIMITER:
        yield mistake(
            f"sources.{name}.delimiter",
            repr(delimiter),
            "one character of ASCII: no quote, letter, digit, line break, or any of . + -",
            'write ",", ";", "|" or "\\t"',
        )


def _encoding(spec: DatasetSpec, name: str) -> Mistakes:
    encoding = spec.sources[name].encoding
    try:
        codecs.lookup(encoding)
        "a".encode(encoding)  # some codecs are not of text
    except (LookupError, ValueError):
        fix = nearest(encoding.lower(), _ENCODINGS, "write utf-8, for one")
        yield mistake(
            f"sources.{name}.encoding", encoding, f"an encoding that Python knows: {one_of(_ENCODINGS)}, …", fix
        )


def _columns(spec: DatasetSpec, name: str) -> Mistakes:
    for column in spec.sources[name].columns:
        if column in ADDED:
            yield mistake(
                f"sources.{name}.columns.{column}",
                column,
                f"a name other than {one_of(ADDED)}, which Evergreen adds",
                "rename it upstream",
            )


def _arriving(spec: DatasetSpec, name: str) -> Mistakes:
    """Each column arrives under a name of its own."""
    source = spec.sources[name]
    for arrives, times in Counter(column.arrives_as(each) for each, column in source.columns.items()).items():
        if times > 1:
            same = [each for each, column in source.columns.items() if column.arrives_as(each) == arrives]
            renamed = [each for each in same if source.columns[each].from_ is not None]
            yield mistake(
                f"sources.{name}.columns.{renamed[-1]}.from",
                f"{arrives}, for {' and '.join(same)}",
                "one column for each name that arrives",
                "declare it once; queries may name it twice",
            )


def _written(spec: DatasetSpec, name: str) -> Mistakes:
    """How cells are written is said where it means something."""
    for each, column in spec.sources[name].columns.items():
        key = f"sources.{name}.columns.{each}"
        for option, stated, types in (
            ("format", column.format, ("timestamp", "date")),
            ("zone", column.zone != "UTC", ("timestamp",)),
            ("normalise", column.normalise, ("string",)),
            ("unit", column.unit, ("int", "float")),
        ):
            if stated and column.type not in types:
                yield mistake(
                    f"{key}.{option}",
                    f"{option}, with type: {column.type}",
                    f"{option} for type: {one_of(types)}",
                    f"remove {option}, or write type: {types[0]}",
                )
        if column.type == "date" and (epochs := sorted(set(column.format) & EPOCHS.keys())):
            allowed = "a format such as %d.%m.%Y: a number of seconds is a moment, not a day"
            yield mistake(f"{key}.format", one_of(epochs), allowed, "write type: timestamp")


def _numbers(spec: DatasetSpec, name: str) -> Mistakes:
    source = spec.sources[name]
    if source.thousands == source.decimal:
        yield mistake(
            f"sources.{name}.thousands",
            f"{source.thousands}, as decimal",
            "another sign than the one before the decimals",
            'write decimal: "," for 1.299,50, for one',
        )


def _event_time(spec: DatasetSpec, name: str) -> Mistakes:
    source, key = spec.sources[name], f"sources.{name}.event_time"
    if source.whole:
        return
    if source.event_time is None:
        yield mistake(
            key,
            "nothing",
            "the column that says when a row happened",
            "name it; of a table without times, such as a catalogue, declare refresh: never or when it changes",
        )
        return
    yield from undeclared(key, [source.event_time], source.columns, "columns")
    if (kind := source.types.get(source.event_time, "timestamp")) != "timestamp":
        yield mistake(
            key,
            f"{source.event_time}, a {kind}",
            "a column of type timestamp",
            f"declare {source.event_time}: timestamp",
        )


def _keys(spec: DatasetSpec, name: str) -> Mistakes:
    source, key = spec.sources[name], f"sources.{name}.keys"
    yield from undeclared(key, source.keys, source.columns, "columns")
    yield from repeated(key, source.keys)
    for column, declared in spec.keys.items():
        if (kind := source.types.get(column, declared)) != declared:
            yield mistake(
                f"sources.{name}.columns.{column}",
                kind,
                f"{declared}, the entity's type",
                "declare the same type in both",
            )


def _outcome(spec: DatasetSpec, name: str) -> Mistakes:
    source, key = spec.sources[name], f"sources.{name}.outcome"
    yield from undeclared(key, source.outcome, source.columns, "columns")
    for column in (each for each in source.outcome if each in source.columns):
        if column == source.event_time or column in source.keys:
            allowed = "columns other than event_time and keys, which identify the row from the start"
            yield mistake(key, column, allowed, f"leave {column} out")
    for column, own in source.outcome.items():
        if not isinstance(own, str):
            continue
        kind = source.types.get(own)
        if kind is None:
            allowed = (
                f"a whole number and a unit (6h, 3d, 2w), or the column with each row's own: {one_of(source.columns)}"
            )
            fix = nearest(own, source.columns, "write how long after event_time it is known, or name that column")
            yield mistake(f"{key}.{column}", f'"{own}"', allowed, fix)
        elif kind not in ("timestamp", "date"):
            allowed = "a column of type timestamp or date, with the moment from which it is known"
            yield mistake(f"{key}.{column}", f"{own}, a {kind}", allowed, f"declare {own}: timestamp, or name another")
        elif kind == "date" and spec.calendar.zone != "UTC":
            allowed = f"a column of type timestamp: a date ends in UTC, and the calendar is in {spec.calendar.zone}"
            yield mistake(
                f"{key}.{column}", f"{own}, a date", allowed, f"declare {own} with type: timestamp and its zone"
            )
        elif own in source.keys:
            yield mistake(
                f"{key}.{column}", own, "a column that is no key: it is not known from the start", "name another"
            )
        elif own in source.outcome:
            allowed = "a column that is not among the outcomes itself: it is known when it is reached"
            yield mistake(f"{key}.{own}", own, allowed, f"leave {own} out")


def _source_files(spec: DatasetSpec, name: str) -> Mistakes:
    yield from inside(f"sources.{name}.sql", spec.sources[name].sql)
    yield from inside(f"sources.{name}.contract", spec.sources[name].contract)


OF_DATASET: tuple[Callable[[DatasetSpec], Mistakes], ...] = (_dated,)
OF_ENTRIES: tuple[Callable[[DatasetSpec, str], Mistakes], ...] = (
    _kind,
    _path,
    _format,
    _delimiter,
    _encoding,
    _columns,
    _arriving,
    _written,
    _numbers,
    _refresh,
    _event_time,
    _validity,
    _keys,
    _outcome,
    _source_files,
)
