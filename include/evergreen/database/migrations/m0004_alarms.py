"""Which intervals without a run the owner has heard of."""

from __future__ import annotations

STATEMENTS = """
create table alarms (
    name text, loop text, partition text, at timestamptz not null default now(),
    primary key (name, loop, partition)
)"""
