"""Names in SQL text: Postgres and DuckDB quote them alike."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A name of any text, as an identifier: case and all characters stay, and none ends it."""
    return '"' + name.replace('"', '""') + '"'
