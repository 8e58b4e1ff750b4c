"""Rows that a person released from quarantine."""

from __future__ import annotations

STATEMENTS = """
create table exemptions (
    dataset text, source text, partition text, row_hash text, reasons jsonb not null, actor text not null,
    reason text not null, at timestamptz not null default now(),
    primary key (dataset, source, partition, row_hash)
)"""
