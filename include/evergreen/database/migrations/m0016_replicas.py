"""Which model servers there are, and what each of them has loaded."""

from __future__ import annotations

STATEMENTS = """
create table replicas (
    id text primary key, models jsonb not null, since timestamptz not null default now(), seen_at timestamptz not null
);
create table loadings (
    replica text, model text, version bigint, role text, state text not null, reason text, intent text,
    at timestamptz not null default now(), primary key (replica, model, version)
)"""
