"""The fits that the monitor compares champions with, kept for the next window."""

from __future__ import annotations

STATEMENTS = """
create table understudies (
    model text, key text, as_of timestamptz not null, newest timestamptz not null, usual double precision not null,
    content bytea not null, at timestamptz not null default now(), primary key (model, key)
);
alter table understudies alter column content set statistics 0"""
