"""Who may ask the model servers for predictions."""

from __future__ import annotations

STATEMENTS = """
create table client_keys (
    id text primary key, name text not null, digest bytea not null, models jsonb, made_by text not null,
    made_at timestamptz not null default now(), revoked_at timestamptz
)"""
