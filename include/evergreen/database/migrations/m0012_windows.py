"""The ledger's decisions, by the start of their windows: a new one looks at a few of those before it.

Postgres' own JSON functions refuse a text that holds the character 0, as a reason may.
"""

from __future__ import annotations

STATEMENTS = """
create index ledger_of_a_window on ledger (event, model, (substring(body from '"start":"([0-9]{4}-[^"]*)"')))"""
