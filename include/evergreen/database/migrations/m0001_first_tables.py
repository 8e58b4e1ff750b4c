"""The tables of the releases that knew no migrations.

A database of theirs has them all, or those that its processes came to need.
"""

from __future__ import annotations

STATEMENTS = """
create table if not exists partitions (
    model text, layer text, name text, partition text,
    rows bigint not null, content_hash text not null, inputs_hash text,
    table_version bigint not null, known_at timestamptz not null,
    primary key (model, layer, name, partition)
);
create table if not exists audit (
    id text primary key, at timestamptz not null default now(), as_of timestamptz, model text not null,
    event text not null, version bigint, actor text not null, reason text not null, evidence jsonb not null
);
create table if not exists candidates (
    run_id text primary key, at timestamptz not null default now(), model text not null, family text not null,
    model_id text not null, files jsonb not null
);
create table if not exists versions (
    model text, number bigint, at timestamptz not null default now(), run_id text not null, key text not null,
    as_of timestamptz not null, primary key (model, number)
);
create table if not exists predictions (
    model text not null, version bigint not null, request_id text not null, position int not null, entity text not null,
    as_of timestamptz not null, features_at timestamptz, features jsonb not null,
    prediction double precision not null, logged_at timestamptz not null default now(),
    primary key (request_id, position)
);
create index if not exists predictions_of_a_window on predictions (model, as_of);
create table if not exists answers (
    model text not null, key text not null, body bytea not null, request_id text not null, content bytea not null,
    at timestamptz not null default now(), primary key (model, key)
);
create index if not exists answers_by_age on answers (at)"""
