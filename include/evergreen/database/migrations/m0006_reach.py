"""Partitions whose rows lie after their own interval: how far they reach."""

from __future__ import annotations

STATEMENTS = """
alter table partitions add column reaches timestamptz"""
