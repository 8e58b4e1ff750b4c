"""Names and texts in SQL: Postgres and DuckDB quote them alike."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A name of any text, as an identifier: case and all characters stay, and none ends it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text, as a literal: all characters stay, and none ends it."""
    return "'" + text.replace("'", "''") + "'"
