"""Erasures that have begun and not ended."""

from __future__ import annotations

STATEMENTS = """
create table erasures (
    entity text, key text, id text not null, actor text not null, reason text not null,
    at timestamptz not null default now(), primary key (entity, key)
)"""
