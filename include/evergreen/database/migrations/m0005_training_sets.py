"""What every training set was built from; of trainings before, MLflow's tags have it."""

from __future__ import annotations

STATEMENTS = """
create table training_sets (
    key text primary key, model text not null, as_of timestamptz not null, split jsonb not null,
    content_hash text not null, versions jsonb not null, partitions jsonb not null, taken_over boolean not null,
    at timestamptz not null default now()
);
create index training_sets_of_a_moment on training_sets (model, as_of)"""
